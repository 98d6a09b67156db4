"""vizkit: CNN visualisation, written once and proved equal on MXNet Gluon and PyTorch."""

__version__ = "0.1.0"

from . import images
from .api import backends, load, models, set_threads, wrap
from .errors import VizkitError
from .techniques import activation_statistics, dream, feature_maps, filters, saliency

__all__ = [
    "VizkitError",
    "activation_statistics",
    "backends",
    "dream",
    "feature_maps",
    "filters",
    "images",
    "load",
    "models",
    "saliency",
    "set_threads",
    "wrap",
]
