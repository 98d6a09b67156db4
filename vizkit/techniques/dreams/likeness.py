"""How near a layer's activations of a picture point to those of a photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.backend import Model, Tensor
from .objectives import FLOOR, Match, Seen
from .transforms import Jitter, Pad, Rotate, Scale, Transform

VIEWS: tuple[Transform, ...] = (Pad(4), Jitter(8), Scale(0.95, 1.05), Rotate(3.0))
"""Changes of view that leave the size, and nearly the place: the photo's activations are compared position by
position."""


@dataclass(frozen=True, eq=False)
class Likeness(Match):
    """``<a, a0> / |a0|^2 * max(0.1, cos(a, a0)) ** power`` with ``a0`` a layer's values for a photo, all positions
    together."""

    power: float = 2.0

    def activates(self) -> bool:
        return True

    def value(self, seen: Seen) -> Tensor:
        ops, found, wanted = seen.ops, *self.both(seen)
        axes = tuple(range(1, len(found.shape)))
        own, length = ops.sum(found * found, axes) + FLOOR, ops.sum(wanted * wanted, axes) + FLOOR
        dot = ops.sum(found * wanted, axes)
        return dot / length * ops.maximum(dot / ops.sqrt(own * length), 0.1) ** self.power

    def __repr__(self) -> str:
        return f"{self.name}(layer={self.layer!r}, reference={self.digest!r}, power={self.power})"


def cosine_between(model: Model, layer: str, *inputs: Any) -> float:
    """The cosine between what a layer makes of two inputs."""
    a, b = (model.ops.numpy(model.forward(model.ops.asarray(x), (layer,))[layer]).ravel() for x in inputs)
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / ((np.linalg.norm(a) * np.linalg.norm(b)) or 1.0))
