"""Evaluating a traced graph, operator by operator, only as far as it is needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.base import _LIB, c_str, check_call
from mxnet.ndarray._internal import _imperative_invoke

from vizkit.contract.backend import Evaluated, Mode, Rules, Term, term_of
from vizkit.contract.errors import SettingError, ShapeError
from vizkit.contract.graph import AFFINE, nonnegative
from vizkit.contract.rules import pulls

from .operations import describe
from .ops import GluonOps, first_line, in_rows
from .prepare import Folds
from .rules import GluonEvaluated, adjoint, ruled
from .trace import NORMS, Entry, Graph, Node, infer

NDArray = Any
SELU, SELU_BELOW = 1.0507009873554804934193349852946, 1.7580993408473768599402175208123
"""What a SELU's positive values are multiplied by, and ``exp(x) - 1`` where they are negative."""


@cache
def _handle(op: str) -> int | None:
    handle = ctypes.c_void_p()
    check_call(_LIB.NNGetOpHandle(c_str(op), ctypes.byref(handle)))
    return handle.value


def _invoke(node: Node, more: Mapping[str, str], inputs: list[NDArray]) -> list[NDArray]:
    """What an operator gives in inference, with ``more`` settings."""
    op, attrs = settings(node)
    attrs |= more
    shape = inputs[0].shape if attrs.pop("over", None) else None  # all values of a picture
    if shape is not None:
        inputs = [inputs[0].reshape((0, -1))]
    out = _imperative_invoke(_handle(op), inputs, list(attrs), list(attrs.values()), None, False, False)
    if node.attrs.get("act_type") == "selu":
        positive = mx.nd.relu(out)
        out = positive * SELU + (out - positive) * SELU_BELOW
    if shape is not None:
        out = out.reshape(shape)
    return out if isinstance(out, list) else [out]


def settings(node: Node) -> tuple[str, dict[str, str]]:
    """Operator and settings for inference: batch norm on stored statistics, no random slopes, no dropout between
    recurrent layers, the faster ReLU, and of a SELU, whose gradient MXNet gets wrong below zero, the ELU that
    :func:`_invoke` stretches."""
    op, attrs = node.op, dict(node.attrs)
    if op in NORMS:
        op = "BatchNorm"
        attrs = {key: value for key, value in attrs.items() if key not in ("ndev", "key")}
        attrs["use_global_stats"] = "True"
    if op == "LeakyReLU" and attrs.get("act_type") == "rrelu":
        middle = (float(attrs.get("lower_bound", 0.125)) + float(attrs.get("upper_bound", 0.334))) / 2
        attrs = {"act_type": "leaky", "slope": repr(middle)}
    if op == "LeakyReLU" and attrs.get("act_type") == "selu":
        attrs = {"act_type": "elu", "slope": "1.0"}
    if op == "RNN":
        attrs["p"] = "0"
    if op == "relu":  # The same, but on one core and in plain memory.
        op, attrs = "Activation", {"act_type": "relu"}
    return op, attrs


