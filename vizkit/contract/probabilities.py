"""Which layers give attention probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from .grid import CHANNELS_FIRST
from .ops import Leaves, Ops, Tensor
from .terms import Layer

PASSING = ("Dropout", "Identity")
"""Kinds of layers that hand on, in inference, what they get."""
ROUNDING = 1e-2
"""How far the sum of a row may be off: bfloat16's half a distance between neighbours is 0.002."""


def may_be(shape: tuple[int, ...]) -> bool:
    """Whether attention could have this shape: (., heads, T, T)."""
    return len(shape) == 4 and shape[2] == shape[3] > 1


def is_attention(ops: Ops, x: Tensor) -> bool:
    """Whether these (., heads, T, T) are probabilities: every row is nowhere negative and adds up to one."""
    x = ops.double(x)
    off = ops.max(ops.abs(ops.sum(x, 3) - 1.0), (0, 1, 2))
    return bool(ops.numpy(off) < ROUNDING) and bool(ops.numpy(ops.max(-1.0 * x, (0, 1, 2, 3))) <= 0)


def among(
    ops: Ops, layers: Mapping[str, Layer], shape: tuple[int, ...], forward: Callable[[Tensor, list[str]], Leaves]
) -> dict[str, Layer]:
    """Those among a network's layers, found with one pass of an input (C, ...)."""
    names = [name for name, one in layers.items() if may_be(one.shape) and not one.kind.startswith(CHANNELS_FIRST)]
    if not names:
        return {}
    picture = np.random.default_rng(0).normal(size=(1, *shape))
    kept = forward(ops.asarray(picture), names)
    return noted(ops, ((layers[name], kept[name]) for name in names if is_attention(ops, kept[name])))


def noted(ops: Ops, found: Iterable[tuple[Layer, Tensor]]) -> dict[str, Layer]:
    """By name, of attention in order of computation: where a layer hands on what the one before gave, be it a dropout
    or the block around it, the later name alone."""
    out: dict[str, Layer] = {}
    before: tuple[Layer, Tensor] | None = None
    for layer, value in found:
        if before is not None and _hands_on(ops, before, (layer, value)):
            del out[before[0].name]
        out[layer.name] = layer
        before = layer, value
    return out


def _hands_on(ops: Ops, before: tuple[Layer, Tensor], after: tuple[Layer, Tensor]) -> bool:
    name, inner = after[0].name, before[0].name
    if not after[0].kind.startswith(PASSING) and not inner.startswith((f"{name}.", f"{name}:")):
        return False
    if before[0].shape != after[0].shape:
        return False
    difference = ops.abs(ops.double(before[1]) - ops.double(after[1]))
    return bool(ops.numpy(ops.max(difference, tuple(range(len(before[0].shape))))) < ROUNDING)
