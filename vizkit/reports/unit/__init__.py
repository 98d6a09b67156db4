"""The page of one unit: what it is made of, where it looks, what makes it fire, what it speaks for."""

from .build import make
from .filter import Filter, filter_of
from .histogram import Histogram
from .neuron import neuron_maps
from .votes import Votes, votes

__all__ = ["Filter", "Histogram", "Votes", "filter_of", "make", "neuron_maps", "votes"]
