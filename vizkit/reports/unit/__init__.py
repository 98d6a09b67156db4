"""The page of one unit: what it is made of, where it looks, what makes it fire, what it speaks for."""

from ...techniques.units.filter import Filter, filter_of
from ...techniques.units.histogram import Histogram
from ...techniques.units.neuron import neuron_maps
from ...techniques.units.votes import Votes, votes
from .build import make

__all__ = ["Filter", "Histogram", "Votes", "filter_of", "make", "neuron_maps", "votes"]
