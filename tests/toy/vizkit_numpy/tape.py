"""Arrays that remember how they were made: reverse-mode gradients."""

from itertools import count

import numpy as np

SERIAL = count()
SLOPES = {
    np.add: (lambda a, b: 1.0, lambda a, b: 1.0),
    np.subtract: (lambda a, b: 1.0, lambda a, b: -1.0),
    np.multiply: (lambda a, b: b, lambda a, b: a),
    np.true_divide: (lambda a, b: 1 / b, lambda a, b: -a / b**2),
    np.power: (lambda a, b: b * a ** (b - 1), lambda a, b: a**b * np.log(a)),
    np.maximum: (lambda a, b: a > b, lambda a, b: a <= b),
    np.negative: (lambda a: -1.0,),
    np.absolute: (np.sign,),
    np.exp: (np.exp,),
    np.log: (lambda a: 1 / a,),
    np.sqrt: (lambda a: 0.5 / np.sqrt(a),),
    np.sin: (np.cos,),
    np.cos: (lambda a: -np.sin(a),),
}
"""Derivatives by each argument."""


class Tensor(np.lib.mixins.NDArrayOperatorsMixin):
    """An array with its sources: each tensor that it was computed from and whose gradient is wanted, with the function
    that takes this one's gradient back to it. Operators and NumPy's functions of single values work on it."""

    def __init__(self, value, sources=(), wanted=False):
        self.value = value
        self.sources = [(source, back) for source, back in sources if source.wanted]
        self.wanted = wanted or bool(self.sources)
        self.serial = next(SERIAL)

    @property
    def shape(self):
        return self.value.shape

    def __len__(self):
        return len(self.value)

    def __array_ufunc__(self, function, method, *inputs):
        inputs = [one if isinstance(one, Tensor) else Tensor(np.asarray(one, self.value.dtype)) for one in inputs]
        values = [one.value for one in inputs]

        def backwards(slope, shape):
            return lambda gradient: fitted(gradient * slope(*values), shape)

        sources = [(one, backwards(slope, one.shape)) for one, slope in zip(inputs, SLOPES[function], strict=True)]
        return Tensor(function(*values), sources)

    def __getitem__(self, key):
        def back(gradient):
            whole = np.zeros_like(self.value)
            np.add.at(whole, key, gradient)
            return whole

        return Tensor(self.value[key], [(self, back)])


def fitted(gradient, shape):
    """Summed over the axes along which an input of ``shape`` was repeated."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    return gradient.sum(axis=tuple(i for i, side in enumerate(shape) if side == 1), keepdims=True).reshape(shape)


def einsum(how, a, b):
    """A sum of products: with one factor and the gradient it gives the gradient of the other."""
    left, right, out = how.replace("->", ",").split(",")
    to_a = (a, lambda gradient: np.einsum(f"{out},{right}->{left}", gradient, b.value))
    to_b = (b, lambda gradient: np.einsum(f"{out},{left}->{right}", gradient, a.value))
    return Tensor(np.einsum(how, a.value, b.value), [to_a, to_b])


def gradients(scores, leaves):
    """Of the sum of ``scores`` at each leaf; None where they do not depend on it."""
    reached, waiting = {}, [scores]
    while waiting:
        tensor = waiting.pop()
        if tensor.serial not in reached:
            reached[tensor.serial] = tensor
            waiting += [source for source, _ in tensor.sources]
    found = {scores.serial: np.ones_like(scores.value)}
    for serial in sorted(reached, reverse=True):  # what was computed last comes first
        for source, back in reached[serial].sources:
            found[source.serial] = found.get(source.serial, 0.0) + back(found[serial])
    return [Tensor(found[leaf.serial]) if leaf.serial in found else None for leaf in leaves]
