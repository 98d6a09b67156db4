"""Activations at random places of many pictures, with what each says for the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...contract.backend import Array, Leaves, Model, Ops, Tensor
from ...contract.errors import SettingError
from ...contract.grid import Grid
from ...inputs.folders import Passed, Pictures, stream
from ...inputs.images import Batch
from ...support.spill import Spilled
from ..common.checks import pictures_only
from ..common.passes import LOGITS, Pass, looking
from .crops import grid_for

SAYS = "says"


@dataclass(frozen=True)
class Contribution:
    """A reduction of a pass: the layer's maps (N, C, h, w), and activation times gradient, summed over channels, (N, h,
    w): what each position of a layer contributes to the score, to first order."""

    layer: str
    grid: Grid

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        maps, slopes = (self.grid.maps(ops, one[self.layer]) for one in (done.activations, done.gradients))
        return {self.layer: maps, SAYS: ops.sum(maps * slopes, 1)}


def contributions(model: Model, layer: str) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """From a batch (N, C, H, W) to what :class:`Contribution` keeps for each picture's first class, and the logits."""
    return looking(model, Contribution(layer, grid_for(model, layer)), (layer,))


class Samples(Spilled):
    """Of each picture, ``count`` random positions of a layer: the activations (C,) there, and what they contribute to
    the score of the picture's first class. Which positions depends on the seed and the picture's place alone."""

    def __init__(self, layer: str, count: int, seed: int) -> None:
        if count < 1:
            raise SettingError(f"per_picture={count}: take at least one position of each picture.")
        self.layer, self.count, self.seed = layer, count, seed
        super().__init__("vectors", SAYS, "classes", "pictures")

    def fresh(self) -> Samples:
        return Samples(self.layer, self.count, self.seed)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        classes = activations[LOGITS].argmax(axis=1)
        maps, says = (activations[name] for name in (self.layer, SAYS))
        maps, says = maps.reshape(*maps.shape[:2], -1), says.reshape(len(says), -1)
        for i, place in enumerate(places):
            rng = np.random.default_rng([self.seed, place])
            at = np.sort(rng.permutation(maps.shape[2])[: self.count])
            found = (maps[i][:, at].T, says[i, at], np.full(len(at), classes[i]), np.full(len(at), place))
            for one, rows in zip(self.rows.values(), found, strict=True):
                one.append(rows)


def sampled(
    model: Model, pictures: Pictures, layer: str, count: int, seed: int, **options: Any
) -> tuple[dict[str, Array], Passed]:
    """What :class:`Samples` gathers over a folder, and which pictures were read; options as
    :func:`vizkit.folders.stream` has them. Raises SettingError for an output without classes,
    or a network of no pictures."""
    pictures_only(model, "activation_atlas")
    if len(model.output_shape) != 2:
        raise SettingError(
            f"{model.name} gives an output of shape {model.output_shape}; an atlas names its cells by classes, and "
            "needs (N, classes)."
        )
    reader, looking = Samples(layer, count, seed), partial(contributions, layer=layer)
    settings = {"per_picture": count, "seed": seed}
    passed = stream(
        model, pictures, [layer], reader, label="activations", settings=settings, looking=looking, **options
    )
    return reader.state(), passed
