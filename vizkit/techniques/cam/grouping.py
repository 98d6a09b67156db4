"""Channels in groups, and their sums as masks."""

from __future__ import annotations

from dataclasses import dataclass

from ...contract.backend import Leaves, Ops, Tensor
from ...contract.grid import Grid
from ...contract.spec import InputSpec
from ..common.maps import stretched
from ..common.passes import Pass


def scaled(ops: Ops, maps: Tensor, grid: Grid, spec: InputSpec) -> Tensor:
    """Maps of a layer that reach from 0 to 1 once they are enlarged, which is linear; zero where one is constant."""
    return stretched(ops, maps, grid.enlarged(ops, maps, spec))


@dataclass(frozen=True)
class Grouped:
    """A reduction of a pass: Grad-CAM's weighted channels, added up in groups of ``size`` side by side, clipped."""

    layer: str
    grid: Grid
    size: int

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        activations, gradients = (self.grid.maps(ops, one[self.layer]) for one in (done.activations, done.gradients))
        products = ops.mean(gradients, (2, 3), keepdims=True) * activations
        starts = range(0, self.grid.channels, self.size)
        groups = [ops.sum(products[:, at : at + self.size], 1, keepdims=True) for at in starts]
        return {"groups": ops.maximum(ops.concat(groups, 1), 0.0)}
