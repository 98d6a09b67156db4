"""Networks: their names, inputs, labels and weights."""

from .conversion import Conversion, convert
from .description import Description, describe

__all__ = ["Conversion", "Description", "convert", "describe"]
