"""What a network answers, from its output: classes with probabilities, boxes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from .errors import SettingError
from .graph import Graph
from .ops import Array
from .spec import InputSpec
from .terms import OUTPUT, Box, Prediction

SOFTMAX, SIGMOID = "softmax", "sigmoid"
SHAPING = ("reshape", "flatten", "identity", "dropout", "concat", "slice", "split", "transpose")
"""Kinds of operations that change no value in inference."""


def probabilities(logits: Array) -> Array:
    """Of logits (N, C) the softmax over all classes, of a single one (N, 1) the sigmoid."""
    if logits.shape[1] == 1:
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def predictions(spec: InputSpec, logits: Array, top: int, ending: str) -> list[list[Prediction]]:
    """The ``top`` most probable classes of each row of logits (N, C), or of what the network's :func:`ending` made of
    them."""
    probability = logits if ending else probabilities(logits)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    with np.errstate(divide="ignore"):
        if ending == SIGMOID:
            logits = np.log(logits / (1.0 - logits))
        elif ending == SOFTMAX:
            logits = np.log(logits)
    return [
        [Prediction(int(i), spec.label(int(i)), float(shares[i]), float(row[i])) for i in best]
        for best, row, shares in zip(order, logits, probability, strict=True)
    ]


def boxes(spec: InputSpec, found: Array) -> list[Box]:
    """The boxes in a detector's output for one picture, (boxes, 4 + C), the surest first."""
    scores = found[:, 4:]
    order = [i for i in np.argsort(-scores.max(axis=1), kind="stable") if scores[i].max() > 0]
    best = [(i, int(scores[i].argmax())) for i in order]
    return [Box(k, spec.label(k), float(scores[i, k]), (*map(float, found[i, :4]),)) for i, k in best]


def ending(outputs: Array, rounding: float, graph: Callable[[], Graph]) -> str:
    """What a network itself has made of its logits, by some of its outputs (N, C): :data:`SOFTMAX` where they are
    probabilities that add up to one; :data:`SIGMOID` where they could be others, and the graph says so; else ""."""
    if not np.all((outputs >= 0) & (outputs <= 1 + rounding)):
        return ""
    if outputs.shape[1] > 1 and np.all(np.abs(outputs.sum(axis=1) - 1) <= rounding):
        return SOFTMAX
    with suppress(SettingError):
        return SIGMOID if ends_in_sigmoid(graph()) else ""
    return ""


def ends_in_sigmoid(graph: Graph) -> bool:
    """Whether the last steps that change a value make probabilities."""
    nodes = graph.by_name

    def sure(name: str) -> bool:
        node = nodes[name]
        return node.kind == SIGMOID or (node.kind in SHAPING and bool(node.inputs) and all(map(sure, node.inputs)))

    return sure(graph.layers[OUTPUT])
