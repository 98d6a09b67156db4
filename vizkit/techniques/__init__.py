"""The techniques, one a file."""

from .activation_statistics import activation_statistics
from .dream import dream
from .feature_maps import feature_maps
from .filters import filters
from .saliency import saliency

__all__ = ["activation_statistics", "dream", "feature_maps", "filters", "saliency"]
