"""The techniques, one a file."""

from .ablationcam import ablationcam
from .activation_statistics import activation_statistics
from .baselines import centre_map, edge_map, random_map
from .dream import dream
from .eigencam import eigencam
from .feature_maps import feature_maps
from .filters import filters
from .full_gradient import full_gradient
from .gradcam import gradcam
from .gradcam_plus_plus import gradcam_plus_plus, smooth_gradcam_plus_plus
from .gradient_shap import gradient_shap
from .gradient_x_input import gradient_x_input
from .guided_backprop import deconvnet, guided_backprop
from .guided_gradcam import guided_gradcam
from .hirescam import hirescam
from .integrated_gradients import integrated_gradients
from .kernel_shap import kernel_shap
from .layercam import layercam
from .lime import lime
from .occlusion import occlusion
from .rise import rise
from .saliency import saliency
from .scorecam import scorecam
from .smoothgrad import smoothgrad, squaregrad, vargrad
from .xgradcam import xgradcam

__all__ = [
    "ablationcam",
    "activation_statistics",
    "centre_map",
    "deconvnet",
    "dream",
    "edge_map",
    "eigencam",
    "feature_maps",
    "filters",
    "full_gradient",
    "gradcam",
    "gradcam_plus_plus",
    "gradient_shap",
    "gradient_x_input",
    "guided_backprop",
    "guided_gradcam",
    "hirescam",
    "integrated_gradients",
    "kernel_shap",
    "layercam",
    "lime",
    "occlusion",
    "random_map",
    "rise",
    "saliency",
    "scorecam",
    "smooth_gradcam_plus_plus",
    "smoothgrad",
    "squaregrad",
    "vargrad",
    "xgradcam",
]
