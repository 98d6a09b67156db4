"""Which rule of layer-wise relevance propagation holds at which kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...contract.backend import Model, Rule, Rules
from ...contract.errors import SettingError, check_known
from ...contract.graph import ACTIVATIONS, AFFINE
from .lrp_rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, ZBox

MOVES = ("flatten", "reshape", "transpose", "slice", "split", "concat", "pad", "upsample", "dropout", "identity")
SAME = frozenset((*MOVES, "max_pool", "maximum", "minimum"))
"""Kinds that only move values, or take some of them: the true derivative moves relevance alike."""
SUMS = frozenset(("add", "sub", "mean", "sum", "avg_pool"))
NORMS = frozenset(("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm"))
FACTORS = frozenset(("add", "sub", "mul", "div", "neg"))
"""Kinds that hand all on where all but one of their inputs are constants."""


@dataclass(frozen=True)
class Composite(Rules):
    """Rules for layer-wise relevance propagation.

    ``conv`` holds for convolutions, ``linear`` for dense layers, ``first`` for the first of both to run, in the place
    of theirs. Sums and average pools share in proportion to their terms, max-pools give all to the maximum; activations
    and norms hand all on, products of two things that depend on the picture a half to each. A batch norm that alone
    reads a convolution is one with it.
    """

    conv: Rule
    linear: Rule
    first: Rule | None = None
    merges: ClassVar[bool] = True

    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        if kind in AFFINE and inputs == 1:
            if affine == 0 and self.first is not None:
                return self.first
            return self.linear if kind == "linear" else self.conv
        if kind in NORMS or kind in ACTIVATIONS or (kind in FACTORS and inputs == 1) or kind == "mul":
            return Pass()
        if kind in SAME:
            return None
        if kind in SUMS:
            return Epsilon()
        raise SettingError(
            f"There is no rule by which {kind!r} would share relevance. Rules are for convolutions, dense layers, "
            "pools, sums, norms and activations. Of a network that ends in a softmax explain the logits; of a "
            "transformer take vizkit.attention_relevance, or vizkit.integrated_gradients."
        )


def _box(model: Model) -> ZBox:
    """The range of a picture's pixels, as the network gets them."""
    pairs = list(zip(model.spec.mean, model.spec.std, strict=True))
    return ZBox(tuple(-m / s for m, s in pairs), tuple((1 - m) / s for m, s in pairs))


PLUS, ALPHA2 = AlphaBeta(1.0, 0.0), AlphaBeta(2.0, 1.0)
COMPOSITES: Mapping[str, Callable[[Model], Composite]] = {
    "epsilon": lambda _: Composite(Epsilon(), Epsilon()),
    "epsilon_plus": lambda _: Composite(PLUS, Epsilon()),
    "epsilon_plus_flat": lambda _: Composite(PLUS, Epsilon(), Flat()),
    "epsilon_alpha2_beta1": lambda _: Composite(ALPHA2, Epsilon()),
    "epsilon_alpha2_beta1_flat": lambda _: Composite(ALPHA2, Epsilon(), Flat()),
    "epsilon_gamma_box": lambda model: Composite(Gamma(), Epsilon(), _box(model)),
    "gamma": lambda _: Composite(Gamma(), Gamma()),
    "deep_taylor": lambda model: Composite(PLUS, PLUS, _box(model)),
    "w_square": lambda _: Composite(PLUS, PLUS, WSquare()),
}
"""By the names under which zennit has them, and three more."""


def composite(name: str | Composite, model: Model) -> Composite:
    """A composite by its name, for the pixels that ``model`` takes; raises UnknownNameError."""
    if isinstance(name, Composite):
        return name
    check_known("composite", name, COMPOSITES)
    return COMPOSITES[name](model)
