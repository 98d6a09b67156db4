"""What a picture is optimised for: objectives that add, subtract and scale, each a few lines.

An objective gives one number for each picture of a batch, and the renderer raises it. ``unit("inception4a", 225) -
0.1 * total_variation()`` is an objective again; nothing here is changed by arithmetic. Those that take a picture of
their own (:func:`content`, :func:`style`) look at it once, at the size at which the network sees the rendering.

>>> (unit("layer4.2", 3) - 2 * unit("layer4.2", 5)).layers()
('layer4.2',)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...contract.backend import Array, Ops, Tensor
from ...contract.errors import SettingError, ShapeError, one_of
from ...contract.units import units_of
from ...inputs import images
from .objective import FLOOR, Objective, OfLayer, Seen, Sum

__all__ = [
    "FLOOR",
    "Objective",
    "Seen",
    "Sum",
    "channels",
    "content",
    "direction",
    "diversity",
    "layer",
    "logit",
    "neuron",
    "style",
    "unit",
]
REDUCTIONS = ("mean", "rms")


@dataclass(frozen=True)
class OfUnits(OfLayer):
    """An objective of one unit, or of another for each picture."""

    index: int | tuple[int, ...]

    def items(self) -> int:
        return 1 if isinstance(self.index, int) else len(self.index)

    def picked(self, seen: Seen) -> Tensor:
        """Each picture's unit, (N, ...)."""
        maps = seen.maps(self.layer)
        return seen.ops.pick(maps, indices(self.index, len(seen), maps.shape[1], self.layer))


@dataclass(frozen=True)
class Unit(OfUnits):
    """See :func:`unit`."""

    reduce: str = "mean"

    def words(self) -> str:
        several = "unit" if isinstance(self.index, int) else "units"
        named = self.index if isinstance(self.index, int) else ", ".join(map(str, self.index))
        return f"{several} {named} of {self.layer}"

    def value(self, seen: Seen) -> Tensor:
        return over_positions(seen.ops, self.picked(seen), self.reduce)


