"""Networks of the zoo with nothing but zeros, for what depends on no weight, such as a graph: to draw random numbers
for a hundred million weights takes seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vizkit
from vizkit.zoo import weights


def zeros(shapes: Any, seed: int) -> weights.Parameters:
    """In place of :func:`vizkit.zoo.weights.draw`."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return weights.Parameters(arrays, weights.Weights(f"random:{seed}"))


def load(model: str, backend: str) -> Any:
    """As with ``random:7``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "draw", zeros)
        return vizkit.load(model, backend=backend, weights="random:7")
