"""Activations at random places of many pictures, with what each says for the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.backend import Array, Leaves, Model, Ops
from ...contract.errors import SettingError
from ...contract.grid import Grid
from ...inputs import targets
from ...inputs.folders import Passed, Pictures, stream
from ...inputs.images import Batch
from ...inputs.outputs import Dense, Table
from ..common.passes import LOGITS, Pass, differentiate
from .crops import grid_for

SAYS = "says"


@dataclass(frozen=True)
class Contribution:
    """A reduction of a pass: activation times gradient, summed over channels, (N, h, w): what each position of a layer
    contributes to the score, to first order."""

    layer: str
    grid: Grid

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        maps, slopes = (self.grid.maps(ops, one[self.layer]) for one in (done.activations, done.gradients))
        return {SAYS: ops.sum(maps * slopes, 1)}


class Samples:
    """Of each picture, ``count`` random positions of a layer: the activations (C,) there, and what they contribute to
    the score of the picture's first class. Which positions depends on the seed and the picture's place alone."""

    def __init__(self, model: Model, layer: str, count: int, seed: int) -> None:
        if len(model.output_shape) != 2:
            raise SettingError(
                f"{model.name} gives an output of shape {model.output_shape}; an atlas names its cells by classes, and "
                "needs (N, classes)."
            )
        if count < 1:
            raise SettingError(f"per_picture={count}: take at least one position of each picture.")
        grid = grid_for(model, layer)
        self.model, self.layer, self.grid, self.count, self.seed = model, layer, grid, count, seed
        self.table = Table(Dense.of(model))
        self.run = differentiate(model, Contribution(layer, grid), table=self.table, layers=(layer,), at_input=False)
        self.found: dict[str, list[Array]] = {"vectors": [], SAYS: [], "classes": [], "pictures": []}

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        model, ops = self.model, self.model.ops
        marks = ops.asarray(targets.marks(model, self.table, [None] * len(places)))
        made = self.run({"x": ops.asarray(batch.tensor), "marks": marks})
        says = ops.numpy(made[SAYS]).reshape(len(places), -1)
        classes = ops.numpy(made[LOGITS]).argmax(axis=1)
        maps = ops.numpy(self.grid.maps(ops, ops.asarray(activations[self.layer])))
        maps = maps.reshape(len(places), self.grid.channels, -1)
        for i, place in enumerate(places):
            rng = np.random.default_rng([self.seed, place])
            at = np.sort(rng.permutation(self.grid.positions)[: self.count])
            self.found["vectors"].append(maps[i][:, at].T)
            self.found[SAYS].append(says[i, at])
            self.found["classes"].append(np.full(len(at), classes[i], np.int64))
            self.found["pictures"].append(np.full(len(at), place, np.int64))

    def state(self) -> dict[str, Array]:
        return {name: np.concatenate(parts) for name, parts in self.found.items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.found = {name: [arrays[name]] for name in self.found}


def sampled(
    model: Model, pictures: Pictures, layer: str, count: int, seed: int, **options: Any
) -> tuple[dict[str, Array], Passed]:
    """What :class:`Samples` gathers over a folder, and which pictures were read; options as
    :func:`vizkit.folders.stream` has them."""
    reader = Samples(model, layer, count, seed)
    settings = {"per_picture": count, "seed": seed}
    passed = stream(model, pictures, [layer], reader, label="activations", settings=settings, **options)
    return reader.state(), passed
