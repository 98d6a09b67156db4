"""Random masks of RISE."""

from __future__ import annotations

import math

import numpy as np

from ...contract.backend import Array, Ops, Tensor
from ..common.noise import generator


def rise_masks(ops: Ops, size: tuple[int, int], grid: int, keep: float, seed: int, which: range) -> Tensor:
    """Native masks (B, 1, H, W) in 0..1 with these numbers, the same whatever other masks are drawn with them."""
    cells = [math.ceil(side / grid) for side in size]
    kept, corners = np.empty((len(which), grid, grid)), np.empty((len(which), 2))
    for k, number in enumerate(which):
        rng = generator(seed, number)
        kept[k] = rng.random((grid, grid)) < keep
        corners[k] = [rng.integers(0, cell) for cell in cells]
    down, across = (
        _enlarging(ops, ops.asarray(corners[:, axis, None, None]), side, cell, grid)
        for axis, (side, cell) in enumerate(zip(size, cells, strict=True))
    )
    enlarged = ops.matmul(ops.matmul(down, ops.asarray(kept)), ops.transpose(across, (0, 2, 1)))
    return ops.reshape(enlarged, (len(which), 1, *size))


def _enlarging(ops: Ops, first: Tensor, side: int, cell: int, grid: int) -> Tensor:
    """(B, side, grid): bilinear enlargement of ``grid`` cells to ``(grid + 1) * cell`` pixels, half-pixel centres,
    edges repeated, cut out from pixel ``first`` (B, 1, 1) on."""
    share = grid / ((grid + 1) * cell)
    at = (first + ops.constant(_pixels, side)) * share + (0.5 * share - 0.5)
    places = ops.reshape(ops.minimum(ops.maximum(at, 0.0), grid - 1.0), (-1, 1))
    return ops.reshape(ops.hats(places, grid), (-1, side, grid))


def _pixels(side: int) -> Array:
    return np.arange(float(side)).reshape(1, side, 1)
