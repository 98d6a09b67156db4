"""vizkit: CNN visualisation, written once and proved equal on MXNet Gluon and PyTorch."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import evaluate
from .contract import errors
from .contract.backend import announce as _announce
from .contract.errors import VizkitError
from .inputs import folders, images, targets
from .reports.compare import compare
from .reports.doctor import doctor
from .reports.explain import explain
from .results.base import drawn_by as _drawn_by
from .support import version as _version
from .support.addresses import ADDRESSES as _ADDRESSES
from .support.addresses import keep as _keep_addresses
from .support.memory import keep_memory
from .techniques import (
    ablationcam,
    activation_statistics,
    attention,
    attention_relevance,
    attention_rollout,
    centre_map,
    class_pictures,
    deconvnet,
    deepdream,
    dream,
    edge_map,
    eigencam,
    embed,
    feature_maps,
    filters,
    full_gradient,
    gradcam,
    gradcam_plus_plus,
    gradient_shap,
    gradient_x_input,
    guided_backprop,
    guided_gradcam,
    health,
    hirescam,
    integrated_gradients,
    invert,
    kernel_shap,
    layercam,
    lime,
    occlusion,
    random_map,
    receptive_field,
    render,
    rise,
    saliency,
    scorecam,
    smooth_gradcam_plus_plus,
    smoothgrad,
    squaregrad,
    top_patches,
    top_units,
    vargrad,
    xgradcam,
)
from .techniques.dreams import objectives, parametrisations, regularisers, transforms
from .zoo.loading import backends, load, models, set_threads, wrap

__version__ = _version.VERSION

_announce()
_drawn_by("vizkit.draw")
_keep_addresses()

if not _TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """A public module that nobody has imported yet."""
        if name in _ADDRESSES:
            return _import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "VizkitError",
    "ablationcam",
    "activation_statistics",
    "attention",
    "attention_relevance",
    "attention_rollout",
    "backends",
    "centre_map",
    "class_pictures",
    "compare",
    "deconvnet",
    "deepdream",
    "doctor",
    "dream",
    "edge_map",
    "eigencam",
    "embed",
    "errors",
    "evaluate",
    "explain",
    "feature_maps",
    "filters",
    "folders",
    "full_gradient",
    "gradcam",
    "gradcam_plus_plus",
    "gradient_shap",
    "gradient_x_input",
    "guided_backprop",
    "guided_gradcam",
    "health",
    "hirescam",
    "images",
    "integrated_gradients",
    "invert",
    "keep_memory",
    "kernel_shap",
    "layercam",
    "lime",
    "load",
    "models",
    "objectives",
    "occlusion",
    "parametrisations",
    "random_map",
    "receptive_field",
    "regularisers",
    "render",
    "rise",
    "saliency",
    "scorecam",
    "set_threads",
    "smooth_gradcam_plus_plus",
    "smoothgrad",
    "squaregrad",
    "targets",
    "top_patches",
    "top_units",
    "transforms",
    "vargrad",
    "wrap",
    "xgradcam",
]
