"""DeepLIFT's rules: multipliers that carry differences from a reference, instead of derivatives.

A pass holds pictures and, behind them, their references: what an operation reads and gives is in two halves.
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


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The values of the pictures, and those of their references."""
    count = len(x) // 2
    return x[:count], x[count:]


def quotient(ops: Ops, given: Tensor, difference: Tensor, otherwise: Tensor) -> Tensor:
    """``given / difference``, or ``otherwise`` where there is nearly no difference, for both halves."""
    there = ops.relu(ops.abs(difference) - NEARLY_NONE)
    found = ops.where(there, given / difference, otherwise)
    return ops.concat([found, found])


def rescale(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """``m * (y - y') / (x - x')`` (Shrikumar et al. 2017)."""
    (x, x0), (y, y0), (m, _) = halves(done.inputs[0]), halves(done.output), halves(multiplier)
    return [quotient(done.ops, m * (y - y0), x - x0, halves(done.pull(multiplier)[0])[0])]


class RescaleRelu:
    """The same of a ReLU, whose quotient no rounding can make larger than one: its derivative stands where both inputs
    are equal to the last digit."""

    pulls = False

    def __call__(self, done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
        ops = done.ops
        (x, x0), (y, y0), (m, _) = halves(done.inputs[0]), halves(done.output), halves(multiplier)
        difference, rise = x - x0, y - y0  # the latter zero where the former is
        found = ops.where(difference, m * rise / difference, ops.where(y, m, rise))
        return [ops.concat([found, found])]


def pooled(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """The difference of a maximum, split at the larger of the two maxima: what the picture's own place and the
    reference's place have of it; next to nothing where both are equal."""
    ops = done.ops
    (x, x0), (y, y0), (m, _) = halves(done.inputs[0]), halves(done.output), halves(multiplier)
    top, difference = ops.maximum(y, y0), x - x0
    at, at0 = halves(done.pull(ops.concat([m * (top - y0), m * (y - top)]))[0])
    return [quotient(ops, at + at0, difference, difference)]


def middle(done: Evaluated, multiplier: Tensor) -> Sequence[Tensor]:
    """The derivative half-way between both, exact for a product of two things."""
    ops = done.ops
    means = [(one + other) * 0.5 for one, other in map(halves, done.inputs)]
    return done.again([ops.concat([mean, mean]) for mean in means]).pull(multiplier)


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
