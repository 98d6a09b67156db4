"""The rules of layer-wise relevance propagation: how the relevance of an operation's output is shared among its
inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...contract.backend import Array, Evaluated, Ops, Tensor
from ...contract.errors import SettingError

STABILISER = 1e-6
"""What is added to a denominator, away from zero."""
Change = Callable[[Ops, Tensor], Tensor]


def stabilised(ops: Ops, z: Tensor, epsilon: float = STABILISER) -> Tensor:
    """``z``, moved away from zero by ``epsilon``."""
    return ops.where(ops.relu(z), z + epsilon, z - epsilon)


def shared(relevance: Tensor, *terms: tuple[float, Evaluated], epsilon: float = STABILISER) -> list[Tensor]:
    """Relevance in proportion to what each input gives to ``z``, the sum of the terms' outputs, each with its sign."""
    ops = terms[0][1].ops
    z = sum((sign * term.output for sign, term in terms[1:]), terms[0][0] * terms[0][1].output)
    share = relevance / stabilised(ops, z, epsilon)
    found: list[Tensor] = []
    for sign, term in terms:
        parts = [sign * x * g for x, g in zip(term.inputs, term.pull(share), strict=True)]
        found = [a + b for a, b in zip(found, parts, strict=True)] if found else parts
    return found


def positive(ops: Ops, x: Tensor) -> Tensor:
    return ops.relu(x)


def negative(ops: Ops, x: Tensor) -> Tensor:
    return ops.minimum(x, 0.0)


def zero(ops: Ops, x: Tensor) -> Tensor:
    return 0.0 * x


def one(ops: Ops, x: Tensor) -> Tensor:
    return 0.0 * x + 1.0


def square(ops: Ops, x: Tensor) -> Tensor:
    return x * x


def changed(done: Evaluated, x: Change | None, weight: Change, bias: Change | None = None) -> Evaluated:
    """The operation on another input, with another weight, and a bias that is changed as that or by ``bias``."""
    ops = done.ops
    changes = (weight, bias or weight)
    parameters = [change(ops, one) for change, one in zip(changes, done.parameters, strict=False)]
    return done.again([] if x is None else [x(ops, done.inputs[0])], parameters)


@dataclass(frozen=True)
class Epsilon:
    """``R_i = x_i sum_j w_ij R_j / (z_j + epsilon sign z_j)`` (Bach et al. 2015). ``epsilon`` near 0 is LRP-0."""

    epsilon: float = STABILISER

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        return shared(relevance, (1.0, done), epsilon=self.epsilon)


def raising(done: Evaluated) -> list[Evaluated]:
    """What adds up to all that raises the output: positive inputs with positive weights and bias and, where there may
    be any, negative ones with negative weights."""
    if done.nonnegative:
        return [changed(done, None, positive)]
    return [changed(done, positive, positive), changed(done, negative, negative, zero)]


def total(terms: Sequence[Evaluated]) -> Tensor:
    return sum((term.output for term in terms[1:]), terms[0].output)


@dataclass(frozen=True)
class Gamma:
    """As LRP-0, where an output is positive with ``1 + gamma`` times what raises it, where it is negative with that
    times what lowers it (Montavon et al. 2019; for both signs Andéol et al. 2021)."""

    gamma: float = 0.25

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        """What lowers an output is what it is, less what raises it; so no convolution by negative weights is needed."""
        ops, z, terms = done.ops, done.output, raising(done)
        more, below, none = self.gamma * total(terms), ops.minimum(z, 0.0), 0.0 * relevance
        raised = ops.where(ops.relu(z), relevance, none) / (ops.relu(z) + more + STABILISER)
        lowered = ops.where(below, relevance, none) / ((1.0 + self.gamma) * below - more - STABILISER)
        found = done.inputs[0] * done.pull(raised + (1.0 + self.gamma) * lowered)[0]
        for term in terms:
            found = found + term.inputs[0] * term.pull(self.gamma * (raised - lowered))[0]
        return [found]


@dataclass(frozen=True)
class AlphaBeta:
    """``alpha`` times relevance by what raises the output, less ``beta`` times that by what lowers it (Bach et al.
    2015); ``alpha - beta = 1``."""

    alpha: float = 2.0
    beta: float = 1.0
    pulls: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) < 0 or abs(self.alpha - self.beta - 1.0) > 1e-12:
            raise SettingError(
                f"alpha={self.alpha}, beta={self.beta}: both must be at least 0, and alpha - beta = 1, or relevance is "
                "not kept."
            )

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        """What lowers an output is what it is, less what raises it; how it is shared, the weights say that the latter
        does not use."""
        ops, terms = done.ops, raising(done)
        up = total(terms)
        raised = self.alpha * relevance / (up + STABILISER)
        parts = [term.pull(raised)[0] for term in terms]
        if self.beta:
            lowered = self.beta * relevance / (ops.minimum(done.output - up, 0.0) - STABILISER)
            for i, term in enumerate(terms):
                parts[i] = parts[i] - term.pull(lowered, [done.parameters[0] - term.parameters[0]])[0]
        shares = [term.inputs[0] * part for term, part in zip(terms, parts, strict=True)]
        return [sum(shares[1:], shares[0])]


@dataclass(frozen=True)
class ZBox:
    """For pixels between ``low`` and ``high``, one of each per channel (Montavon et al. 2017): ``z = x w - low max(w,
    0) - high min(w, 0)``."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        def bound(values: tuple[float, ...]) -> Change:
            return lambda ops, x: 0.0 * x + ops.constant(_per_channel, values, tuple(x.shape[1:]))

        low, high = changed(done, bound(self.low), positive), changed(done, bound(self.high), negative)
        return shared(relevance, (1.0, done), (-1.0, low), (-1.0, high))


def _per_channel(values: tuple[float, ...], shape: tuple[int, ...]) -> Array:
    """One for each channel; of pictures that lie flat, for each of its pixels."""
    if len(shape) == 1:
        return np.repeat(values, shape[0] // len(values))[None]
    return np.reshape(values, (1, -1, *(1,) * (len(shape) - 1)))


@dataclass(frozen=True)
class WSquare:
    """In proportion to the squares of weights, whatever the input (Montavon et al. 2017)."""

    pulls: ClassVar[bool] = False

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        return shared(relevance, (1.0, changed(done, one, square)))


@dataclass(frozen=True)
class Flat:
    """The same share for every input that an output sees (Lapuschkin et al. 2019)."""

    pulls: ClassVar[bool] = False

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        return shared(relevance, (1.0, changed(done, one, one, zero)))


@dataclass(frozen=True)
class Pass:
    """All of it, where one input and the output are of one shape; in equal parts to several."""

    pulls: ClassVar[bool] = False

    def __call__(self, done: Evaluated, relevance: Tensor) -> Sequence[Tensor]:
        part = relevance / len(done.inputs) if len(done.inputs) > 1 else relevance
        return [_as(done.ops, part, tuple(x.shape)) for x in done.inputs]


def _as(ops: Ops, relevance: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Summed over the axes along which an input was repeated."""
    whole = (*(1,) * (len(relevance.shape) - len(shape)), *shape)
    axes = tuple(i for i, (a, b) in enumerate(zip(relevance.shape, whole, strict=True)) if a != b)
    return ops.reshape(ops.sum(relevance, axes, keepdims=True), shape) if axes else relevance
