"""What every objective is, and the arithmetic of objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...contract.backend import Array, Model, Ops, Tensor
from ...contract.errors import SettingError
from ...contract.units import units_of

FLOOR = 1e-12
"""Added under each root and to each norm, so that silence has gradient zero and not NaN."""


@dataclass
class Seen:
    """One step as objectives see it: the ``activations`` of the layers they asked for, the ``picture`` (N, C, H, W) in
    0..1 before any transform, its ``alpha`` (N, 1, H, W) where it has one, and ``x``, what the network was given.
    ``memory`` keeps what an objective computes only once."""

    model: Model
    activations: dict[str, Tensor]
    picture: Tensor
    alpha: Tensor | None
    x: Tensor
    memory: dict[Any, Tensor] = field(default_factory=dict)

    @property
    def ops(self) -> Ops:
        return self.model.ops

    def maps(self, layer: str) -> Tensor:
        """What it gave by unit, (N, C, h, w) or (N, C)."""
        return units_of(self.model, layer).first(self.ops, self.activations[layer])

    def __len__(self) -> int:
        return int(self.picture.shape[0])


class Objective(ABC):
    """One number for each picture, to be raised."""

    @abstractmethod
    def layers(self) -> tuple[str, ...]:
        """Names of the layers it reads."""

    @abstractmethod
    def value(self, seen: Seen) -> Tensor:
        """(N,), differentiable."""

    def words(self) -> str:
        """What is climbed, for a caption."""
        return repr(self)

    def items(self) -> int:
        """How many pictures it distinguishes; 1 where all are treated alike."""
        return 1

    def judged(self) -> Objective | None:
        """The part of it that says whether a picture shows what it should; None for penalties and the like."""
        return self

    def activates(self) -> bool:
        """Whether a value above zero means that something in the network responded."""
        return True

    def on(self, item: int) -> Objective:
        """The same objective for one picture of the batch only, and zero for the others."""
        return Item(self, item)

    def __add__(self, other: Objective | float) -> Objective:
        return Sum(((1.0, self), _term(other)))

    def __radd__(self, other: float) -> Objective:
        return Sum((_term(other), (1.0, self)))

    def __sub__(self, other: Objective | float) -> Objective:
        weight, term = _term(other)
        return Sum(((1.0, self), (-weight, term)))

    def __rsub__(self, other: float) -> Objective:
        return Sum((_term(other), (-1.0, self)))

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, int | float | np.number):
            raise SettingError(f"An objective can be multiplied by a number; got {type(factor).__name__}.")
        return Sum(((float(factor), self),))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        return self * (1.0 / divisor)

    def __neg__(self) -> Objective:
        return self * -1.0


@dataclass(frozen=True)
class OfLayer(Objective):
    """An objective that reads one layer."""

    layer: str

    def layers(self) -> tuple[str, ...]:
        return (self.layer,)


def _term(other: Objective | float) -> tuple[float, Objective]:
    if isinstance(other, Objective):
        return 1.0, other
    if isinstance(other, int | float | np.number):
        return float(other), Constant()
    raise SettingError(f"An objective can be added to an objective or a number; got {type(other).__name__}.")


@dataclass(frozen=True)
class Sum(Objective):
    """A weighted sum of objectives."""

    terms: tuple[tuple[float, Objective], ...]

    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for _, term in self.terms for name in term.layers()))

    def items(self) -> int:
        return max(term.items() for _, term in self.terms)

    def judged(self) -> Objective | None:
        found = ((weight, term.judged()) for weight, term in self.terms)
        kept = tuple((weight, term) for weight, term in found if term is not None)
        return Sum(kept) if kept else None

    def activates(self) -> bool:
        return all(term.activates() for _, term in self.terms)

    def value(self, seen: Seen) -> Tensor:
        (weight, first), *rest = self.terms
        total = weight * first.value(seen)
        for weight, term in rest:
            total = total + weight * term.value(seen)
        return total


@dataclass(frozen=True)
class Constant(Objective):
    """One, for every picture."""

    def layers(self) -> tuple[str, ...]:
        return ()

    def judged(self) -> Objective | None:
        return None

    def value(self, seen: Seen) -> Tensor:
        return seen.ops.constant(np.ones, len(seen))


@dataclass(frozen=True)
class Item(Objective):
    """See :meth:`Objective.on`."""

    objective: Objective
    item: int

    def layers(self) -> tuple[str, ...]:
        return self.objective.layers()

    def items(self) -> int:
        return max(self.item + 1, self.objective.items())

    def judged(self) -> Objective | None:
        kept = self.objective.judged()
        return None if kept is None else Item(kept, self.item)

    def activates(self) -> bool:
        return self.objective.activates()

    def value(self, seen: Seen) -> Tensor:
        if self.item >= len(seen):
            raise SettingError(f"on({self.item}): the batch has {len(seen)} pictures, counted from 0.")
        return self.objective.value(seen) * seen.ops.constant(_only, len(seen), self.item)


def _only(count: int, item: int) -> Array:
    return np.asarray(np.eye(count)[item])
