"""The functions of the contract on tensors of :mod:`vizkit_numpy.tape`."""

import numpy as np

from vizkit.contract.backend import Ops

from .tape import Tensor, einsum, gradients


class NumpyOps(Ops):
    """See :class:`vizkit.backend.Ops`."""

    device = "cpu"
    # NumPy's own, which Tensor takes over
    abs, exp, log, sqrt = map(staticmethod, (np.abs, np.exp, np.log, np.sqrt))
    sin, cos, maximum = map(staticmethod, (np.sin, np.cos, np.maximum))

    def __init__(self, dtype):
        self.dtype = dtype

    def asarray(self, array):
        return Tensor(np.array(array, self.dtype))

    def numpy(self, tensor):
        return tensor.value.copy()

    def double(self, x):
        return Tensor(x.value.astype(np.float64), [(x, lambda gradient: gradient.astype(self.dtype))])

    def detach(self, tensor):
        return Tensor(tensor.value)

    def _value_and_grad(self, fn, leaves):
        marked = {name: Tensor(leaf.value, wanted=True) for name, leaf in leaves.items()}
        scores, aux = fn(marked)
        return scores, dict(zip(marked, gradients(scores, marked.values()), strict=True)), aux

    def sum(self, x, axis, keepdims=False):
        kept = x.value.sum(axis, keepdims=True).shape
        back = (x, lambda gradient: np.broadcast_to(gradient.reshape(kept), x.shape))
        return Tensor(x.value.sum(axis, keepdims=keepdims), [back])

    def max(self, x, axis, keepdims=False):
        largest = x.value == x.value.max(axis, keepdims=True)
        return self.sum(x * (largest / largest.sum(axis, keepdims=True)), axis, keepdims)

    def top(self, x):
        return Tensor(np.eye(x.shape[1], dtype=self.dtype)[x.value.argmax(axis=1)])

    def where(self, condition, a, b):
        true = condition.value != 0
        return Tensor(np.where(true, a.value, b.value), [(a, lambda grad: grad * true), (b, lambda grad: grad * ~true)])

    def concat(self, tensors, axis=0):
        ends = np.cumsum([one.shape[axis] for one in tensors])[:-1]
        backs = [lambda gradient, i=i: np.split(gradient, ends, axis)[i] for i in range(len(tensors))]
        return Tensor(np.concatenate([one.value for one in tensors], axis), zip(tensors, backs, strict=True))

    def reshape(self, x, shape):
        return Tensor(x.value.reshape(shape), [(x, lambda gradient: gradient.reshape(x.shape))])

    def transpose(self, x, axes):
        return Tensor(x.value.transpose(axes), [(x, lambda gradient: gradient.transpose(np.argsort(axes)))])

    def pick(self, x, index):
        return x[np.arange(len(index)), np.array(index)]

    def pad(self, x, width, value=0.0):
        inner = (slice(None), slice(None), *(slice(width, width + side) for side in x.shape[2:]))
        padded = np.pad(x.value, ((0, 0), (0, 0), (width, width), (width, width)), constant_values=value)
        return Tensor(padded, [(x, lambda gradient: gradient[inner])])

    def conv(self, x, weight, *, stride=1, padding=0, groups=1):
        outputs, inputs, height, width = weight.shape
        weight = self.reshape(weight, (groups, outputs // groups, inputs, height, width))
        total = 0.0
        for i, j, seen in windows(self.pad(x, padding), height, width, stride):
            seen = self.reshape(seen, (len(x), groups, inputs, *seen.shape[2:]))
            total = total + einsum("ngchw,goc->ngohw", seen, weight[:, :, :, i, j])
        return self.reshape(total, (len(x), outputs, *total.shape[3:]))

    def matmul(self, a, b):
        return einsum("...ij,...jk->...ik", a, b)

    def sample(self, x, rows, columns):
        down, across = (
            np.maximum(1 - np.abs(at.value[..., None] - np.arange(side)), 0)
            for at, side in zip((rows, columns), x.shape[2:], strict=True)
        )
        return einsum("ncij,pqij->ncpq", x, self.asarray(down[..., :, None] * across[..., None, :]))


def windows(x, height, width, stride):
    """For each place in a window (i, j), what stands there in all of them: (N, C, H', W')."""
    down, right = ((x.shape[axis] - size) // stride * stride + 1 for axis, size in ((2, height), (3, width)))
    for i, j in np.ndindex(height, width):
        yield i, j, x[:, :, i : i + down : stride, j : j + right : stride]
