"""The techniques, one a file."""

from .ablationcam import ablationcam
from .activation_statistics import activation_statistics
from .attention import attention
from .attention_relevance import attention_relevance
from .attention_rollout import attention_rollout
from .baselines import centre_map, edge_map, random_map
from .class_pictures import class_pictures
from .deepdream import deepdream
from .dream import dream
from .eigencam import eigencam
from .embedding import embed
from .feature_maps import feature_maps
from .filters import filters
from .full_gradient import full_gradient
from .gradcam import gradcam
from .gradcam_plus_plus import gradcam_plus_plus, smooth_gradcam_plus_plus
from .gradient_shap import gradient_shap
from .gradient_x_input import gradient_x_input
from .guided_backprop import deconvnet, guided_backprop
from .guided_gradcam import guided_gradcam
from .health import health
from .hirescam import hirescam
from .integrated_gradients import integrated_gradients
from .invert import invert
from .kernel_shap import kernel_shap
from .layercam import layercam
from .lime import lime
from .occlusion import occlusion
from .receptive_field import receptive_field
from .render import render
from .rise import rise
from .saliency import saliency
from .scorecam import scorecam
from .smoothgrad import smoothgrad, squaregrad, vargrad
from .top_patches import top_patches
from .top_units import top_units
from .xgradcam import xgradcam

__all__ = [
    "ablationcam",
    "activation_statistics",
    "attention",
    "attention_relevance",
    "attention_rollout",
    "centre_map",
    "class_pictures",
    "deconvnet",
    "deepdream",
    "dream",
    "edge_map",
    "eigencam",
    "embed",
    "feature_maps",
    "filters",
    "full_gradient",
    "gradcam",
    "gradcam_plus_plus",
    "gradient_shap",
    "gradient_x_input",
    "guided_backprop",
    "guided_gradcam",
    "health",
    "hirescam",
    "integrated_gradients",
    "invert",
    "kernel_shap",
    "layercam",
    "lime",
    "occlusion",
    "random_map",
    "receptive_field",
    "render",
    "rise",
    "saliency",
    "scorecam",
    "smooth_gradcam_plus_plus",
    "smoothgrad",
    "squaregrad",
    "top_patches",
    "top_units",
    "vargrad",
    "xgradcam",
]
