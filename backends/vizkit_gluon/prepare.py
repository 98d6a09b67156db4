"""Lossless preparation of a network that is only read: batch norm folded into the convolution before it, and the part
of the graph that is asked for compiled.

The user's network is not changed: folded weights, computed in float64, lie beside it, and everything that is not folded
is read from the network at each call. Compiling is refused where it would hide that a gradient does not exist: as one
operator, everything seems to depend on everything.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np

from vizkit.contract.backend import Array, cpu_count

from .call import NAME
from .compile import Program, compiled
from .execute import NORMS, Executor
from .ops import view
from .trace import Entry, Graph

NDArray = Any
PIXELS_PER_NODE = 100
"""Pixels that gain in a pass what compiling one node costs, measured on CPUs."""
MOST = 16
"""Compiled parts that are kept."""


class Preparation:
    """Prepared parts of one graph. ``parameter(name)`` gives a variable's array, ``look()`` something that differs once
    one was written. Compiling alone changes no digit, and waits until it pays."""

    def __init__(
        self, graph: Graph, executor: Executor, parameter: Callable[[str], NDArray], look: Callable[[], object]
    ) -> None:
        self._executor = executor
        self._parameter = parameter
        self._folding = Folding(graph, parameter, look)
        self._programs: dict[object, Program | None] = {}
        self._asked: Counter[object] = Counter()

    def run(
        self, x: NDArray, keep: Mapping[str, Entry], add: Mapping[str, NDArray], at: Sequence[tuple[str, Entry]]
    ) -> dict[str, NDArray] | None:
        """What :meth:`Executor.run` gives in inference; None where it is to be used, since preparing does not pay yet,
        or is not possible."""
        key = (tuple(keep.items()), frozenset(add), tuple(at))
        if key not in self._programs:
            plan = [i for i, _ in self._executor.plan(frozenset(keep.values()))]
            self._asked[key] += x.shape[0] * math.prod(x.shape[2:])
            if not self._folding.pairs and self._asked[key] < PIXELS_PER_NODE * len(plan):
                return None
            while len(self._programs) >= MOST:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = compiled(self._executor.graph, plan, keep, add, at, self._folding.pairs)
        program = self._programs[key]
        if program is None:
            return None
        self._folding.renew()
        try:
            return program.run(x, add, self._parameter, self._folding.arrays)
        except mx.base.MXNetError:
            return None  # The executor says what does not fit.


class Fold(NamedTuple):
    """A folded convolution, whose weight is yet to be written: ``new`` is where it lies, ``old`` what it is made of."""

    weight: NDArray
    bias: NDArray
    old: Array
    new: Array
    factor: Array

    def scale(self) -> None:
        """In float64, a few values at a time, and straight to where MXNet reads it: these are hundreds of megabytes.
        NumPy alone, so that others can be written meanwhile."""
        np.multiply(self.old, self.factor, out=self.new, dtype=np.float64, casting="same_kind")


class Folding:
    """Folded weights and biases by the convolution's node number; ``pairs`` maps batch norms to their convolutions."""

    def __init__(self, graph: Graph, parameter: Callable[[str], NDArray], look: Callable[[], object]) -> None:
        self.pairs = pairs(graph)
        self.arrays: dict[int, tuple[NDArray, NDArray]] = {}
        self._graph = graph
        self._parameter = parameter
        self._look = look
        self._looked: object = None

    def renew(self) -> None:
        """Fold where that is missing or old. From the first pass on, so that the same call gives the same digits
        whatever was called before."""
        looked = self._look() if self.pairs else None
        if looked == self._looked:
            return
        self._looked = None  # until all of it is made
        folds = {conv: self._fold(norm, conv) for norm, conv in self.pairs.items()}
        with ThreadPoolExecutor(cpu_count()) as pool:
            for _ in pool.map(Fold.scale, folds.values()):
                pass
        self.arrays = {conv: (one.weight, one.bias) for conv, one in folds.items()}
        self._looked = looked

    def _fold(self, norm: int, conv: int) -> Fold:
        nodes = self._graph.nodes
        own = [self._parameter(nodes[k].name) for k, _ in nodes[conv].inputs[1:]]
        names = [nodes[k].name for k, _ in nodes[norm].inputs[1:]]
        gamma, beta, mean, variance = (view(self._parameter(name)).astype(np.float64) for name in names)
        attrs = nodes[norm].attrs
        fixed = attrs.get("fix_gamma", "True") == "True"
        scale = (1.0 if fixed else gamma) / np.sqrt(variance + float(attrs.get("eps", 1e-3)))
        bias = beta - mean * scale
        if len(own) > 1:
            bias = bias + view(own[1]) * scale
        weight = mx.nd.empty(own[0].shape, ctx=own[0].context, dtype=own[0].dtype)
        old, new = (view(one).reshape(one.shape) for one in (own[0], weight))
        wide = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        return Fold(weight, mx.nd.array(bias, ctx=own[0].context, dtype=own[0].dtype), old, new, wide)


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
            fits = nodes[source].op == "Convolution" and nodes[source].attrs.get("layout", "None") in ("None", "NCHW")
            if fits and k == 0 and own(source) and readers[node.inputs[0]] == 1:
                found[i] = source
    return found
