"""The terms of a network's score that its constants give."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...contract.backend import Array, Leaves, Model, Ops, Tensor
from ...contract.grid import Grid
from ...contract.spec import InputSpec
from ..common.maps import enlarged, stretched
from ..common.passes import INPUT, VALUES, Pass

TOTAL, SCORE = "total", "score"


@dataclass(frozen=True)
class Term:
    """The constants of one affine layer: how many, whether along the last axis of its output or the second, and how
    that covers the picture."""

    layer: str
    count: int
    last: bool
    grid: Grid | None


def lies(model: Model, name: str) -> tuple[bool, Grid | None]:
    kind, shape = model.layers[name].kind, model.layers[name].shape
    last = "Linear" in kind or kind in ("Dense", "FullyConnected")
    if last and len(shape) == 4 and not model.spec.extent:
        return last, Grid("NHWC", shape[3], shape[1], shape[2])
    return last, model.grid(name)


@dataclass(frozen=True)
class Terms:
    """A reduction of a pass: the map of the terms, their sum, and the score. ``biases``, which belong to the network,
    are a zero and those of all ``layers`` in a row, which are told with how they cover the picture."""

    scale: str
    spec: InputSpec
    layers: tuple[Term, ...]
    biases: Array = field(compare=False)

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        every, at = ops.constant(np.asarray, self.biases), 1
        terms = [done.image * done.gradients[INPUT]]
        grids: list[Grid | None] = [Grid("NCHW", self.spec.channels, *self.spec.size, extent=self.spec.extent)]
        for one in self.layers:
            grids.append(one.grid)
            gradient, stop = done.gradients[one.layer], at + one.count
            shape = [1] * len(gradient.shape)
            shape[-1 if one.last else 1] = one.count
            terms.append(gradient * ops.reshape(every[at:stop], tuple(shape)))
            at = stop
        maps = [
            enlarged(ops, _psi(ops, grid.maps(ops, term), self.scale), grid, self.spec)
            for term, grid in zip(terms, grids, strict=True)
            if grid is not None and grid.positions > 1
        ]
        sums = [ops.sum(ops.double(term), tuple(range(1, len(term.shape)))) for term in terms]
        return {VALUES: sum(maps[1:], maps[0]), TOTAL: sum(sums[1:], sums[0]), SCORE: done.scores}


def _psi(ops: Ops, term: Tensor, scale: str) -> Tensor:
    """(N, C, h, w) to (N, h, w): absolute values, each channel rescaled to 0..1 where asked for, summed."""
    size = ops.abs(term)
    if scale == "channel":
        size = stretched(ops, size, size)
    return ops.sum(size, 1)
