"""The terms of a network's score that its constants give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...contract.backend import Array, Leaves, Model, Ops, Tensor
from ...contract.errors import DisconnectedError
from ...contract.grid import Grid, arranged
from ...contract.spec import InputSpec
from ..common.job import Job
from ..common.maps import enlarged, stretched
from ..common.passes import INPUT, VALUES, Pass

TOTAL, SCORE = "total", "score"


@dataclass(frozen=True)
class Term:
    """The constants of one affine layer: how many, along which axis of its output, and how that covers the picture."""

    layer: str
    count: int
    axis: int
    grid: Grid | None


def lies(model: Model, name: str) -> tuple[int, Grid | None]:
    """The axis of a layer's constants, and how its output covers the picture. Channels are where the constants are."""
    layer, size = model.layers[name], model.spec.extent or model.spec.size
    axis = model.bias_axis(name) % len(layer.shape)
    last = axis == len(layer.shape) - 1 == 1 + len(size)
    return axis, arranged(layer, size, axis) if last else model.grid(name)


def passes(job: Job, scale: str, biases: Mapping[str, Array]) -> dict[str, Array]:
    """The map of the terms, their sum, and the scores (N, ...). Layers on which no score depends, as those of another
    head, have no term."""
    model, left = job.model, dict(biases)
    while True:
        places = tuple(Term(name, len(bias), *lies(model, name)) for name, bias in left.items())
        terms = Terms(scale, model.spec, places, np.concatenate([[0.0], *left.values()]))
        try:
            return job.passes(terms, layers=tuple(left))
        except DisconnectedError as error:
            if not left.keys() & set(error.names):
                raise
            left = {name: bias for name, bias in left.items() if name not in error.names}


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
            shape[one.axis] = one.count
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
