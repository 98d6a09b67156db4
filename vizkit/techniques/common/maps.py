"""Maps at a layer's resolution, and their arithmetic."""

from __future__ import annotations

from ...contract.backend import Ops, Tensor
from ...contract.grid import Grid
from ...contract.spec import InputSpec

CAM = "cam"
"""The name of the maps at the layer's resolution."""


def enlarged(ops: Ops, maps: Tensor, grid: Grid, spec: InputSpec) -> Tensor:
    """(N, h, w) to (N, H, W), bilinear with half-pixel centres, on the device."""
    n, height, width = maps.shape
    return ops.reshape(grid.enlarged(ops, ops.reshape(maps, (n, 1, height, width)), spec), (n, *spec.size))


def stretched(ops: Ops, maps: Tensor, seen: Tensor) -> Tensor:
    """Maps (N, C, h, w) moved and scaled as takes each channel of ``seen`` (N, C, ...) from its minimum and maximum to
    0..1; zero where that is constant."""
    low, high = (ops.max(one, (2, 3), keepdims=True) for one in (-1.0 * seen, seen))
    return quotient(ops, maps + low, high + low + 0.0 * maps)


def quotient(ops: Ops, above: Tensor, below: Tensor) -> Tensor:
    """``above / below``, and zero where that is a division by zero."""
    zeros = 0.0 * below
    return ops.where(below, above / ops.where(below, below, zeros + 1.0), zeros)
