"""``vizkit doctor``: whether gradients are right on this machine, layer type by layer type, against float64."""

from .result import Check, Diagnosis, Examination
from .run import doctor

__all__ = ["Check", "Diagnosis", "Examination", "doctor"]
