"""The functions in which frameworks differ, as every technique sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = Any
"""A native tensor of some framework."""
Array = npt.NDArray[Any]
Leaves = dict[str, Tensor]
Scores = Callable[[Leaves], tuple[Tensor, Any]]


class Ops(ABC):
    """The few functions in which frameworks differ, on one device, in one dtype. Tensors are native, NCHW."""

    device: str
    dtype: str

    @abstractmethod
    def asarray(self, array: npt.ArrayLike) -> Tensor:
        """A native tensor in this model's dtype, on its device; always a copy."""

    @abstractmethod
    def numpy(self, tensor: Tensor) -> Array:
        """A NumPy copy on the host, in the tensor's dtype."""

    @abstractmethod
    def value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[Tensor, Leaves, Any]:
        """Scores, the gradient of their sum with respect to every leaf, and auxiliary outputs.

        ``fn(leaves) -> (scores, aux)`` with ``scores`` of shape (N,); ``aux`` is a tensor, a tuple, list or dict of
        them, or None, and comes back detached. Leaves are not changed. All gradients come from one backward pass.
        Raises DisconnectedError when the scores do not depend on one of the leaves.
        """

    @abstractmethod
    def detach(self, tensor: Tensor) -> Tensor:
        """The same values, cut from any recorded computation."""

    def tidy(self) -> None:
        """Give memory that passes have left unused back to the system; called now and then in long loops."""
        return

    @abstractmethod
    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the framework failed for want of memory, so that a smaller batch may succeed."""

    @abstractmethod
    def sum(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Sum over the given axes."""

    @abstractmethod
    def mean(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Mean over the given axes."""

    @abstractmethod
    def max(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Largest value over the given axes."""

    @abstractmethod
    def abs(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def exp(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def log(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def sqrt(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def sin(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def cos(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def sigmoid(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def relu(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def softmax(self, x: Tensor, axis: int = 1) -> Tensor: ...

    @abstractmethod
    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """``a`` where the condition is not zero, else ``b``; three tensors of one shape."""

    @abstractmethod
    def maximum(self, a: Tensor, b: Tensor | float) -> Tensor: ...

    @abstractmethod
    def minimum(self, a: Tensor, b: Tensor | float) -> Tensor: ...

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
    def pad(self, x: Tensor, width: int, mode: str = "constant", value: float = 0.0) -> Tensor:
        """Widen height and width of (N, C, H, W) by ``width`` on each side; ``mode`` is "constant" or "reflect"."""

    @abstractmethod
    def conv(self, x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        """Cross-correlation of (N, C, H, W) with weights (O, C / groups, kH, kW)."""

    @abstractmethod
    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix product over the last two axes; leading axes, where both have them, are equal."""

    @abstractmethod
    def sample(self, x: Tensor, at: Array) -> Tensor:
        """Bilinear values of (N, C, H, W) at places ``at`` (H', W', 2), row and column in pixels; zero outside."""

    def irfft2(self, spectrum: Tensor, width: int) -> Tensor:
        """The inverse of NumPy's ``rfft2(..., norm="ortho")``: (N, C, 2, H, K), real part before imaginary part of the
        ``K = width // 2 + 1`` columns, to real (N, C, H, width).

        Two matrix products, one for each axis.
        """
        n, c, _, height, half = spectrum.shape
        rows, columns = (self.asarray(matrix) for matrix in inverse_fourier_matrices(height, width))
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
        n, c, height, width = x.shape
        if (height, width) == tuple(size):
            return x
        rows = self.asarray(bilinear_matrix(height, size[0]))
        columns = self.asarray(bilinear_matrix(width, size[1]).T)
        flat = self.matmul(self.reshape(x, (n * c * height, width)), columns)
        flat = self.reshape(flat, (n * c, height, size[1]))
        flat = self.transpose(flat, (1, 0, 2))
        flat = self.matmul(rows, self.reshape(flat, (height, n * c * size[1])))
        return self.reshape(
            self.transpose(self.reshape(flat, (size[0], n * c, size[1])), (1, 0, 2)), (n, c, size[0], size[1])
        )


@lru_cache(maxsize=64)
def bilinear_matrix(source: int, target: int) -> Array:
    """(target, source) float64 matrix of one axis' bilinear interpolation with half-pixel centres, edges repeated."""
    low, high, share = bilinear_taps(source, target)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - share)
    np.add.at(matrix, (np.arange(target), high), share)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=64)
def bilinear_taps(source: int, target: int) -> tuple[Array, Array, Array]:
    """What :func:`bilinear_matrix` reads for each of ``target`` places: two indices, and the share of the second."""
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(at).astype(int)
    found = low, np.minimum(low + 1, source - 1), at - low
    for one in found:
        one.flags.writeable = False
    return found


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


def corner_grid(at: Array, height: int, width: int) -> Array:
    """Places in pixels (H', W', 2) in the units of both frameworks' samplers: -1 and 1 are the outermost pixels."""
    return np.asarray(at * (2.0 / np.maximum([height - 1, width - 1], 1)) - 1.0)
