"""What a network answers, from its output: classes with probabilities, boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .ops import Array
from .terms import OUTPUT, Box, Prediction

if TYPE_CHECKING:
    from .graph import Graph
    from .spec import InputSpec

SHAPING = ("reshape", "flatten", "identity", "dropout")
"""Kinds of operations that change no value in inference."""


def probabilities(logits: Array) -> Array:
    """Of logits (N, C) the softmax over all classes, of a single one (N, 1) the sigmoid."""
    if logits.shape[1] == 1:
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def predictions(spec: InputSpec, logits: Array, top: int, sigmoid: bool) -> list[list[Prediction]]:
    """The ``top`` most probable classes of each row of logits (N, C); ``sigmoid``: they are probabilities already."""
    probability = logits if sigmoid else probabilities(logits)
    if sigmoid:
        with np.errstate(divide="ignore"):
            logits = np.log(logits / (1.0 - logits))
    return [
        [
            Prediction(int(i), spec.label(int(i)), float(shares[i]), float(row[i]))
            for i in np.argsort(-row, kind="stable")[:top]
        ]
        for row, shares in zip(logits, probability, strict=True)
    ]


def boxes(spec: InputSpec, found: Array) -> list[Box]:
    """The boxes in a detector's output for one picture, (boxes, 4 + C), the surest first."""
    scores = found[:, 4:]
    order = [i for i in np.argsort(-scores.max(axis=1), kind="stable") if scores[i].max() > 0]
    best = [(i, int(scores[i].argmax())) for i in order]
    return [Box(k, spec.label(k), float(scores[i, k]), (*map(float, found[i, :4]),)) for i, k in best]


def ends_in_sigmoid(graph: Graph) -> bool:
    """Whether the last step that changes a value makes probabilities."""
    step = graph[graph.layers[OUTPUT]]
    while step.kind in SHAPING and len(step.inputs) == 1:
        step = graph[step.inputs[0]]
    return step.kind == "sigmoid"
