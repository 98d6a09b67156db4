"""The functions in which frameworks differ, as every technique sees them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from . import draws
from .errors import ShapeError, disconnected

Tensor = Any
"""A native tensor of some framework."""
Array = npt.NDArray[Any]
Leaves = dict[str, Tensor]
Scores = Callable[[Leaves], tuple[Tensor, Any]]
Step = Callable[[Leaves], Leaves]
"""A pure function of native tensors: what it gives, and of which shape, depends on them alone."""
Elementwise = Callable[[Tensor], Tensor]
CONSTANTS = 256
"""Constants that lie on a device at once."""


class Ops(ABC):
    """The few functions in which frameworks differ, on one device, in one dtype. Tensors are native, NCHW; those with
    as many axes broadcast as NumPy's do in ``+ - * / **``, beside which numbers may stand on either side. They have a
    ``shape``, a length, that of their first axis, and slices.

    What is abstract a backend must bring. The others work as they are, made of those; a framework's own is faster.
    """

    device: str
    dtype: str
    abs: Elementwise
    exp: Elementwise
    log: Elementwise
    sqrt: Elementwise
    sin: Elementwise
    cos: Elementwise
    _constants: OrderedDict[Hashable, Tensor]

    @abstractmethod
    def asarray(self, array: npt.ArrayLike) -> Tensor:
        """A native tensor in this model's dtype, on its device; always a copy."""

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros in this model's dtype, on its device."""
        return self.asarray(np.zeros(shape))

    def constant(self, make: Callable[..., npt.ArrayLike], *args: Any) -> Tensor:
        """``make(*args)`` as a native tensor, made and brought to the device once; nobody may write it. Arguments are
        hashable, or arrays."""
        key = (make, *(_hashable(one) for one in args))
        if not hasattr(self, "_constants"):
            self._constants = OrderedDict()
        if key not in self._constants:
            self._constants[key] = self.asarray(make(*args))
            while len(self._constants) > CONSTANTS:
                self._constants.popitem(last=False)
        self._constants.move_to_end(key)
        return self._constants[key]

    @abstractmethod
    def numpy(self, tensor: Tensor) -> Array:
        """A NumPy copy on the host, in the tensor's dtype."""

    @abstractmethod
    def double(self, x: Tensor) -> Tensor:
        """The same values in float64, for long sums; what comes back through it is in the dtype of ``x``."""

    def wait(self, tensor: Tensor) -> None:
        """Let the host wait for this tensor where the framework would otherwise run ahead without bound."""
        return

    def memory(self) -> int | None:
        """Bytes that the device has left for the activations of a batch; None where nobody asked it."""
        return None

    def value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[Tensor, Leaves, Any]:
        """Scores, the gradient of their sum with respect to every leaf, and auxiliary outputs.

        ``fn(leaves) -> (scores, aux)`` with ``scores`` of shape (N,); ``aux`` is a tensor, a tuple, list or dict of
        them, or None, and comes back detached. Leaves are not changed. All gradients come from one backward pass.
        Raises DisconnectedError when the scores do not depend on one of the leaves, ShapeError for other scores.
        """

        def checked(given: Leaves) -> tuple[Tensor, Any]:
            scores, aux = fn(given)
            if len(scores.shape) != 1:
                raise ShapeError(f"Scores must have shape (N,), one per sample; got {tuple(scores.shape)}.")
            return scores, aux

        scores, gradients, aux = self._value_and_grad(checked, leaves)
        missing = [name for name, gradient in gradients.items() if gradient is None]
        if missing:
            raise disconnected(missing)
        return self.detach(scores), gradients, self._detached(aux)

    @abstractmethod
    def _value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[Tensor, Leaves, Any]:
        """What :meth:`value_and_grad` promises, for scores of the right shape: the gradient is None at a leaf on which
        they do not depend, and scores and auxiliary outputs may come as they are."""

    def _detached(self, aux: Any) -> Any:
        if isinstance(aux, dict):
            return {key: self._detached(one) for key, one in aux.items()}
        if isinstance(aux, tuple | list):
            return type(aux)(self._detached(one) for one in aux)
        return aux if aux is None else self.detach(aux)

    @abstractmethod
    def detach(self, tensor: Tensor) -> Tensor:
        """The same values, cut from any recorded computation."""

    def tidy(self) -> None:
        """Give memory that passes have left unused back to the system; called now and then in long loops."""
        return

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the framework failed for want of memory, so that a smaller batch may succeed."""
        return isinstance(error, MemoryError)

    @abstractmethod
    def sum(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Sum over the given axes."""

    def mean(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Mean over the given axes."""
        axes = (axis,) if isinstance(axis, int) else axis
        return self.sum(x, axis, keepdims) / math.prod(x.shape[one] for one in axes)

    @abstractmethod
    def max(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Largest value over the given axes. Where several are largest, how they share the gradient is left to the
        framework, here, in :meth:`maximum` and in a network's max-pools."""

    def sigmoid(self, x: Tensor, /) -> Tensor:
        """``1 / (1 + exp(-x))``."""
        return 1.0 / (1.0 + self.exp(-x))

    def relu(self, x: Tensor, /) -> Tensor:
        """``max(0, x)``, of slope 0 at 0: whose :meth:`maximum` has another there brings its own."""
        return self.maximum(x, 0.0)

    def softmax(self, x: Tensor, axis: int = 1) -> Tensor:
        """Powers of e that add up to one along the axis."""
        powers = self.exp(x - self.detach(self.max(x, axis, keepdims=True)))
        return powers / self.sum(powers, axis, keepdims=True)

    @abstractmethod
    def top(self, x: Tensor) -> Tensor:
        """(N, C) to (N, C): one where the first of the largest values of each row stands, else zero."""

    def normal(self, keys: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers (B, *shape) for keys (B, 2) of :func:`vizkit.draws.keys`; the same in every
        framework."""
        drawn = draws.normal(self.numpy(keys), math.prod(shape))
        return self.asarray(drawn.reshape(-1, *shape))

    @abstractmethod
    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """``a`` where the condition is not zero, else ``b``; three tensors of one shape."""

    @abstractmethod
    def maximum(self, a: Tensor, b: Tensor | float) -> Tensor:
        """The larger of two values; ``b`` may be a number."""

    def minimum(self, a: Tensor, b: Tensor | float) -> Tensor:
        """The smaller of two values; ``b`` may be a number."""
        return -self.maximum(-a, -b)

    @abstractmethod
    def concat(self, tensors: Sequence[Tensor], axis: int = 0) -> Tensor: ...

    @abstractmethod
    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor: ...

    @abstractmethod
    def transpose(self, x: Tensor, axes: tuple[int, ...]) -> Tensor: ...

    @abstractmethod
    def pick(self, x: Tensor, index: Sequence[int]) -> Tensor:
        """``x[i, index[i]]`` for each i: (N, C, ...) and N integers give (N, ...)."""

    @abstractmethod
    def pad(self, x: Tensor, width: int, value: float = 0.0) -> Tensor:
        """Widen height and width of (N, C, H, W) by ``width`` on each side."""

    @abstractmethod
    def conv(self, x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        """Cross-correlation of (N, C, H, W) with weights (O, C / groups, kH, kW)."""

    @abstractmethod
    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix product over the last two axes; leading axes, where both have them, are equal."""

    @abstractmethod
    def sample(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Bilinear values (N, C, H', W') of (N, C, H, W) at the places that ``rows`` and ``columns`` (H', W') give in
        pixels; zero outside. Differentiable with respect to ``x``, with the same digits each time."""

    def irfft2(self, spectrum: Tensor, width: int) -> Tensor:
        """The inverse of NumPy's ``rfft2(..., norm="ortho")``: (N, C, 2, H, K), real part before imaginary part of the
        ``K = width // 2 + 1`` columns, to real (N, C, H, width).

        Two matrix products, one for each axis.
        """
        n, c, _, height, half = spectrum.shape
        rows, columns = (self.constant(_inverse_fourier, height, width, k) for k in range(2))
        stacked = self.transpose(self.reshape(spectrum, (n * c, 2 * height, half)), (1, 0, 2))
        turned = self.matmul(rows, self.reshape(stacked, (2 * height, n * c * half)))
        turned = self.transpose(self.reshape(turned, (2, height, n * c, half)), (2, 1, 0, 3))
        flat = self.matmul(self.reshape(turned, (n * c * height, 2 * half)), columns)
        return self.reshape(flat, (n, c, height, width))

    def resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear with half-pixel centres, without antialiasing: (N, C, H, W) to (N, C, *size).

        Two matrix products with the interpolation's own matrices: exact in both dtypes, differentiable, and the same
        arithmetic in every framework (MXNet's own operator computes its weights in float32 even for float64).
        """
        height, width = x.shape[2:]
        if (height, width) == tuple(size):
            return x
        return self.along(
            x,
            rows=self.constant(bilinear_matrix, height, size[0]),
            columns=self.constant(bilinear_columns, width, size[1]),
        )

    def along(self, x: Tensor, *, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """``rows @ x @ columns`` for each channel of (N, C, H, W), with matrices (H', H) and (W, W')."""
        n, c, height, width = x.shape
        if columns is not None:
            x = self.matmul(self.reshape(x, (n * c * height, width)), columns)
            width = columns.shape[1]
            x = self.reshape(x, (n, c, height, width))
        if rows is not None:
            x = self.transpose(x, (2, 0, 1, 3))
            x = self.matmul(rows, self.reshape(x, (height, n * c * width)))
            x = self.transpose(self.reshape(x, (rows.shape[0], n, c, width)), (1, 2, 0, 3))
        return x

    def hats(self, at: Tensor, count: int) -> Tensor:
        """(T, count) matrix of linear interpolation between ``count`` values at the places ``at`` (T, 1), counted from
        0; a place outside has no part in it."""
        places = self.constant(np.arange, 0.0, 1.0 * count)
        return self.maximum(1.0 - self.abs(at - self.reshape(places, (1, count))), 0.0)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    return value  # type: ignore[no-any-return]


def _inverse_fourier(height: int, width: int, which: int) -> Array:
    return inverse_fourier_matrices(height, width)[which]


def bilinear_columns(source: int, target: int) -> Array:
    """(source, target): what multiplies rows from the right."""
    return bilinear_matrix(source, target).T


@lru_cache(maxsize=64)
def bilinear_matrix(source: int, target: int) -> Array:
    """(target, source) float64 matrix of one axis' bilinear interpolation with half-pixel centres, edges repeated."""
    rows = np.arange(target)
    at = np.clip((rows + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(at).astype(int)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (rows, low), 1 - (at - low))
    np.add.at(matrix, (rows, np.minimum(low + 1, source - 1)), at - low)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=16)
def inverse_fourier_matrices(height: int, width: int) -> tuple[Array, Array]:
    """Matrices of an inverse real Fourier transform with ``norm="ortho"``, float64: (2 H, 2 H) from the stacked real
    and imaginary rows of a spectrum to those of its inverse along the rows, and (2 K, W) from the real and imaginary
    columns of that to the picture."""
    turn = 2 * np.pi * np.outer(np.arange(height), np.arange(height)) / height
    cosine, sine = np.cos(turn) / np.sqrt(height), np.sin(turn) / np.sqrt(height)
    rows = np.block([[cosine, -sine], [sine, cosine]])
    half = np.arange(width // 2 + 1)
    turn = 2 * np.pi * np.outer(half, np.arange(width)) / width
    twice = np.where((half == 0) | (2 * half == width), 1.0, 2.0)[:, None] / np.sqrt(width)
    columns = np.concatenate([twice * np.cos(turn), -twice * np.sin(turn)])
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns
