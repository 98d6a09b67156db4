"""The functions of the contract on MXNet arrays."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt
from mxnet import autograd, nd
from mxnet.base import _LIB, check_call

from vizkit.contract.backend import Array, Leaves, Ops, Scores
from vizkit.contract.errors import ShapeError, disconnected
from vizkit.contract.terms import sums
from vizkit.support.memory import Scattered

from .legacy import legacy

Axis = int | tuple[int, ...]
NDArray = Any


def context(device: str) -> Any:
    """MXNet's context of "cpu" or "cuda:i"."""
    return mx.cpu() if device == "cpu" else mx.gpu(int(device.partition(":")[2] or 0))


def in_rows(x: NDArray) -> NDArray:
    """What a softmax may take: a table (N, K) as a copy. Columns that were joined, more of them than rows, lie in an
    order in which the gradient of oneDNN's softmax ends the process."""
    return nd.identity(x) if x.ndim == 2 else x


class GluonOps(Ops):
    """See :class:`vizkit.backend.Ops`."""

    abs = staticmethod(nd.abs)
    exp = staticmethod(nd.exp)
    log = staticmethod(nd.log)
    sqrt = staticmethod(nd.sqrt)
    sin = staticmethod(nd.sin)
    cos = staticmethod(nd.cos)
    sigmoid = staticmethod(nd.sigmoid)
    relu = staticmethod(nd.relu)

    def __init__(self, device: str, dtype: str) -> None:
        self.device = device
        self.dtype = dtype
        self.context = context(device)
        self._unused = Scattered()
        self.ruled = False
        """Whether the pass just recorded follows backward rules. They are computed in a thread of their own, which
        must be done before anything else is recorded."""

    def asarray(self, array: npt.ArrayLike) -> NDArray:
        host = np.asarray(array)
        return nd.array(host, ctx=self.context, dtype=self.dtype)

    def numpy(self, tensor: NDArray) -> Array:
        value: Array = tensor.asnumpy()
        return value

    def zeros(self, shape: tuple[int, ...]) -> NDArray:
        return nd.zeros(shape, ctx=self.context, dtype=self.dtype)

    def double(self, x: NDArray) -> NDArray:
        return x.astype("float64")

    def memory(self) -> int | None:
        if self.device == "cpu":
            return None
        free, _ = mx.context.gpu_memory_info(self.context.device_id)
        return int(free)

    def wait(self, tensor: NDArray) -> None:
        tensor.wait_to_read()

    def detach(self, tensor: NDArray) -> NDArray:
        return tensor.detach()

    @legacy()
    def _value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[NDArray, Leaves, Any]:
        marked = {name: leaf.detach() for name, leaf in leaves.items()}
        for leaf in marked.values():
            leaf.attach_grad()
        # Training mode on purpose: on the CPU, MXNet's max-pool keeps in predict mode nothing to differentiate with,
        # and its gradient is garbage. What differs in training mode, dropout and batch norm, the graph settles.
        self.ruled = False
        with autograd.record(train_mode=True):
            scores, aux = fn(marked)
        try:
            found = autograd.grad([scores], list(marked.values()), train_mode=True)
        except mx.base.MXNetError as error:
            raise disconnected(_unreached(str(error), list(marked))) from None
        for one in found if self.ruled else ():
            one.wait_to_read()
        return scores, dict(zip(marked, found, strict=True)), aux

    def tidy(self) -> None:
        self._unused.give_back()

    def is_out_of_memory(self, error: BaseException) -> bool:
        text = str(error).lower()
        return isinstance(error, MemoryError) or (
            isinstance(error, mx.base.MXNetError) and ("out of memory" in text or "failed to allocate" in text)
        )

    def sum(self, x: NDArray, axis: Axis, keepdims: bool = False) -> NDArray:
        return nd.sum(x, axis=axis, keepdims=keepdims)

    def mean(self, x: NDArray, axis: Axis, keepdims: bool = False) -> NDArray:
        return nd.mean(x, axis=axis, keepdims=keepdims)

    def max(self, x: NDArray, axis: Axis, keepdims: bool = False) -> NDArray:
        return nd.max(x, axis=axis, keepdims=keepdims)

    def softmax(self, x: NDArray, axis: int = 1) -> NDArray:
        return nd.softmax(in_rows(x), axis=axis)

    def top(self, x: NDArray) -> NDArray:
        return nd.one_hot(nd.argmax(x, axis=1), depth=x.shape[1], dtype=np.dtype(x.dtype).name)

    def where(self, condition: NDArray, a: NDArray, b: NDArray) -> NDArray:
        return nd.where(condition, a, b)

    def maximum(self, a: NDArray, b: NDArray | float) -> NDArray:
        return nd.maximum(a, b)

    def minimum(self, a: NDArray, b: NDArray | float) -> NDArray:
        return nd.minimum(a, b)

    def concat(self, tensors: Sequence[NDArray], axis: int = 0) -> NDArray:
        return nd.concat(*tensors, dim=axis)

    def reshape(self, x: NDArray, shape: tuple[int, ...]) -> NDArray:
        return nd.reshape(x, shape=shape)

    def transpose(self, x: NDArray, axes: tuple[int, ...]) -> NDArray:
        return nd.transpose(x, axes=axes)

    def pick(self, x: NDArray, index: Sequence[int]) -> NDArray:
        rows = np.arange(len(index))
        at = nd.array(np.stack([rows, np.asarray(index)]), ctx=self.context, dtype="int64")
        return nd.gather_nd(x, at)

    def pad(self, x: NDArray, width: int, value: float = 0.0) -> NDArray:
        sides = (0, 0, 0, 0, *(width,) * 4)
        return nd.pad(x, mode="constant", pad_width=sides, constant_value=value)

    def conv(self, x: NDArray, weight: NDArray, *, stride: int = 1, padding: int = 0, groups: int = 1) -> NDArray:
        return nd.Convolution(
            x,
            weight,
            kernel=weight.shape[2:],
            num_filter=weight.shape[0],
            stride=(stride, stride),
            pad=(padding, padding),
            num_group=groups,
            no_bias=True,
        )

    def matmul(self, a: NDArray, b: NDArray) -> NDArray:
        return nd.dot(a, b) if a.ndim == b.ndim == 2 else nd.batch_dot(a, b)

    def sample(self, x: NDArray, rows: NDArray, columns: NDArray) -> NDArray:
        height, width = x.shape[2:]
        if min(height, width) == 1:  # which the sampler's unit cannot tell of
            return self.sample(self.pad(x, 1), rows + 1.0, columns + 1.0)
        # The sampler's unit: -1 and 1 are the outermost pixels.
        grid = nd.stack(columns * (2.0 / (width - 1)) - 1.0, rows * (2.0 / (height - 1)) - 1.0, axis=0)
        return nd.BilinearSampler(x, nd.stack(*[grid] * x.shape[0], axis=0))