class Following:
    """The operators of one pass that follow backward rules."""

    def __init__(self, graph: Graph, ops: GluonOps, mode: Mode, rules: Rules, folds: Folds) -> None:
        self._graph = graph
        self._ops = ops
        self._rules = rules
        self._folds = folds
        self._noted = mode.noted
        self._beside = iter(mode.beside or ())
        self._nonnegative: set[int] = set()
        self._made: dict[int, Evaluated] = {}
        self._affine = 0
        if mode.noted is not None:
            mode.noted.clear()
        self._depends = {i for i, node in enumerate(graph.nodes) if node.op == "null" and node.name == "data"}
        for i, node in enumerate(graph.nodes):
            if any(source in self._depends for source, _ in node.inputs):
                self._depends.add(i)

    def __call__(
        self, i: int, inputs: list[NDArray], compute: Callable[[list[NDArray]], list[NDArray]]
    ) -> list[NDArray]:
        """What ``compute`` makes of the inputs of a node, which may be more than the graph shows."""
        node = self._graph.nodes[i]
        data = [k for k, (source, _) in enumerate(node.inputs) if source in self._depends]
        if not data or node.op == "null":
            return compute(inputs)
        kind = describe(node.op, node.attrs, inputs[0].shape)[0]
        if nonnegative(kind, [source in self._nonnegative for source, _ in node.inputs]):
            self._nonnegative.add(i)
        kind = "linear" if kind == "matmul" and len(data) == 1 else kind
        rule = self._rules.rule(kind, len(data), self._affine)
        self._affine += kind in AFFINE
        if rule is None:
            return compute(inputs)
        own = [k for k in range(len(inputs)) if k not in data] if kind in AFFINE else []
        done = GluonEvaluated(
            self._ops, kind, lambda given: compute(list(given))[0], inputs, data, own, pulls(rule), adjoint(node)
        )
        done.nonnegative = all(node.inputs[k][0] in self._nonnegative for k in data)
        done.source = self._made.get(self._computing(node.inputs[data[0]][0]))
        done.beside = next(self._beside, None)
        self._made[i] = done
        if self._noted is not None:
            self._noted.append(done)
            return [done.output]
        self._ops.ruled = True
        return [ruled(done, rule, [inputs[k] for k in data])]

    def forget(self, i: int) -> None:
        """The result of a node is no longer what its operator gave."""
        self._nonnegative.discard(i)
        self._made.pop(self._computing(i), None)

    def _computing(self, i: int) -> int:
        """The node that computes what a node gives: of a folded batch norm its convolution."""
        return self._folds[i][0] if i in self._folds else i


def plan(graph: Graph, wanted: Collection[Entry]) -> list[tuple[int, list[int]]]:
    """Node numbers to run, in order, each with the nodes whose results nobody reads after it."""
    kept = {node for node, _ in wanted}
    needed = set(kept)
    for i in range(max(needed, default=-1), -1, -1):
        if i in needed:
            needed.update(source for source, _ in graph.nodes[i].inputs)
    order = sorted(needed)
    last = {source: i for i in order for source, _ in graph.nodes[i].inputs}
    finished: dict[int, list[int]] = {}
    for source, i in last.items():
        if source not in kept:
            finished.setdefault(i, []).append(source)
    return [(i, finished.get(i, [])) for i in order]


def execute(
    graph: Graph,
    parameter: Callable[[str], NDArray],
    x: NDArray,
    keep: Mapping[str, Entry],
    add: Mapping[str, Term],
    at: Sequence[tuple[str, Entry]],
    mode: Mode,
    folds: Folds,
    ops: GluonOps,
) -> dict[str, NDArray]:
    """Values of ``keep`` (name to entry); ``parameter(name)`` gives the current array of a variable. ``at`` lists the
    layers of ``keep`` and ``add`` in order of computation, so that of two names for one result the later one sees what
    was added at the earlier, not the other way. ``ops``: the functions that rules compute with."""
    folded = {conv: (weight, bias) for conv, weight, bias in folds.values()}
    points: dict[Entry, list[str]] = {}
    for name, entry in at:
        points.setdefault(entry, []).append(name)
    follow = None if mode.rules is None else Following(graph, ops, mode, mode.rules, folds)
    done: dict[int, list[NDArray]] = {}
    kept: dict[str, NDArray] = {}
    for i, finished in plan(graph, keep.values()):
        node = graph.nodes[i]
        inputs = [done[source][k] for source, k in node.inputs]
        try:
            if node.op == "null" and node.name == "data":
                done[i] = [x]
            elif i in folds:
                done[i] = inputs[:1]
            elif _begins(node):
                done[i] = _invoke(node, {"shape": _shape(graph, i, parameter, x)}, [])
            else:
                compute = partial(_value, node, parameter, mode)
                if i in folded:
                    inputs, compute = [inputs[0], *folded[i]], partial(_invoke, node, {"no_bias": "False"})
                done[i] = compute(inputs) if follow is None else follow(i, inputs, compute)
        except mx.base.MXNetError as error:
            others = {np.dtype(value.dtype).name for value in inputs if np.dtype(value.dtype).kind == "f"} - {ops.dtype}
            if others:
                raise SettingError(
                    f"{node.op} ({node.name}) has parameters of {' and '.join(sorted(others))}; when the network was "
                    f"wrapped they were {ops.dtype}. Cast it before vizkit.wrap, or wrap it again."
                ) from None
            raise ShapeError(
                f"{node.op} ({node.name}) cannot take {' and '.join(str(tuple(value.shape)) for value in inputs)} "
                f"when the network's input is {tuple(x.shape)}: {first_line(str(error))}"
            ) from None
        for k in range(len(done[i])):
            for name in points.get((i, k), ()):
                if name in add:
                    done[i][k] = done[i][k] + term_of(add[name], done[i][k], name)
                    if follow is not None:
                        follow.forget(i)
                if name in keep:
                    kept[name] = done[i][k]
        for source in finished:
            del done[source]
    return kept


