"""What a ReLU hands back of a gradient, in the place of ``g * (x > 0)``; one with an upper bound, as ReLU6, in that of
``g * (0 < x < bound)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...contract.backend import Evaluated, Mode, Rule, Rules, Tensor


def guided(relu: Evaluated, gradient: Tensor) -> Sequence[Tensor]:
    """``g * (x > 0) * (g > 0)`` (Springenberg et al. 2014)."""
    return [_true(relu, relu.ops.relu(gradient))]


def deconvnet(relu: Evaluated, gradient: Tensor) -> Sequence[Tensor]:
    """``g * (g > 0)`` (Zeiler & Fergus 2013).

    Believe:
        Never alone: it shows edges, whatever the class.
    """
    return [relu.ops.relu(gradient)]


def redirected(relu: Evaluated, gradient: Tensor) -> Sequence[Tensor]:
    """The true gradient, except for pictures for which that is zero everywhere: they get the gradient where it would
    raise the input (Lucid's rescue of dead units)."""
    ops = relu.ops
    true = _true(relu, gradient)
    alive = ops.max(ops.abs(true), tuple(range(1, len(true.shape))), keepdims=True) + 0.0 * true
    return [ops.where(alive, true, ops.relu(gradient))]


def _true(relu: Evaluated, gradient: Tensor) -> Tensor:
    if relu.kind == "relu":
        return relu.ops.where(relu.output, gradient, 0.0 * gradient)
    return relu.pull(gradient)[0]


RULES: dict[str, Rule] = {"guided": guided, "deconvnet": deconvnet, "redirected": redirected}
NAMED = ("guided", "deconvnet")
"""Those after which maps are called: where no ReLU follows one it would be another map."""


@dataclass(frozen=True)
class ReluRule(Rules):
    """One of :data:`RULES` at every ReLU, and the true derivative elsewhere."""

    name: str

    @property
    def needs_relu(self) -> bool:
        return self.name in NAMED

    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        return RULES[self.name] if kind in ("relu", "relu6") else None

    def __str__(self) -> str:
        return repr(self.name)


def relu_mode(name: str) -> Mode:
    """A pass in which every ReLU follows the rule of that name."""
    return Mode(rules=ReluRule(name))
