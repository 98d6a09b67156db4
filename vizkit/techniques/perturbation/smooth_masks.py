"""Masks without sharp corners, made of a few cells, and the pictures that they let through."""

from __future__ import annotations

import math

import numpy as np

from ...contract.backend import Array, Ops, Tensor
from ...contract.spec import InputSpec
from ...inputs.images import Batch
from ...inputs.references import blurred, reference

COLDNESS = 20.0
"""Of the smooth maximum: the larger, the nearer to the largest value."""
HALVINGS = 14
"""Steps in which the threshold of an area is found: to 6e-5 of a mask's range, so that pixels which rounding alone sets
apart, as all are in the mask of ones at the start, are equally bright."""
LEVELS = 8
WIDEST = 20 / 224
"""Standard deviation of the widest blur, as a share of the shorter side."""


class SmoothMasks:
    """From cells (B, 1, h, w) in 0..1, one for ``step`` by ``step`` pixels, to masks (B, 1, H, W) in 0..1.

    ``m[u] = sum_v e^(T k m_v) k m_v / sum_v e^(T k m_v)``, a smooth maximum over the cells v near pixel u, with
    ``k = exp(-2 max(0, |u - v| / sigma - 1/2)^2)`` for the distance of u from the centre of v: a single cell gives a
    disk with a soft rim. ``T`` is :data:`COLDNESS`; near are cells no farther than ``sigma`` and one cell more.
    ``share`` is the picture's part of the :meth:`canvas`, which goes ``sigma`` beyond it on each side, so that a disk
    on the edge is as large as any other.
    """

    def __init__(self, ops: Ops, size: tuple[int, int], step: int, sigma: float) -> None:
        self.ops = ops
        self.size = size
        self.step = step
        self.cells = tuple(math.ceil(side / step) for side in size)
        self.radius = 1 + math.ceil(sigma / step)
        self.margin = self.radius - 1
        self.share = math.prod(size) / math.prod((count + 2 * self.margin) * step for count in self.cells)
        self.weights = ops.constant(_weights, step, float(sigma), self.radius)
        self.taps = ops.constant(_taps, self.radius)

    def __call__(self, cells: Tensor) -> Tensor:
        return self.inside(self.canvas(cells))

    def inside(self, canvas: Tensor) -> Tensor:
        """A canvas' part that is the picture."""
        (top, bottom), (left, right) = ((self.margin * self.step, self.margin * self.step + n) for n in self.size)
        return canvas[:, :, top:bottom, left:right]

    def canvas(self, cells: Tensor) -> Tensor:
        """The masks with a margin around them."""
        ops, s = self.ops, self.step
        near = ops.conv(cells, self.taps, padding=self.radius + self.margin)
        h, w = near.shape[2:]
        exponents = ops.reshape(near, (len(cells), -1, h * w, 1)) * self.weights
        powers = ops.exp(exponents)
        masks = ops.sum(powers * exponents, 1) / ops.sum(powers, 1)
        laid = ops.transpose(ops.reshape(masks / COLDNESS, (len(cells), h, w, s, s)), (0, 1, 3, 2, 4))
        return ops.reshape(laid, (len(cells), 1, h * s, w * s))


def _near(radius: int) -> Array:
    """Which (D, D) of the neighbours are within a disk."""
    at = np.arange(-radius, radius + 1)
    return np.asarray(at[:, None] ** 2 + at**2 <= radius**2)


def _taps(radius: int) -> Array:
    """(T, 1, D, D): each picks one of the T neighbours."""
    near = _near(radius)
    return np.asarray(np.eye(near.size)[near.ravel()].reshape(-1, 1, *near.shape))


def _weights(step: int, sigma: float, radius: int) -> Array:
    """(1, T, 1, step * step): what each neighbour weighs at each pixel of a cell, times the coldness."""
    inside = np.arange(step) - (step - 1) / 2
    away = inside - step * np.arange(-radius, radius + 1)[:, None]
    distance = np.sqrt(away[:, None, :, None] ** 2 + away[None, :, None, :] ** 2)[_near(radius)] / sigma
    weights = np.exp(-2 * np.maximum(distance - 0.5, 0) ** 2)
    return np.asarray(COLDNESS * weights.reshape(1, -1, 1, step * step))


def brightest(ops: Ops, masks: Tensor, areas: Tensor) -> Tensor:
    """Ones where the masks (B, 1, H, W) in 0..1 are above a threshold, else zero: as many as areas (B, 1, 1, 1), shares
    of the picture, allow, and fewer where values are equal. The threshold is found by halving, on the device."""
    zeros = 0.0 * masks
    ones, below = zeros + 1.0, 0.0 * areas
    for k in range(1, HALVINGS + 1):
        middle = below + 0.5**k
        share = ops.mean(ops.where(ops.relu(masks - middle), ones, zeros), (2, 3), keepdims=True)
        below = ops.where(ops.relu(share - areas), middle, below)
    return ops.where(ops.relu(masks - (below + 0.5**HALVINGS)), ones, zeros)


def levels(baseline: str, batch: Batch, spec: InputSpec) -> list[Array]:
    """What a mask mixes (N, C, H, W), from 0 to 1: for "blurred" the pictures under ever less blur, else the baseline
    and the pictures."""
    if baseline != "blurred":
        return [reference(baseline, batch, spec), batch.tensor]
    widest = WIDEST * min(batch.tensor.shape[2:])
    return [*(blurred(batch.tensor, widest * (1 - k / (LEVELS - 1))) for k in range(LEVELS - 1)), batch.tensor]


def let_through(ops: Ops, masks: Tensor, pictures: list[Tensor]) -> Tensor:
    """Pictures (B, C, H, W) between :func:`levels` at the masks' values (B, 1, H, W), linear from one to the next."""
    at = (len(pictures) - 1.0) * masks
    total = None
    for k, picture in enumerate(pictures):
        part = ops.relu(1.0 - ops.abs(at - float(k))) * picture
        total = part if total is None else total + part
    return total