def view(array: NDArray) -> Array:
    """The values of an array on the CPU without copying them, to be read at once; a copy of those on a GPU."""
    if array.context.device_type != "cpu":
        copied: Array = array.asnumpy().reshape(-1)
        return copied
    array.wait_to_read()
    kind = np.dtype(array.dtype)
    buffer = (ctypes.c_char * (array.size * kind.itemsize)).from_address(_pointer(array))
    return np.frombuffer(buffer, dtype=kind)


def _pointer(array: NDArray) -> int:
    found = ctypes.c_void_p()
    check_call(_LIB.MXNDArrayGetData(array.handle, ctypes.byref(found)))
    return found.value or 0


class Watch:
    """Looks at the same arrays again and again to see whether any was written: MXNet does not tell. Where an array lies
    is looked up every time, since operators move their weights."""

    def __init__(self) -> None:
        self._seen: list[tuple[NDArray, int, Array]] = []
        self._changes = 0

    def state(self, arrays: Sequence[NDArray]) -> tuple[int, bytes]:
        """How often there were other arrays, and the sums of these once everything that is being computed is done."""
        mx.nd.waitall()
        if [id(one) for one in arrays] != [id(one) for one, _, _ in self._seen]:
            self._seen = [(one, -1, np.empty(0)) for one in arrays]
            self._changes += 1
        on_cpu = all(array.context.device_type == "cpu" for array in arrays[:1])
        for i, (array, before, _) in enumerate(self._seen):
            now = _pointer(array) if on_cpu else 0
            if now != before or not on_cpu:
                self._seen[i] = (array, now, view(array))
        return self._changes, sums(values for _, _, values in self._seen)


def _unreached(error: str, names: list[str]) -> list[str]:
    """Those of the names that MXNet complains of: it says which variable, by number, or that there is no graph."""
    match = re.search(r"the (\d+)-th variable because it is unreachable", error)
    if match:
        return [names[int(match[1]) - 1]]
    if "not in a computational graph" not in error:
        raise ShapeError(f"MXNet could not differentiate: {first_line(error)}")
    return names


PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+: ")
"""When, and where in its own source, MXNet noticed."""


def first_line(error: str) -> str:
    """The line of an MXNet error that says what is wrong, without its traceback."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("MXNetError", "Check failed", "Error in"))]
    return PLACE.sub("", (telling or lines or ["unknown"])[-1].removeprefix("MXNetError: "))
