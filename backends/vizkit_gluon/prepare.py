"""Lossless preparation of a network that is only read: batch norm folded into the convolution before it.

The user's network is not changed: folded weights, computed in float64, lie beside it, and everything that is not folded
is read from the network at each call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import mxnet as mx
import numpy as np

from vizkit.contract.backend import Array

from .call import NAME
from .ops import view
from .trace import NORMS, Entry, Graph, Node

NDArray = Any
Folds = dict[int, tuple[int, NDArray, NDArray]]
"""By the node of a batch norm its convolution's, and the weight and bias that do the work of both."""


class Folding:
    """The folded convolutions of one graph. ``parameter(name)`` gives a variable's array, ``look()`` something that
    differs once one was written."""

    def __init__(self, graph: Graph, parameter: Callable[[str], NDArray], look: Callable[[], object]) -> None:
        self._graph = graph
        self._pairs = pairs(graph)
        self._parameter = parameter
        self._look = look
        self._looked: object = None
        self._folds: Folds = {}

    def use(self, seen: Collection[Entry]) -> Folds:
        """What is folded in a pass that hands on, or adds to, the results ``seen``. Made where it is missing or old,
        from the first pass on, so that the same call gives the same digits whatever was called before."""
        looked = self._look() if self._pairs else None
        if looked != self._looked:
            self._folds = {norm: (conv, *self._fold(norm, conv)) for norm, conv in self._pairs.items()}
            self._looked = looked
        return {norm: fold for norm, fold in self._folds.items() if (fold[0], 0) not in seen}

    def _fold(self, norm: int, conv: int) -> tuple[NDArray, NDArray]:
        nodes = self._graph.nodes
        weight, *bias = (self._parameter(nodes[k].name) for k, _ in nodes[conv].inputs[1:])
        scale, shift = affine(nodes[norm], [view(self._parameter(nodes[k].name)) for k, _ in nodes[norm].inputs[1:]])
        if bias:
            shift = shift + view(bias[0]) * scale
        wide = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        scaled = view(weight).reshape(weight.shape) * wide
        made = (mx.nd.array(one, ctx=weight.context, dtype=weight.dtype) for one in (scaled, shift))
        return next(made), next(made)


def affine(norm: Node, values: list[Array]) -> tuple[Array, Array]:
    """Scale and shift, float64, per channel, that a batch norm is in inference, by the ``values`` of its gamma, beta,
    mean and variance."""
    gamma, beta, mean, variance = (one.astype(np.float64) for one in values)
    fixed = norm.attrs.get("fix_gamma", "True") == "True"
    scale = (1.0 if fixed else gamma) / np.sqrt(variance + float(norm.attrs.get("eps", 1e-3)))
    return scale, beta - mean * scale


def pairs(graph: Graph) -> dict[int, int]:
    """Batch norms that alone read what a convolution returns, each with its convolution; the parameters of both are
    variables."""
    nodes = graph.nodes
    readers = Counter(entry for node in nodes for entry in node.inputs)

    def own(i: int) -> bool:
        names = [nodes[k].name if nodes[k].op == "null" else "data" for k, _ in nodes[i].inputs[1:]]
        return not any(name == "data" or name.startswith(NAME) for name in names)

    found: dict[int, int] = {}
    for i, node in enumerate(nodes):
        if node.op in NORMS and node.attrs.get("axis", "1") == "1" and own(i):
            source, k = node.inputs[0]
            first = not nodes[source].attrs.get("layout", "None").endswith("C")
            fits = nodes[source].op == "Convolution" and first
            if fits and k == 0 and own(source) and readers[node.inputs[0]] == 1:
                found[i] = source
    return found
