"""The techniques, one a file."""

from .attribution.attention import attention
from .attribution.attention_relevance import attention_relevance
from .attribution.attention_rollout import attention_rollout
from .attribution.full_gradient import full_gradient
from .attribution.gradient_shap import gradient_shap
from .attribution.gradient_x_input import gradient_x_input
from .attribution.guided_backprop import deconvnet, guided_backprop
from .attribution.integrated_gradients import integrated_gradients
from .attribution.saliency import saliency
from .attribution.smoothgrad import smoothgrad
from .attribution.squaregrad import squaregrad
from .attribution.vargrad import vargrad
from .cam.ablationcam import ablationcam
from .cam.eigencam import eigencam
from .cam.gradcam import gradcam
from .cam.gradcam_plus_plus import gradcam_plus_plus, smooth_gradcam_plus_plus
from .cam.guided_gradcam import guided_gradcam
from .cam.hirescam import hirescam
from .cam.layercam import layercam
from .cam.scorecam import scorecam
from .cam.xgradcam import xgradcam
from .concepts.activation_atlas import activation_atlas
from .concepts.concept_bank import concept_bank
from .concepts.concept_maps import concept_maps
from .concepts.tcav import tcav
from .dreams.caricature import caricature
from .dreams.class_pictures import class_pictures
from .dreams.deepdream import deepdream
from .dreams.dream import dream
from .dreams.invert import invert
from .dreams.render import render
from .dreams.spritemap import spritemap
from .dreams.top_units import top_units
from .features.activation_statistics import activation_statistics
from .features.embedding import embed
from .features.feature_maps import feature_maps
from .features.filters import filters
from .features.health import health
from .features.top_patches import top_patches
from .network.receptive_field import receptive_field
from .perturbation.controls import centre_map, edge_map, random_map
from .perturbation.kernel_shap import kernel_shap
from .perturbation.lime import lime
from .perturbation.occlusion import occlusion
from .perturbation.rise import rise

__all__ = [
    "ablationcam",
    "activation_atlas",
    "activation_statistics",
    "attention",
    "attention_relevance",
    "attention_rollout",
    "caricature",
    "centre_map",
    "class_pictures",
    "concept_bank",
    "concept_maps",
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
    "spritemap",
    "squaregrad",
    "tcav",
    "top_patches",
    "top_units",
    "vargrad",
    "xgradcam",
]