@dataclass(frozen=True)
class Neuron(OfUnits):
    """See :func:`neuron`."""

    at: tuple[int, int] | None = None

    def value(self, seen: Seen) -> Tensor:
        maps = seen.maps(self.layer)
        if len(maps.shape) != 4:
            raise ShapeError(f"A neuron has a place; {self.layer!r} gives {tuple(maps.shape)}. Take unit() or logit().")
        height, width = maps.shape[2:]
        row, column = self.at or (height // 2, width // 2)
        if not (0 <= row < height and 0 <= column < width):
            raise SettingError(
                f"neuron(at=({row}, {column})): {self.layer!r} has {height} x {width} positions at this size."
            )
        return self.picked(seen)[:, row, column]


@dataclass(frozen=True)
class WholeLayer(Objective):
    """See :func:`layer`."""

    name: str

    def layers(self) -> tuple[str, ...]:
        return (self.name,)

    def words(self) -> str:
        return f"mean square of {self.name}"

    def value(self, seen: Seen) -> Tensor:
        maps = seen.activations[self.name]
        return seen.ops.mean(maps * maps, tuple(range(1, len(maps.shape))))


@dataclass(frozen=True)
class Direction(OfLayer):
    """See :func:`direction`."""

    vector: tuple[float, ...]
    cosine_power: float = 0.0

    def value(self, seen: Seen) -> Tensor:
        ops, maps = seen.ops, seen.maps(self.layer)
        if maps.shape[1] != len(self.vector):
            raise ShapeError(f"Layer {self.layer!r} has {maps.shape[1]} units; the direction has {len(self.vector)}.")
        shape = (1, len(self.vector)) + (1,) * (len(maps.shape) - 2)
        vector = ops.constant(np.reshape, self.vector, shape)
        dot = ops.sum(maps * vector, 1)
        if self.cosine_power:
            norms = ops.sqrt(ops.sum(maps * maps, 1) + FLOOR) * float(np.linalg.norm(self.vector))
            dot = dot * ops.maximum(dot / norms, 0.1) ** self.cosine_power
        return over_positions(ops, dot, "mean")


@dataclass(frozen=True)
class Diversity(OfLayer):
    """See :func:`diversity`."""

    def judged(self) -> Objective | None:
        return None

    def value(self, seen: Seen) -> Tensor:
        count = len(seen)
        if count < 2:
            raise SettingError("diversity() compares pictures of a batch; render at least two, with count=.")
        grams = gram(seen.ops, seen.maps(self.layer))
        ops = seen.ops
        flat = ops.reshape(grams, (count, -1))
        flat = flat / ops.sqrt(ops.sum(flat * flat, 1, keepdims=True) + FLOOR)
        similar = ops.matmul(flat, ops.transpose(flat, (1, 0)))
        others = ops.constant(_others, count)
        return -1.0 * ops.sum(similar * others, 1)


@dataclass(frozen=True, eq=False)
class Match(OfLayer):
    """See :func:`content` and :func:`style`."""

    reference: Any
    of_gram: bool
    name: str
    digest: str

    def activates(self) -> bool:
        return False

    def value(self, seen: Seen) -> Tensor:
        ops, found, wanted = seen.ops, *self.both(seen)
        axes = tuple(range(1, len(found.shape)))
        gap = found - wanted
        return -1.0 * ops.sum(gap * gap, axes) / (ops.sum(wanted * wanted, axes) + FLOOR)

    def both(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """What the layer makes of the pictures, and of the reference, at which it looks once."""
        ops, found = seen.ops, self._read(seen, seen.activations[self.layer])
        key = (repr(self), tuple(seen.x.shape[2:]))
        if key not in seen.memory:
            spec = replace(seen.model.spec, size=tuple(seen.x.shape[2:]))
            batch = images.prepare(self.reference, spec, fit="squash")
            wanted = seen.model.forward(ops.asarray(batch.tensor), (self.layer,))[self.layer]
            seen.memory[key] = ops.detach(self._read(seen, wanted))
        wanted = seen.memory[key]
        if wanted.shape[0] not in (1, found.shape[0]):
            raise SettingError(f"{self.name}() has {wanted.shape[0]} pictures for {found.shape[0]} renderings.")
        return found, wanted

    def _read(self, seen: Seen, found: Tensor) -> Tensor:
        return gram(seen.ops, units_of(seen.model, self.layer).first(seen.ops, found)) if self.of_gram else found

    def __repr__(self) -> str:
        return f"{self.name}(layer={self.layer!r}, reference={self.digest!r})"


def indices(index: int | tuple[int, ...], count: int, units: int, layer: str) -> list[int]:
    """The unit of each of ``count`` pictures; SettingError for units that a layer does not have."""
    listed = [index] * count if isinstance(index, int) else list(index)
    if len(listed) != count:
        raise SettingError(f"{len(listed)} units of {layer!r} for {count} pictures; give one for each, or one for all.")
    wrong = [one for one in listed if not 0 <= one < units]
    if wrong:
        raise SettingError(f"Layer {layer!r} has units 0 to {units - 1}; there is no {', '.join(map(str, wrong))}.")
    return listed


def over_positions(ops: Ops, picked: Tensor, reduce: str) -> Tensor:
    """(N, ...) to (N,): the mean, or the root mean square, over all positions."""
    if len(picked.shape) == 1:
        return picked
    axes = tuple(range(1, len(picked.shape)))
    return ops.mean(picked, axes) if reduce == "mean" else ops.sqrt(ops.mean(picked * picked, axes) + FLOOR)


def _others(count: int) -> Array:
    return (1.0 - np.eye(count)) / (count - 1)


def gram(ops: Ops, maps: Tensor) -> Tensor:
    """Gram matrices (N, C, C) of feature maps (N, C, H, W): means over positions of the products of two channels."""
    if len(maps.shape) != 4:
        raise ShapeError(f"A Gram matrix needs feature maps (N, C, H, W); got {tuple(maps.shape)}.")
    count, channels, height, width = maps.shape
    flat = ops.reshape(maps, (count, channels, height * width))
    return ops.matmul(flat, ops.transpose(flat, (0, 2, 1))) / float(height * width)


def index_of(index: int | Sequence[int]) -> int | tuple[int, ...]:
    """A unit, or several as they are kept; SettingError for none."""
    if isinstance(index, int | np.integer):
        return int(index)
    listed = tuple(int(one) for one in index)
    if not listed:
        raise SettingError("The list of units is empty; give at least one.")
    return listed


def unit(layer: str, index: int | Sequence[int], *, reduce: str = "mean") -> Objective:
    """The ``"mean"`` or ``"rms"`` over all positions of a channel, or the value of a unit of a dense layer; a list of
    units gives each picture of the batch its own (Erhan et al. 2009)."""
    one_of("reduce", reduce, REDUCTIONS)
    return Unit(layer, index_of(index), reduce)


def neuron(layer: str, index: int | Sequence[int], *, at: tuple[int, int] | None = None) -> Objective:
    """A channel's value at one position ``(row, column)`` of its map; None is the middle."""
    return Neuron(layer, index_of(index), at)


def layer(name: str) -> Objective:
    """DeepDream's: the mean of the squares of everything a layer computes (Mordvintsev et al. 2015)."""
    return WholeLayer(name)


def direction(layer: str, vector: npt.ArrayLike, *, cosine_power: float = 0.0) -> Objective:
    """``mean over positions of <a, v> * max(0.1, cos(a, v)) ** cosine_power``, with ``a`` the units' values at a
    position and ``v`` (C,) a direction among them (Olah et al. 2017; the power as in Carter et al. 2019)."""
    values: Array = np.asarray(vector, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or not values.any():
        raise SettingError(f"direction(): expected a vector (C,) that is finite and not zero; got {values.shape}.")
    return Direction(layer, tuple(values.tolist()), float(cosine_power))


def channels(layer: str, weights: dict[int, float]) -> Objective:
    """A weighted combination of channels, ``{channel: weight}``, each by its mean."""
    if not weights:
        raise SettingError("channels() combines nothing; give {channel: weight}.")
    return Sum(tuple((float(weight), unit(layer, index)) for index, weight in weights.items()))


def logit(index: int | Sequence[int]) -> Objective:
    """A class score before the softmax (Simonyan et al. 2013); a list gives each picture its own class."""
    return unit("output", index)


def diversity(layer: str) -> Objective:
    """Minus the mean cosine between the Gram matrix of a picture and those of the others of its batch (Olah et al.
    2017): raised, the pictures of one unit show its different facets."""
    return Diversity(layer)


def content(layer: str, reference: Any) -> Objective:
    """``-|a - a0|^2 / |a0|^2`` with ``a0`` a layer's values for a given picture (Mahendran & Vedaldi 2014,
    arXiv 1412.0035): raised to zero, the picture is one that the layer cannot tell from it."""
    return Match(layer, reference, False, "content", images.fingerprint(reference))


def style(layer: str, reference: Any) -> Objective:
    """As :func:`content`, of the Gram matrices (Gatys et al. 2015, arXiv 1508.06576)."""
    return Match(layer, reference, True, "style", images.fingerprint(reference))
