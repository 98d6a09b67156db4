"""Small networks for the contract suite, one module for each backend, all with the same functions and parameters.

A new backend adds one module here, named after it; the suite fails for an installed backend that has none.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

# A layer: ("conv", in, out, kernel, padding), ("norm", channels), ("relu",), ("pool",), ("dropout", rate),
# ("flatten",) or ("dense", in, out). Modules are named "0", "1", … in every backend.
TRAPS = [
    ("conv", 3, 6, 3, 1),
    ("norm", 6),
    ("relu",),
    ("pool",),
    ("dropout", 0.4),
    ("conv", 6, 8, 3, 1),
    ("norm", 8),
    ("relu",),
    ("pool",),
    ("flatten",),
    ("dense", 8 * 4 * 4, 10),
    ("relu",),
    ("dropout", 0.5),
    ("dense", 10, 5),
]
TRAPS_SIZE = 16
DEVICE = "cpu"
"""Where PyTorch's networks of the suite are; `pytest --device cuda` says so."""


def kit(backend: str) -> Any:
    """The module of one backend."""
    return importlib.import_module(f"kits.{backend}")


def parameters(layers: list[tuple[Any, ...]], seed: int) -> list[dict[str, np.ndarray]]:
    """Arrays for each layer: weight and bias; of a norm also running mean and variance."""
    rng = np.random.default_rng(seed)
    out: list[dict[str, np.ndarray]] = []
    for kind, *sizes in layers:
        if kind == "conv":
            inputs, outputs, kernel, _ = sizes
            shape = (outputs, inputs, kernel, kernel)
            scale = (2 / (inputs * kernel**2)) ** 0.5
            out.append({"weight": rng.normal(0, scale, shape), "bias": rng.normal(0, 0.1, outputs)})
        elif kind == "dense":
            inputs, outputs = sizes
            scale = (2 / inputs) ** 0.5
            out.append({"weight": rng.normal(0, scale, (outputs, inputs)), "bias": rng.normal(0, 0.1, outputs)})
        elif kind == "norm":
            (channels,) = sizes
            out.append(
                {
                    "weight": rng.uniform(0.5, 1.5, channels),
                    "bias": rng.normal(0, 0.2, channels),
                    "mean": rng.normal(0, 0.5, channels),
                    "var": rng.uniform(0.5, 2.0, channels),
                }
            )
        else:
            out.append({})
    return out
