"""What the contract requires of :class:`vizkit.backend.Ops`: every function against NumPy, its gradient against
central differences of the NumPy function, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from vizkit.contract import draws
from vizkit.contract.backend import Array, Ops, bilinear_matrix
from vizkit.contract.errors import DisconnectedError

from .assertions import assert_close, required
from .kit import Kit

Function = Callable[..., Any]
CONDITION = np.array([[0.0, 1.0, -2.0, 0.0], [1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 3.0, 1.0]])
SIDES = (5, 4)
ROWS = np.array([[0.3, 2.0, -0.4], [4.6, -1.5, 3.7]])
COLUMNS = np.array([[1.2, 3.0, 0.0], [2.5, 1.0, -0.7]])
"""Places between pixels, on one, beyond the edge by less than a pixel, and outside."""
PICKED = [2, 0, 2]


def convolved(x: Array, weight: Array, stride: int, padding: int, groups: int) -> Array:
    """Cross-correlation, term by term."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    outputs, inputs, height, width = weight.shape
    down, right = ((side - size) // stride + 1 for side, size in zip(x.shape[2:], (height, width), strict=True))
    out = np.zeros((len(x), outputs, down, right))
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(down):
            for j in range(right):
                seen = x[:, first : first + inputs, i * stride : i * stride + height, j * stride : j * stride + width]
                out[:, o, i, j] = (seen * weight[o]).sum(axis=(1, 2, 3))
    return out


def sampled(x: Array) -> Array:
    """Bilinear values at the places, zero outside: hats of width one along both axes."""
    down, across = (
        np.maximum(1 - np.abs(at[..., None] - np.arange(side)), 0)
        for at, side in zip((ROWS, COLUMNS), SIDES, strict=True)
    )
    return np.asarray(np.einsum("ncij,pqi,pqj->ncpq", x, down, across))


def softmax(x: Array, axis: int = 1) -> Array:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


FUNCTIONS: dict[str, tuple[Function, Function, Sequence[tuple[int, ...]]]] = {
    "+": (lambda ops, a, b: 1.5 + a + b + 0.5, lambda a, b: 1.5 + a + b + 0.5, [(3, 1), (3, 4)]),
    "-": (lambda ops, a, b: 1.5 - a - b - 0.5, lambda a, b: 1.5 - a - b - 0.5, [(3, 4), (1, 4)]),
    "*": (lambda ops, a, b: -2.0 * a * b * 3.0, lambda a, b: -2.0 * a * b * 3.0, [(3, 4), (3, 1)]),
    "/": (lambda ops, a, b: 1 / a + a / b / 3.0, lambda a, b: 1 / a + a / b / 3.0, [(3, 4), (1, 1)]),
    "**": (lambda ops, a: a**2 + a**3.0, lambda a: a**2 + a**3.0, [(3, 4)]),
    "unary minus": (lambda ops, a: -a, lambda a: -a, [(3, 4)]),
    "slices": (lambda ops, a: a[1:, :, ::2] * a[:2, :, 1:2], lambda a: a[1:, :, ::2] * a[:2, :, 1:2], [(3, 2, 4)]),
    "sum": (lambda ops, a: ops.sum(a, (1, 2)), lambda a: a.sum((1, 2)), [(3, 2, 4)]),
    "sum, keepdims": (lambda ops, a: ops.sum(a, 1, keepdims=True), lambda a: a.sum(1, keepdims=True), [(3, 2, 4)]),
    "mean": (lambda ops, a: ops.mean(a, (0, 2), True), lambda a: a.mean((0, 2), keepdims=True), [(3, 2, 4)]),
    "max": (lambda ops, a: ops.max(a, (1, 2)), lambda a: a.max((1, 2)), [(3, 2, 4)]),
    "abs": (lambda ops, a: ops.abs(a), np.abs, [(3, 4)]),
    "exp": (lambda ops, a: ops.exp(a), np.exp, [(3, 4)]),
    "log": (lambda ops, a: ops.log(ops.abs(a)), lambda a: np.log(np.abs(a)), [(3, 4)]),
    "sqrt": (lambda ops, a: ops.sqrt(ops.abs(a)), lambda a: np.sqrt(np.abs(a)), [(3, 4)]),
    "sin": (lambda ops, a: ops.sin(a), np.sin, [(3, 4)]),
    "cos": (lambda ops, a: ops.cos(a), np.cos, [(3, 4)]),
    "sigmoid": (lambda ops, a: ops.sigmoid(a), lambda a: 1 / (1 + np.exp(-a)), [(3, 4)]),
    "relu": (lambda ops, a: ops.relu(a), lambda a: np.maximum(a, 0), [(3, 4)]),
    "softmax": (lambda ops, a: ops.softmax(a), softmax, [(3, 4)]),
    "softmax, axis 2": (lambda ops, a: ops.softmax(a, axis=2), lambda a: softmax(a, 2), [(2, 3, 4)]),
    "where": (
        lambda ops, a, b: ops.where(ops.asarray(CONDITION), a, b),
        lambda a, b: np.where(CONDITION != 0, a, b),
        [(3, 4), (3, 4)],
    ),
    "maximum": (lambda ops, a, b: ops.maximum(a, b), np.maximum, [(3, 4), (3, 4)]),
    "maximum with a number": (lambda ops, a: ops.maximum(a, 0.1), lambda a: np.maximum(a, 0.1), [(3, 4)]),
    "minimum": (lambda ops, a, b: ops.minimum(a, b), np.minimum, [(3, 4), (3, 4)]),
    "minimum with a number": (lambda ops, a: ops.minimum(a, 0.1), lambda a: np.minimum(a, 0.1), [(3, 4)]),
    "concat": (lambda ops, a, b: ops.concat([a, b], 1), lambda a, b: np.concatenate([a, b], 1), [(3, 4), (3, 2)]),
    "reshape": (lambda ops, a: ops.reshape(a, (2, -1)), lambda a: a.reshape(2, -1), [(3, 2, 4)]),
    "transpose": (lambda ops, a: ops.transpose(a, (2, 0, 1)), lambda a: a.transpose(2, 0, 1), [(3, 2, 4)]),
    "pick": (lambda ops, a: ops.pick(a, PICKED), lambda a: a[range(3), PICKED], [(3, 4, 2)]),
    "pad": (
        lambda ops, a: ops.pad(a, 2, 0.5),
        lambda a: np.pad(a, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=0.5),
        [(2, 1, 3, 2)],
    ),
    "conv": (lambda ops, a, b: ops.conv(a, b), lambda a, b: convolved(a, b, 1, 0, 1), [(2, 3, 5, 4), (4, 3, 3, 2)]),
    "conv, stride, padding, groups": (
        lambda ops, a, b: ops.conv(a, b, stride=2, padding=1, groups=2),
        lambda a, b: convolved(a, b, 2, 1, 2),
        [(2, 4, 5, 6), (4, 2, 3, 3)],
    ),
    "matmul": (lambda ops, a, b: ops.matmul(a, b), np.matmul, [(3, 4), (4, 2)]),
    "matmul of batches": (lambda ops, a, b: ops.matmul(a, b), np.matmul, [(2, 3, 4), (2, 4, 2)]),
    "sample": (lambda ops, a: ops.sample(a, ops.asarray(ROWS), ops.asarray(COLUMNS)), sampled, [(2, 2, *SIDES)]),
    "resize": (
        lambda ops, a: ops.resize(a, (3, 7)),
        lambda a: bilinear_matrix(5, 3) @ a @ bilinear_matrix(4, 7).T,
        [(2, 2, *SIDES)],
    ),
    "irfft2": (
        lambda ops, a: ops.irfft2(a, 6),
        lambda a: np.fft.irfft2(a[:, :, 0] + 1j * a[:, :, 1], s=(5, 6), norm="ortho"),
        [(2, 2, 2, 5, 4)],
    ),
}
"""By name: the function of an Ops and arrays, the same in NumPy, and the arrays' shapes."""


def operations(kit: Kit) -> Ops:
    """The functions that a network's model brings."""
    return kit.model().ops


class OpsTests:
    """Extended by :class:`vizkit.testing.ContractTests`."""

    @pytest.mark.parametrize("which", FUNCTIONS)
    @required("Ops")
    def test_function(self, kit: Kit, which: str) -> None:
        """Each function computes what its NumPy counterpart does, on native tensors, and so does its gradient; leaves
        are not changed."""
        ops, (function, truth, shapes) = operations(kit), FUNCTIONS[which]
        rng = np.random.default_rng(7)
        arrays = [rng.uniform(0.2, 1.5, shape) * rng.choice([-1, 1], shape) for shape in shapes]
        expected = np.asarray(truth(*arrays))
        weight = rng.normal(size=expected.shape)
        leaves = {f"{i}": ops.asarray(one) for i, one in enumerate(arrays)}

        def score(given: dict[str, Any]) -> Any:
            found = function(ops, *given.values())
            weighed = ops.reshape(found * ops.asarray(weight), (1, -1))
            return ops.sum(weighed, 1), [found]

        scores, gradients, (found,) = ops.value_and_grad(score, leaves)
        assert_close(ops.numpy(found), expected, which)
        assert_close(ops.numpy(function(ops, *leaves.values())), expected, f"{which}, without a gradient,")
        assert_close(ops.numpy(scores), np.array([(expected * weight).sum()]), "the score")
        step = 1e-6
        for i, value in enumerate(arrays):
            along = rng.normal(size=value.shape)
            ends = [truth(*arrays[:i], value + sign * step * along, *arrays[i + 1 :]) for sign in (1, -1)]
            slope = ((ends[0] - ends[1]) * weight).sum() / (2 * step)
            got = ops.numpy(gradients[f"{i}"])
            assert got.shape == value.shape
            limit = 1e-7 if kit.dtype == "float64" else 1e-4
            size = np.abs(got * along).sum()
            assert abs((got * along).sum() - slope) <= limit * size, f"{which}: gradient of argument {i}"
            np.testing.assert_array_equal(ops.numpy(leaves[f"{i}"]), value.astype(got.dtype), "a leaf was written")

    @required("Ops.asarray, Ops.numpy, Ops.zeros, Ops.double")
    def test_arrays(self, kit: Kit) -> None:
        """Tensors are copies in the model's dtype, what comes back is a copy, and double is in float64."""
        ops = operations(kit)
        given = np.arange(6.0).reshape(2, 3)
        tensor = ops.asarray(given)
        given[0, 0] = 9
        found = ops.numpy(tensor)
        assert (found.dtype, found[0, 0], tuple(tensor.shape), len(tensor)) == (np.dtype(ops.dtype), 0.0, (2, 3), 2)
        found[0, 0] = 7
        np.testing.assert_array_equal(ops.numpy(tensor), np.arange(6.0).reshape(2, 3))
        assert ops.numpy(ops.asarray([1, 2])).dtype == ops.dtype
        nothing = ops.numpy(ops.zeros((2, 3)))
        assert nothing.dtype == ops.dtype
        np.testing.assert_array_equal(nothing, np.zeros((2, 3)))
        large = ops.double(ops.asarray([[2.0**24]])) + ops.double(ops.asarray([[1.0]]))
        assert ops.numpy(large).dtype == np.float64
        assert ops.numpy(large)[0, 0] == 2**24 + 1  # which float32 does not tell from 2**24
        ops.wait(tensor)
        ops.tidy()

    @required("Ops.double")
    def test_gradients_of_long_sums(self, kit: Kit) -> None:
        """What is computed in float64 is differentiated, too; the gradient is in the leaf's dtype."""
        for dtype in {"float32", kit.dtype}:
            ops = kit.model(dtype=dtype).ops
            x = np.array([[2.0**12, 1.0]])  # whose squares float32 does not add up

            def score(leaves: Any, ops: Ops = ops) -> Any:
                own = ops.double(leaves["x"])
                return ops.sum(own * own, 1), None

            scores, gradients, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
            assert ops.numpy(scores).tolist() == [2.0**24 + 1]
            found = ops.numpy(gradients["x"])
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, 2 * x)

    @required("Ops.value_and_grad")
    def test_auxiliary_outputs(self, kit: Kit) -> None:
        """Tuples, lists and dicts of tensors, or None, come back as they are, detached."""
        ops = operations(kit)
        leaves = {"x": ops.asarray([1.0, 2.0])}

        def score(given: Any) -> Any:
            square = given["x"] * given["x"]
            return square, {"pair": (square, [square * 2.0]), "nothing": None}

        scores, gradients, aux = ops.value_and_grad(score, leaves)
        np.testing.assert_array_equal(ops.numpy(scores), [1, 4])
        np.testing.assert_array_equal(ops.numpy(gradients["x"]), [2, 4])
        assert (type(aux["pair"]), aux["nothing"]) == (tuple, None)
        np.testing.assert_array_equal(ops.numpy(aux["pair"][1][0]), [2, 8])
        with pytest.raises(DisconnectedError):
            ops.value_and_grad(lambda given: (aux["pair"][0] * 2.0, None), leaves)

    @required("Ops.top")
    def test_top_is_the_first_of_the_largest(self, kit: Kit) -> None:
        """One where the first of a row's largest values stands, else zero, in the model's dtype."""
        ops = operations(kit)
        x = np.array([[1, 3, 3, 2], [-1, -1, -1, -1], [0, 5, 1, 5], [-4, -3, -2, -np.inf]])
        found = ops.numpy(ops.top(ops.asarray(x)))
        assert found.dtype == ops.dtype
        np.testing.assert_array_equal(found, np.eye(4)[x.argmax(axis=1)])

    @required("Ops.normal, Ops.constant")
    def test_numbers_are_the_same_in_every_backend(self, kit: Kit) -> None:
        """Normal numbers are those of vizkit.draws for the same keys; a constant is made once."""
        ops = operations(kit)
        keys = draws.keys(3, range(4))
        found = ops.numpy(ops.normal(ops.asarray(keys), (2, 5)))
        np.testing.assert_allclose(found, draws.normal(keys, 10).reshape(4, 2, 5), rtol=1e-6, atol=1e-6)
        assert ops.constant(np.full, (2,), 3.0) is ops.constant(np.full, (2,), 3.0)
        np.testing.assert_array_equal(ops.numpy(ops.constant(np.full, (2,), 3.0)), [3.0, 3.0])

    @required("Ops.is_out_of_memory")
    def test_errors_of_memory_are_told_from_others(self, kit: Kit) -> None:
        """A MemoryError is one, a ValueError is none: only the former is answered with smaller batches."""
        ops = operations(kit)
        assert ops.is_out_of_memory(MemoryError())
        assert not ops.is_out_of_memory(ValueError("negative dimensions"))