def _begins(node: Node) -> bool:
    """Whether this is the state in which a recurrent layer begins, of as many rows as the layer gets."""
    return not node.inputs and "0" in node.attrs.get("shape", "").strip("()").replace(" ", "").split(",")


def _shape(graph: Graph, i: int, parameter: Callable[[str], NDArray], x: NDArray) -> str:
    """The shape of a node's result that only the whole graph tells."""
    read = {node.name for node in graph.nodes if node.op == "null"} - {"data"}
    inner = graph.symbol.get_internals()
    found = infer(inner, {"data": tuple(x.shape), **{name: tuple(parameter(name).shape) for name in read}})
    return str(found[inner.list_outputs().index(f"{graph.nodes[i].name}_output")])


def _value(node: Node, parameter: Callable[[str], NDArray], mode: Mode, inputs: list[NDArray]) -> list[NDArray]:
    if node.op == "null":
        return [parameter(node.name)]
    if node.op in ("Convolution", "Deconvolution"):
        _computable(node, inputs[0].context.device_type)
    if node.op == "Dropout":
        return [_dropout(node, inputs[0], mode)]
    if node.op == "BlockGrad":
        return [inputs[0].detach()]
    if node.op == "RNN":
        inputs = _recurrent(node, inputs, mode)
    if node.op in ("softmax", "log_softmax"):
        inputs = [in_rows(inputs[0]), *inputs[1:]]
    more = {}
    if mode.training is not None and node.op in NORMS:
        # The stored statistics go in as copies: in training mode MXNet writes them.
        inputs = [*inputs[:3], *(statistic.copy() for statistic in inputs[3:])]
        more = {"use_global_stats": node.attrs.get("use_global_stats", "False")}
    return _invoke(node, more, inputs)


def _recurrent(node: Node, inputs: list[NDArray], mode: Mode) -> list[NDArray]:
    """What goes into recurrent layers so that MXNet differentiates them rightly: where nobody asks for the gradient of
    their weights, those of GRUs and of tanh get the gradient of their input wrong."""
    if mode.training is not None and float(node.attrs.get("p", 0)):
        raise SettingError(f"Training mode knows dropout of single values only; {node.name} has it between its layers.")
    if not autograd.is_recording():
        return inputs
    if node.attrs["mode"] == "rnn_relu":
        raise SettingError(
            f"{node.name} is a recurrent layer of ReLUs, whose gradient MXNet {mx.__version__} computes wrongly. Take "
            "an LSTM, a GRU or activation='tanh', or a method without gradients (vizkit.occlusion, vizkit.rise)."
        )
    data, weights, *states = inputs
    return [data, weights + 0 * data.sum(), *states]


def _computable(node: Node, device: str) -> None:
    """SettingError for a convolution that MXNet cannot compute here: it says so later, and of something else."""
    layout = node.attrs.get("layout", "None")
    if device == "cpu" and layout in ("NHWC", "NDHWC"):
        raise SettingError(
            f"{node.op} ({node.name}) has layout={layout!r}, which MXNet computes on a GPU alone. Build the network "
            f"with layout={layout.replace('C', '').replace('N', 'NC')!r}, or load it on a GPU."
        )


def _dropout(node: Node, x: NDArray, mode: Mode) -> NDArray:
    rate = float(node.attrs.get("p", 0.5))
    if mode.training is None or rate == 0.0:
        return x
    if node.attrs.get("axes", "()") not in ("()", "[]"):
        raise SettingError(f"Training mode knows dropout of single values only; {node.name} drops whole channels.")
    keep = mode.training.random(tuple(x.shape), dtype="float32") >= rate
    return x * mx.nd.array(keep / (1.0 - rate), ctx=x.context, dtype=x.dtype)
