"""The toy backend in NumPy, for tests that start processes: they take a second each where a framework takes five."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import vizkit
from vizkit.contract import backend as contract

TOY = Path(__file__).parents[1] / "toy"
SIDE = 8


@contextmanager
def installed(site: Path) -> Iterator[None]:
    """The toy in an empty folder, as pip would install it: on the path, with the entry point that registers it."""
    told = site / "vizkit_numpy-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: vizkit-numpy\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[vizkit.backends]\nnumpy = vizkit_numpy:NumpyBackend\n")
    sys.path[:0] = [str(site), str(TOY)]
    try:
        yield
    finally:
        del sys.path[:2]
        contract._started.pop("numpy", None)


def network() -> Any:
    """A convolution and a classifier of five, in float64."""
    rng = np.random.default_rng(8)
    shapes = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "3.weight": (5, 4 * SIDE**2), "3.bias": (5,)}
    layers = [("conv", {"padding": 1}), ("relu", {}), ("flatten", {}), ("linear", {})]
    drawn = {name: rng.normal(size=one) for name, one in shapes.items()}
    native = importlib.import_module("tinynet").Network(layers, drawn)
    return vizkit.wrap(native, input_size=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)
