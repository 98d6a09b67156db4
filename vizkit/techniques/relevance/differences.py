"""DeepLIFT's rules: multipliers that carry differences from a reference, instead of derivatives.

References go through the network first, and what became of them in an operation is beside what becomes of the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def beside(done: Evaluated) -> Evaluated:
    """The operation as it was computed for the reference."""
    assert done.beside is not None
    return done.beside


RELU = RescaleRelu()


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
            "products, pools and activations; of a network that ends in a softmax, explain the logits."
        )
