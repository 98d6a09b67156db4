"""Small inputs and quick settings of the perturbation methods."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit import techniques

from . import TRAPS, TRAPS_SIZE
from . import kit as kit_of

EXACT = 1e-8
SIDE = TRAPS_SIZE
INPUT = {"input_size": SIDE, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}
QUARTERS = np.kron([[0, 1], [2, 3]], np.ones((SIDE // 2, SIDE // 2), dtype=int))
SIXTEEN = np.kron(np.arange(16).reshape(4, 4), np.ones((4, 4), dtype=int))
SETTINGS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 5, "stride": 4},
    "rise": {"samples": 11, "grid": 3},
    "lime": {"samples": 23, "segments": SIXTEEN},
    "kernel_shap": {"samples": 23, "segments": SIXTEEN},
    "feature_ablation": {"segments": (3, 4)},
    "shapley_sampling": {"segments": SIXTEEN, "samples": 2},
    "sobol": {"segments": (2, 3), "samples": 4},
    "hsic": {"segments": (2, 3), "samples": 23},
    "extremal_perturbation": {"areas": (0.2, 0.4), "steps": 6, "cell": 2, "sigma": 3.0},
}
QUICK = {
    name: SETTINGS.get(name, {})
    for name, one in ((name, getattr(techniques, name)) for name in techniques.__all__)
    if one.__module__.startswith(("vizkit.techniques.perturbation.", "vizkit.techniques.controls."))
    if not hasattr(one, "needs_pictures")
}
"""Every method of those folders that sees a picture by itself; a new one is among them by its export."""
EVERY = pytest.mark.parametrize("method", list(QUICK))
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="compares with a PyTorch toolkit; PyTorch is absent")


@cache
def small(backend: str) -> Any:
    """One for all tests: a technique leaves a network as it was."""
    return vizkit.wrap(kit_of(backend).sequential(TRAPS), **INPUT)


def pictures(count: int = 2, side: int = SIDE) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (side, side, 3)).astype(np.uint8) for _ in range(count)]


def run(method: str, model: Any, image: Any, **options: Any) -> Any:
    return getattr(vizkit, method)(model, image, fit="squash", **{**QUICK[method], **options})


def score(model: Any, x: np.ndarray, index: int, output: str = "logit") -> float:
    """One network input's score, the slow way."""
    logits = model.ops.numpy(model.forward(model.ops.asarray(x[None]))["output"])[0]
    return float(logits[index] if output == "logit" else np.exp(logits[index]) / np.exp(logits).sum())
