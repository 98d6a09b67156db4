"""DeepLIFT's rules: multipliers that carry differences from a reference, instead of derivatives.

References go through the network first, and what became of them in an operation is beside what becomes of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...contract.backend import Evaluated, Ops, Rule, Rules, Tensor
from ...contract.errors import SettingError
from ...contract.graph import ACTIVATIONS, AFFINE
from .composites import MOVES, SUMS

NEARLY_NONE = 1e-10
"""A difference up to which the derivative stands for the quotient of differences."""
ALONE = ("exp", "log", "sqrt", "pow", "abs", "neg", "mul", "div", "add", "sub", "maximum", "minimum")
BENDS = ACTIVATIONS | frozenset(ALONE)
"""Kinds that work on each value alone, where all but one of their inputs are constants."""
LINEAR = frozenset((*MOVES, *SUMS, *AFFINE, "batch_norm"))
BILINEAR = ("mul", "matmul")


def quotient(ops: Ops, given: Tensor, difference: Tensor, otherwise: Tensor) -> Tensor:
    """``given / difference``, or ``otherwise`` where there is nearly no difference."""
    there = ops.relu(ops.abs(difference) - NEARLY_NONE)
    return ops.where(there, given / difference, otherwise)


def rescale(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """``m * (y - y') / (x - x')`` (Shrikumar et al. 2017)."""
    (x,), (x0,), rise = done.inputs, beside(done).inputs, done.output - beside(done).output
    return [quotient(done.ops, multiplier * rise, x - x0, done.pull(multiplier)[0])]


class RescaleRelu:
    """The same of a ReLU, whose quotient no rounding can make larger than one: its derivative stands where both inputs
    are equal to the last digit."""

    pulls = False

    def __call__(self, done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
        ops, m, y = done.ops, multiplier, done.output
        (x,), (x0,), rise = done.inputs, beside(done).inputs, y - beside(done).output
        difference = x - x0  # where it is zero, so is the rise
        return [ops.where(difference, m * rise / difference, ops.where(y, m, rise))]


def pooled(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """The difference of a maximum, split at the larger of the two maxima: what the picture's own place and the
    reference's place have of it; next to nothing where both are equal."""
    ops, other, y, m = done.ops, beside(done), done.output, multiplier
    top, difference = ops.maximum(y, other.output), done.inputs[0] - other.inputs[0]
    at, at0 = done.pull(m * (top - other.output))[0], other.pull(m * (y - top))[0]
    return [quotient(ops, at + at0, difference, difference)]


def middle(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """The derivative half-way between both, exact for a product of two things."""
    pairs = zip(done.inputs, beside(done).inputs, strict=True)
    return done.again([(one + other) * 0.5 for one, other in pairs]).pull(multiplier)


class Reveal(RescaleRelu):
    """The reveal-cancel rule of a ReLU right behind a convolution or dense layer, rescale of any other: what raises the
    difference of its input, and what lowers it, have a multiplier each, by what each does to the output, alone and
    with the other there."""

    def __call__(self, done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
        """The multiplier of what raises; the layer before is left by how much that of what lowers differs."""
        before = done.source
        if before is None or before.kind not in AFFINE:
            return super().__call__(done, multiplier)
        ops, y, other = done.ops, done.output, beside(done)
        (x,), (x0,), y0 = done.inputs, other.inputs, other.output
        moved = ops.abs(before.inputs[0] - beside(before).inputs[0])
        weight, *bias = before.parameters
        size = before.again([moved], [ops.abs(weight), *(0.0 * one for one in bias)]).output  # of both together
        above, below = 0.5 * (x - x0 + size), 0.5 * (x - x0 - size)
        with_above, with_below = ops.relu(x0 + above), ops.relu(x0 + below)
        slopes = 0.5 * (_slope(ops, y) + _slope(ops, y0))
        raised = _share(ops, 0.5 * (with_above - y0 + y - with_below), above, slopes)
        lowered = _share(ops, 0.5 * (with_below - y0 + y - with_above), below, slopes)
        left = multiplier * (lowered - raised)
        before.left = left if before.left is None else before.left + left
        return [multiplier * raised]


def _slope(ops: Ops, y: Tensor) -> Tensor:
    """A ReLU's derivative, by its output."""
    return ops.where(y, 0.0 * y + 1.0, 0.0 * y)


def _share(ops: Ops, rise: Tensor, difference: Tensor, slopes: Tensor) -> Tensor:
    """``rise / difference``, between 0 and 1 whatever the rounding; ``slopes`` where there is no difference."""
    return ops.where(difference, ops.minimum(ops.relu(rise / difference), 1.0), slopes)


def by_signs(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """Of a layer that is linear, where a ReLU has left something: each input's part of what raises an output gets the
    one multiplier, its part of what lowers it the other; an input without a difference their mean."""
    if done.left is None:
        return done.pull(multiplier)
    ops, half = done.ops, 0.5 * done.left
    difference = done.inputs[0] - beside(done).inputs[0]
    (mean,) = done.pull(multiplier + half)
    (apart,) = done.pull(half, [ops.abs(done.parameters[0])])
    below = ops.where(difference, mean + apart, mean)
    return [ops.where(ops.relu(difference), mean - apart, below)]


def beside(done: Evaluated) -> Evaluated:
    """The operation as it was computed for the reference."""
    assert done.beside is not None
    return done.beside


RELU, REVEAL = RescaleRelu(), Reveal()


@dataclass(frozen=True)
class Differences(Rules):
    """DeepLIFT's multipliers: rescale at everything that bends, its own rule at max-pools and products."""

    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        if kind == "max_pool":
            return pooled
        if kind in BILINEAR and inputs == 2:
            return middle
        if kind in BENDS and inputs == 1:
            return RELU if kind == "relu" else rescale
        if kind in LINEAR and (inputs == 1 or kind not in AFFINE):
            return None
        raise SettingError(
            f"DeepLIFT has no rule for {kind!r}, so that its attributions would not add up. It has rules for sums, "
            "products, pools and activations. Of a network that ends in a softmax explain the logits; of a transformer "
            "take vizkit.attention_relevance, or vizkit.integrated_gradients."
        )


@dataclass(frozen=True)
class Revealing(Differences):
    """The same with reveal-cancel at ReLUs behind convolutions and dense layers, of which batch norms are part."""

    merges: ClassVar[bool] = True

    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        if kind in AFFINE and inputs == 1:
            return by_signs
        return REVEAL if kind == "relu" else super().rule(kind, inputs, affine)


RULES: Mapping[str, Differences] = {"rescale": Differences(), "reveal_cancel": Revealing()}
