"""Evaluating a traced graph, operator by operator, only as far as it is needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import mxnet as mx
from mxnet.base import _LIB, c_str, check_call
from mxnet.ndarray._internal import _imperative_invoke

from vizkit.backend import Mode
from vizkit.errors import SettingError, ShapeError

from .ops import first_line
from .prepare import Folds
from .relu import Relu
from .trace import NORMS, Entry, Graph, Node

NDArray = Any


@cache
def _handle(op: str) -> int | None:
    handle = ctypes.c_void_p()
    check_call(_LIB.NNGetOpHandle(c_str(op), ctypes.byref(handle)))
    return handle.value


def _invoke(handle: int | None, keys: list[str], values: list[str], inputs: list[NDArray]) -> list[NDArray]:
    out = _imperative_invoke(handle, inputs, keys, values, None, False, False)
    return out if isinstance(out, list) else [out]


def is_relu(node: Node) -> bool:
    """Whether this operator is ``max(0, x)``."""
    return node.op == "relu" or (node.op == "Activation" and node.attrs.get("act_type") == "relu")


def settings(node: Node) -> tuple[str, dict[str, str]]:
    """Operator and settings for inference: batch norm on stored statistics, no random slopes, the faster ReLU."""
    op, attrs = node.op, dict(node.attrs)
    if op in NORMS:
        op = "BatchNorm"
        attrs = {key: value for key, value in attrs.items() if key not in ("ndev", "key")}
        attrs["use_global_stats"] = "True"
    if op == "LeakyReLU" and attrs.get("act_type") == "rrelu":
        middle = (float(attrs.get("lower_bound", 0.125)) + float(attrs.get("upper_bound", 0.334))) / 2
        attrs = {"act_type": "leaky", "slope": repr(middle)}
    if op == "relu":  # The same, but on one core and in plain memory.
        op, attrs = "Activation", {"act_type": "relu"}
    return op, attrs


class Executor:
    """Runs one graph. ``parameter(name)`` gives the current array of a variable."""

    def __init__(self, graph: Graph, parameter: Callable[[str], NDArray]) -> None:
        self.graph = graph
        self.parameter = parameter
        self._plans: dict[frozenset[Entry], list[tuple[int, list[int]]]] = {}

    @staticmethod
    def _call(node: Node, more: Mapping[str, str]) -> tuple[Any, list[str], list[str]]:
        """Operator handle and settings for inference, with ``more`` of them."""
        op, attrs = settings(node)
        attrs |= more
        return _handle(op), list(attrs), list(attrs.values())

    def plan(self, wanted: frozenset[Entry]) -> list[tuple[int, list[int]]]:
        """Node numbers to run, in order, each with the nodes whose results nobody reads after it."""
        if wanted not in self._plans:
            needed = {node for node, _ in wanted}
            for i in range(max(needed, default=-1), -1, -1):
                if i in needed:
                    needed.update(source for source, _ in self.graph.nodes[i].inputs)
            last: dict[int, int] = {}
            for i in sorted(needed):
                last.update({source: i for source, _ in self.graph.nodes[i].inputs})
            kept = {node for node, _ in wanted}
            self._plans[wanted] = [
                (i, [n for n, at in last.items() if at == i and n not in kept]) for i in sorted(needed)
            ]
        return self._plans[wanted]

    def run(
        self,
        x: NDArray,
        keep: Mapping[str, Entry],
        add: Mapping[str, NDArray],
        at: Sequence[tuple[str, Entry]],
        mode: Mode,
        folds: Folds,
    ) -> dict[str, NDArray]:
        """Values of ``keep`` (name to entry). ``at`` lists the layers of ``keep`` and ``add`` in order of computation,
        so that of two names for one result the later one sees what was added at the earlier, not the other way."""
        folded = {conv: (weight, bias) for conv, weight, bias in folds.values()}
        points: dict[Entry, list[str]] = {}
        for name, entry in at:
            points.setdefault(entry, []).append(name)
        done: dict[int, list[NDArray]] = {}
        kept: dict[str, NDArray] = {}
        for i, finished in self.plan(frozenset(keep.values())):
            node = self.graph.nodes[i]
            inputs = [done[source][k] for source, k in node.inputs]
            try:
                if i in folds:
                    done[i] = inputs[:1]
                elif i in folded:
                    done[i] = _invoke(*self._call(node, {"no_bias": "False"}), [inputs[0], *folded[i]])
                else:
                    done[i] = self._value(node, inputs, x, mode)
            except mx.base.MXNetError as error:
                raise ShapeError(
                    f"{node.op} ({node.name}) cannot take {' and '.join(str(tuple(value.shape)) for value in inputs)} "
                    f"when the network's input is {tuple(x.shape)}: {first_line(str(error))}"
                ) from None
            for k in range(len(done[i])):
                for name in points.get((i, k), ()):
                    if name in add:
                        done[i][k] = self._add(name, done[i][k], add[name])
                    if name in keep:
                        kept[name] = done[i][k]
            for source in finished:
                del done[source]
        return kept

    @staticmethod
    def _add(name: str, value: NDArray, term: NDArray) -> NDArray:
        if value.shape != term.shape:
            raise ShapeError(
                f"add[{name!r}] has shape {tuple(term.shape)}; the layer's output is {tuple(value.shape)}."
            )
        return value + term

    def _value(self, node: Node, inputs: list[NDArray], x: NDArray, mode: Mode) -> list[NDArray]:
        if node.op == "null":
            return [x if node.name == "data" else self.parameter(node.name)]
        if node.op == "Dropout":
            return [self._dropout(node, inputs[0], mode)]
        if node.op == "BlockGrad":
            return [inputs[0].detach()]
        if mode.relu is not None and is_relu(node):
            return [Relu(mode.relu)(inputs[0])]
        more = {}
        if mode.training is not None and node.op in NORMS:
            # The stored statistics go in as copies: in training mode MXNet writes them.
            inputs = [*inputs[:3], *(statistic.copy() for statistic in inputs[3:])]
            more = {"use_global_stats": node.attrs.get("use_global_stats", "False")}
        return _invoke(*self._call(node, more), inputs)

    @staticmethod
    def _dropout(node: Node, x: NDArray, mode: Mode) -> NDArray:
        rate = float(node.attrs.get("p", 0.5))
        if mode.training is None or rate == 0.0:
            return x
        if node.attrs.get("axes", "()") not in ("()", "[]"):
            raise SettingError(f"Training mode knows dropout of single values only; {node.name} drops whole channels.")
        keep = mode.training.random(tuple(x.shape), dtype="float32") >= rate
        return x * mx.nd.array(keep / (1.0 - rate), ctx=x.context, dtype=x.dtype)
