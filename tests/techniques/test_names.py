"""A method says its own name, and backends are compared on it, or it is said why not."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import attention as transformers
from kits import kit

import vizkit
from vizkit import techniques
from vizkit.techniques.controls import CONTROLS

SIDE = 12
LAYERS = [("conv", 3, 4, 3, 1), ("relu",), ("pool",), ("conv", 4, 4, 3, 1), ("relu",), ("flatten",), ("dense", 144, 3)]
METHODS = [
    name
    for name in techniques.__all__
    if inspect.signature(getattr(techniques, name)).return_annotation == "Attribution"
]
QUARTERS = np.kron([[0, 1], [2, 3]], np.ones((6, 6), dtype=int))
FEW: dict[str, Any] = {"samples": 8, "steps": 2, "areas": (0.5,), "window": 6, "stride": 6, "grid": 2, "units": [0, 1]}
FEW["segments"] = QUARTERS
"""What makes a method quick."""
GRADIENTLESS = "scores alone: its own tests compare it by hand on every backend"
ELSEWHERE = {
    **dict.fromkeys(CONTROLS, "made of the picture alone"),
    **dict.fromkeys(("attention", "attention_relevance", "attention_rollout"), "in test_attention_maps.py"),
    **dict.fromkeys(("finer_cam", "shapley_cam"), "in test_cams_classes.py"),
    **dict.fromkeys(("hsic", "sobol"), f"{GRADIENTLESS}, in test_sobol_hsic.py"),
    **dict.fromkeys(("feature_ablation", "feature_permutation", "shapley_sampling"), f"{GRADIENTLESS}, coalitions"),
    **dict.fromkeys(("kernel_shap", "lime", "occlusion", "rise"), f"{GRADIENTLESS}, in test_perturbation.py"),
    "extremal_perturbation": "in test_extremal.py",
}
"""Methods that are not among those of test_attribution_backends.py, and why."""


@cache
def model(method: str) -> Any:
    if method.startswith("attention"):
        return transformers.wrapped(transformers.in_torch(True) if "torch" in INSTALLED else None, 16)
    native = kit(INSTALLED[-1]).sequential(LAYERS)
    return vizkit.wrap(native, input_size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_method_says_its_own_name(method: str) -> None:
    if method.startswith("attention") and "torch" not in INSTALLED:
        pytest.skip("the transformer is PyTorch's")
    function = getattr(vizkit, method)
    some = {key: value for key, value in FEW.items() if key in inspect.signature(function).parameters}
    two = [vizkit.images.noise(size=SIDE, seed=seed) for seed in (0, 1)]
    found = function(model(method), two, fit="squash", **some)
    assert found.provenance["technique"] == method


@pytest.mark.quick
def test_backends_are_compared_on_every_method() -> None:
    from test_attribution_backends import METHODS as compared

    assert set(METHODS) - set(compared) == set(ELSEWHERE)


@pytest.mark.quick
def test_controls_are_what_their_folder_exports() -> None:
    exported = [
        name for name in METHODS if getattr(techniques, name).__module__.startswith("vizkit.techniques.controls")
    ]
    assert set(exported) == set(CONTROLS), "name each in vizkit/techniques/controls/__init__.py"
