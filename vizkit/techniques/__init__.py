"""The techniques, one a file. What is imported here is public."""

from .attribution.conductance import conductance
from .attribution.full_gradient import full_gradient
from .attribution.gradient_shap import gradient_shap
from .attribution.gradient_x_input import gradient_x_input
from .attribution.integrated_gradients import integrated_gradients
from .attribution.internal_influence import internal_influence
from .attribution.saliency import saliency
from .attribution.smoothgrad import smoothgrad
from .attribution.squaregrad import squaregrad
from .attribution.vargrad import vargrad
from .cam.ablationcam import ablationcam
from .cam.deep_feature_factorization import deep_feature_factorization
from .cam.eigen_gradcam import eigen_gradcam
from .cam.eigencam import eigencam
from .cam.fem import fem
from .cam.finer_cam import finer_cam
from .cam.gradcam import gradcam
from .cam.gradcam_plus_plus import gradcam_plus_plus, smooth_gradcam_plus_plus
from .cam.group_cam import group_cam
from .cam.guided_gradcam import guided_gradcam
from .cam.hirescam import hirescam
from .cam.is_cam import is_cam
from .cam.kpca_cam import kpca_cam
from .cam.layercam import layercam
from .cam.scorecam import scorecam
from .cam.shapley_cam import shapley_cam
from .cam.ss_cam import ss_cam
from .cam.xgradcam import xgradcam
from .concepts.activation_atlas import activation_atlas
from .concepts.concept_bank import concept_bank
from .concepts.concept_maps import concept_maps
from .concepts.tcav import tcav
from .controls.centre_map import centre_map
from .controls.edge_map import edge_map
from .controls.random_map import random_map
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
from .perturbation.extremal_perturbation import extremal_perturbation
from .perturbation.feature_ablation import feature_ablation
from .perturbation.feature_permutation import feature_permutation
from .perturbation.hsic import hsic
from .perturbation.kernel_shap import kernel_shap
from .perturbation.lime import lime
from .perturbation.occlusion import occlusion
from .perturbation.rise import rise
from .perturbation.shapley_sampling import shapley_sampling
from .perturbation.sobol import sobol
from .relevance.crp import crp
from .relevance.deeplift import deeplift
from .relevance.deeplift_shap import deeplift_shap
from .relevance.guided_backprop import deconvnet, guided_backprop
from .relevance.lrp import lrp
from .transformers.attention import attention
from .transformers.attention_relevance import attention_relevance
from .transformers.attention_rollout import attention_rollout

__all__ = [
    "ablationcam", "activation_atlas", "activation_statistics", "attention", "attention_relevance",
    "attention_rollout", "caricature", "centre_map", "class_pictures", "concept_bank", "concept_maps", "conductance",
    "crp", "deconvnet", "deep_feature_factorization", "deepdream", "deeplift", "deeplift_shap", "dream", "edge_map",
    "eigen_gradcam", "eigencam", "embed", "extremal_perturbation", "feature_ablation", "feature_maps",
    "feature_permutation", "fem", "filters", "finer_cam", "full_gradient", "gradcam", "gradcam_plus_plus",
    "gradient_shap", "gradient_x_input", "group_cam", "guided_backprop", "guided_gradcam", "health", "hirescam",
    "hsic", "integrated_gradients", "internal_influence", "invert", "is_cam", "kernel_shap", "kpca_cam", "layercam",
    "lime", "lrp", "occlusion", "random_map", "receptive_field", "render", "rise", "saliency", "scorecam",
    "shapley_cam", "shapley_sampling", "smooth_gradcam_plus_plus", "smoothgrad", "sobol", "spritemap", "squaregrad",
    "ss_cam", "tcav", "top_patches", "top_units", "vargrad", "xgradcam",
]  # fmt: skip
