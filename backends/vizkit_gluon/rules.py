"""Backward rules at the operators of a graph, on MXNet arrays."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from mxnet import autograd, nd

from vizkit.contract.backend import Evaluated, Ops, Rule

from .trace import Node

NDArray = Any
Compute = Callable[[Sequence[NDArray]], NDArray]
"""An operator's first result, given all that it reads."""
Back = Callable[[NDArray, NDArray, NDArray], NDArray]
"""What a gradient at the result becomes at the input, given the weight and the input, of which the shape is read."""


LAYOUTS = ("None", "NCHW")


def adjoint(node: Node) -> Back | None:
    """The derivative of a convolution, its transpose or a dense layer, which is an operator, too; None of others. In
    training mode, since in predict mode a transposed convolution fails on weights that a convolution has moved."""
    if node.op == "FullyConnected":
        return _dense
    given = {key: literal_eval(node.attrs.get(key, "(1, 1)")) for key in ("kernel", "stride", "dilate")}
    convolves = node.op in ("Convolution", "Deconvolution") and node.attrs.get("layout", "None") in LAYOUTS
    if not convolves or len(given["kernel"]) != 2:
        return None
    given |= {"pad": literal_eval(node.attrs.get("pad", "(0, 0)")), "num_group": int(node.attrs.get("num_group", 1))}

    pairs = [given[key] for key in ("kernel", "stride", "dilate", "pad")]

    def back(gradient: NDArray, weight: NDArray, x: NDArray) -> NDArray:
        options = {**given, "num_filter": x.shape[1], "no_bias": True}
        with autograd.pause(train_mode=True):
            if node.op == "Deconvolution":
                return nd.Convolution(gradient, weight, **options)
            left = [
                (size + 2 * pad - dilate * (kernel - 1) - 1) % stride
                for size, kernel, stride, dilate, pad in zip(x.shape[2:], *pairs, strict=True)
            ]
            return nd.Deconvolution(gradient, weight, adj=tuple(left), **options)

    return back


def _dense(gradient: NDArray, weight: NDArray, x: NDArray) -> NDArray:
    return nd.dot(gradient.reshape((-1, weight.shape[0])), weight).reshape(x.shape)


class GluonEvaluated(Evaluated):
    """See :class:`vizkit.contract.rules.Evaluated`. ``given`` is all that the operator reads; ``data`` and ``own`` are
    the places of what depends on the picture, and of the parameters; ``back`` is the derivative where it is an operator
    of its own, so that nothing has to be recorded."""

    def __init__(
        self,
        ops: Ops,
        kind: str,
        compute: Compute,
        given: Sequence[NDArray],
        data: list[int],
        own: list[int],
        kept: bool = True,
        back: Back | None = None,
    ) -> None:
        self.ops = ops
        self.kind = kind
        self._compute = compute
        self._back = back
        # Each evaluation has its own: MXNet forgets all that a graph has read once that is differentiated.
        self._given = [one.detach() for one in given]
        self._data, self._own = data, own
        self.inputs = tuple(given[i].detach() for i in data)
        self.parameters = tuple(given[i] for i in own)
        self._leaves = [self._given[i] for i in data]
        if not kept or back is not None:
            with autograd.pause(train_mode=True):
                self.output = compute(self._given)
            return
        # What gradients would be written to, which `autograd.grad` never does: so no memory is taken for it.
        autograd.mark_variables(self._leaves, [one.detach() for one in self.inputs])
        with autograd.record(train_mode=True):  # In predict mode, MXNet's max-pool keeps nothing to differentiate with.
            self._output = compute(self._given)
        self.output = self._output.detach()

    def pull(self, gradient: NDArray, parameters: Sequence[NDArray] = ()) -> tuple[NDArray, ...]:
        if self._back is not None:
            return (self._back(gradient, (parameters or self.parameters)[0], self.inputs[0]),)
        if parameters:
            return self.again((), parameters).pull(gradient)
        return tuple(autograd.grad([self._output], self._leaves, [gradient], train_mode=True))

    def again(self, inputs: Sequence[NDArray] = (), parameters: Sequence[NDArray] = ()) -> GluonEvaluated:
        given = list(self._given)
        parameters = (*parameters, *self.parameters[len(parameters) :])
        for i, one in zip((*self._data, *self._own), (*(inputs or self.inputs), *parameters), strict=True):
            given[i] = one
        return GluonEvaluated(self.ops, self.kind, self._compute, given, self._data, self._own, back=self._back)


class Ruled(autograd.Function):
    """What was computed; backward what the rule hands to one of the inputs.

    Of an operator that reads several, each has a function of its own, and those after the first add zeros to what was
    computed: MXNet 1.9.1 leaves all that a function hands back after an input of which no gradient is asked, so that
    the next one would get whatever lies in memory.
    """

    def __init__(self, done: GluonEvaluated, back: Callable[[NDArray], Sequence[NDArray]], place: int) -> None:
        super().__init__()
        self.done, self.back, self.place = done, back, place

    def forward(self, _input: NDArray) -> NDArray:
        return self.done.output if self.place == 0 else nd.zeros_like(self.done.output)

    def backward(self, gradient: NDArray) -> NDArray:
        return self.back(gradient)[self.place]


def ruled(done: GluonEvaluated, rule: Rule, inputs: Sequence[NDArray]) -> NDArray:
    """What was computed of these inputs, whose gradients are what the rule makes of that of the result."""
    found: list[NDArray] = []
    lock = Lock()

    def back(gradient: NDArray) -> list[NDArray]:
        """Asked once, and it waits for what it computes: MXNet 1.9.1 takes back the memory of what backward is given as
        soon as it returns, while the operators called there may still have to read it: seen as float32 maps that were
        wrong by up to 0.3 %, or NaN, differently in every run. What is kept for a later call is a copy, since it may
        lie in that memory. MXNet calls from several threads."""
        with lock:
            if not found:
                kept = len(inputs) > 1
                made = [one.copy() if kept or one is gradient else one for one in rule(done, gradient)]
                left = [] if done.source is None or done.source.left is None else [done.source.left]
                for one in (*made, *left):
                    one.wait_to_read()
                found.extend(made)
        return found

    parts = [Ruled(done, back, place)(one) for place, one in enumerate(inputs)]
    return sum(parts[1:], parts[0])
