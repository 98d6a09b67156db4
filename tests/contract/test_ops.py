"""The functions in which frameworks differ, beyond what the contract's suite asks: against SciPy, PyTorch, at edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE, kit
from scipy import ndimage

import vizkit
from vizkit import ops as common


def ops_of(name: str, dtype: str = "float64") -> Any:
    native = kit(name).sequential(TRAPS, dtype=dtype)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3).ops


@pytest.fixture
def ops(name: str) -> Any:
    return ops_of(name)


@pytest.fixture
def torch_ops() -> Any:
    if "torch" not in INSTALLED:
        pytest.skip("this is PyTorch's")
    return ops_of("torch")


SIDES, SEEN = (7, 10), (6, 9)


def places(rng: np.random.Generator) -> tuple[Any, Any]:
    """Inside, outside, between the outermost pixels and nothing, and exactly on pixels and edges."""
    rows, columns = (rng.uniform(-2.5, side + 1.5, SEEN) for side in SIDES)
    rows[0, :6], columns[0, :6] = [0, 6, -0.5, 6.5, -1, 7], [0, 9, -0.5, 9.5, -1, 10]
    rows[1, :4], columns[1, :4] = [3, 3, 0, 6], [4, 4.25, 2.5, 9]
    return rows, columns


def by_scipy(x: Any, rows: Any, columns: Any) -> Any:
    """A frame of zeros, since SciPy leaves a place half a pixel outside at once, and here it fades."""
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    at = [rows + 1, columns + 1]
    return np.stack([[ndimage.map_coordinates(one, at, order=1, cval=0.0) for one in item] for item in framed])


def gradient(ops: Any, x: Any, rows: Any, columns: Any, weight: Any) -> Any:
    """Of ``sum(sample(x) * weight)``."""
    rows, columns, weight = (ops.asarray(one) for one in (rows, columns, weight))

    def score(leaves: dict[str, Any]) -> Any:
        return ops.sum(ops.sample(leaves["x"], rows, columns) * weight, (1, 2, 3)), None

    return ops.numpy(ops.value_and_grad(score, {"x": ops.asarray(x)})[1]["x"])


@pytest.mark.quick
def test_sample_is_scipys(ops: Any, rng: np.random.Generator) -> None:
    x, (rows, columns) = rng.normal(size=(2, 3, *SIDES)), places(rng)
    found = ops.numpy(ops.sample(ops.asarray(x), ops.asarray(rows), ops.asarray(columns)))
    np.testing.assert_allclose(found, by_scipy(x, rows, columns), rtol=0, atol=1e-12)
    outside = (rows <= -1) | (rows >= SIDES[0]) | (columns <= -1) | (columns >= SIDES[1])
    assert 5 < outside.sum() < 50
    np.testing.assert_array_equal(found[:, :, outside], 0.0)
    np.testing.assert_allclose(found[:, :, 1, 0], x[:, :, 3, 4], rtol=1e-14)


@pytest.mark.parametrize("sides", [(1, 5), (5, 1), (1, 1), (2, 2)])
def test_sample_of_a_single_row_or_column(ops: Any, rng: np.random.Generator, sides: tuple[int, int]) -> None:
    x, rows, columns = rng.normal(size=(2, 3, *sides)), *(rng.uniform(-2, side + 1, SEEN) for side in sides)
    rows[0, 0] = columns[0, 0] = 0.0
    found = ops.numpy(ops.sample(ops.asarray(x), ops.asarray(rows), ops.asarray(columns)))
    np.testing.assert_allclose(found, by_scipy(x, rows, columns), rtol=0, atol=1e-12)
    weight = rng.normal(size=(2, 3, *SEEN))
    each = by_scipy(np.eye(sides[0] * sides[1]).reshape(-1, 1, *sides), rows, columns)[:, 0]
    expected = np.einsum("pyx,ncyx->ncp", each, weight).reshape(x.shape)
    np.testing.assert_allclose(gradient(ops, x, rows, columns, weight), expected, rtol=0, atol=1e-12)


@pytest.mark.quick
def test_samples_gradient_by_finite_differences(ops: Any, rng: np.random.Generator) -> None:
    """It is linear, so that its values for single pixels are its derivatives."""
    x, (rows, columns) = rng.normal(size=(2, 3, *SIDES)), places(rng)
    weight = rng.normal(size=(2, 3, *SEEN))
    found = gradient(ops, x, rows, columns, weight)
    pixels = np.eye(SIDES[0] * SIDES[1]).reshape(-1, 1, *SIDES)
    each = by_scipy(pixels, rows, columns)[:, 0]
    expected = np.einsum("pyx,ncyx->ncp", each, weight).reshape(x.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    along = rng.normal(size=x.shape)
    step = (by_scipy(x + along, rows, columns) - by_scipy(x - along, rows, columns)) / 2
    np.testing.assert_allclose((found * along).sum(), (step * weight).sum(), rtol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-15), ("float32", 3e-7)])
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-30, 1e20])
def test_samples_gradient_is_pytorchs(
    torch_ops: Any, rng: np.random.Generator, dtype: str, tolerance: float, size: float
) -> None:
    """Whatever the gradient's size is: it is added up in whole numbers."""
    import torch
    import torch.nn.functional as F

    ops = ops_of("torch", dtype)
    kind = getattr(torch, dtype)
    rows, columns = places(rng)
    weight = size * rng.normal(size=(2, 3, *SEEN)) * 10.0 ** rng.uniform(-3, 0, (2, 3, *SEEN))
    x = torch.from_numpy(rng.normal(size=(2, 3, *SIDES))).to(kind).requires_grad_()
    grid = np.stack([columns * 2 / (SIDES[1] - 1) - 1, rows * 2 / (SIDES[0] - 1) - 1], axis=2)
    seen = F.grid_sample(
        x.double(), torch.from_numpy(np.stack([grid] * 2)), align_corners=True, padding_mode="zeros", mode="bilinear"
    )
    (expected,) = torch.autograd.grad((seen * torch.from_numpy(weight)).sum(), x)
    found = gradient(ops, x.detach().numpy(), rows, columns, weight)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=20 * tolerance * np.abs(weight).max())


@pytest.mark.quick
def test_samples_gradient_has_the_same_digits_in_any_order(torch_ops: Any, rng: np.random.Generator) -> None:
    """Which is what whole numbers are for; a sum of floating-point numbers would not."""
    ops = ops_of("torch", "float32")
    rows, columns = (rng.uniform(0, 3, (40, 40)) for _ in range(2))  # many places to a pixel
    weight, order = rng.normal(size=(1, 2, 40, 40)), rng.permutation(1600)

    def turned(one: Any) -> Any:
        return one.reshape(*one.shape[:-2], 1600)[..., order].reshape(one.shape)

    x = np.zeros((1, 2, 4, 4))
    first = gradient(ops, x, rows, columns, weight)
    again = gradient(ops, x, turned(rows), turned(columns), turned(weight))
    assert np.abs(first).min() > 0
    np.testing.assert_array_equal(first, again)


@pytest.mark.quick
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_no_number_stays_none(torch_ops: Any, rng: np.random.Generator, wrong: float) -> None:
    """Whole numbers know neither: it must not come out as a number."""
    rows, columns = np.meshgrid(np.arange(7.0), np.arange(10.0), indexing="ij")
    weight = rng.normal(size=(1, 3, *SIDES))
    weight[0, 1, 2, 3] = wrong
    found = gradient(torch_ops, np.zeros((1, 3, *SIDES)), rows, columns, weight)
    assert not np.isfinite(found[0, 1, 2, 3])


@pytest.mark.quick
def test_a_gradient_of_zero_is_zero(ops: Any) -> None:
    rows, columns = np.meshgrid(np.arange(7.0) + 0.3, np.arange(10.0), indexing="ij")
    found = gradient(ops, np.ones((1, 3, *SIDES)), rows, columns, np.zeros((1, 3, *SIDES)))
    np.testing.assert_array_equal(found, 0.0)


def counted(ops: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is brought to the device from now on."""
    brought: list[Any] = []
    own = type(ops).asarray

    def asarray(self: Any, array: Any) -> Any:
        brought.append(np.array(array))
        return own(self, array)

    monkeypatch.setattr(type(ops), "asarray", asarray)
    return brought


@pytest.mark.quick
def test_a_constant_is_made_and_uploaded_once(ops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, brought = [], counted(ops, monkeypatch)

    def ramp(count: int, factor: float = 1.0) -> Any:
        made.append((count, factor))
        return factor * np.arange(float(count))

    def other(count: int) -> Any:
        return -np.arange(float(count))

    first = ops.constant(ramp, 3)
    np.testing.assert_array_equal(ops.numpy(first), [0, 1, 2])
    assert ops.constant(ramp, 3) is first
    assert (made, len(brought)) == ([(3, 1.0)], 1)
    np.testing.assert_array_equal(ops.numpy(ops.constant(ramp, 3, 2.0)), [0, 2, 4])
    np.testing.assert_array_equal(ops.numpy(ops.constant(ramp, 4)), [0, 1, 2, 3])
    np.testing.assert_array_equal(ops.numpy(ops.constant(other, 3)), [0, -1, -2])
    assert (made, len(brought)) == ([(3, 1.0), (3, 2.0), (4, 1.0)], 4)


@pytest.mark.quick
def test_arrays_are_arguments_of_constants(ops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their values, shape and kind, and not by where they lie."""
    brought = counted(ops, monkeypatch)

    def doubled(values: Any) -> Any:
        return values * 2.0

    given = np.arange(6.0).reshape(2, 3)
    first = ops.constant(doubled, given)
    assert ops.constant(doubled, given.copy()) is first
    assert ops.constant(doubled, np.asfortranarray(given)) is first
    given[0, 0] = 5.0
    np.testing.assert_array_equal(ops.numpy(first)[0], [0, 2, 4])
    np.testing.assert_array_equal(ops.numpy(ops.constant(doubled, given))[0], [10, 2, 4])
    assert tuple(ops.constant(doubled, given.reshape(3, 2)).shape) == (3, 2)
    whole = np.arange(6).reshape(2, 3)
    bits = np.frombuffer(whole.tobytes(), dtype=np.float64).reshape(2, 3)
    for one in (whole, bits):
        np.testing.assert_array_equal(ops.numpy(ops.constant(doubled, one)), 2.0 * one)
    assert len(brought) == 5


@pytest.mark.quick
def test_the_least_recently_used_constant_goes(ops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "CONSTANTS", 3)
    brought = counted(ops, monkeypatch)
    for number in (1, 2, 3, 1, 4):  # 2 goes
        ops.constant(np.full, (2,), float(number))
    assert len(brought) == 4
    for number in (1, 3, 4):
        ops.constant(np.full, (2,), float(number))
    assert len(brought) == 4
    np.testing.assert_array_equal(ops.numpy(ops.constant(np.full, (2,), 2.0)), [2, 2])
    assert len(brought) == 5


@pytest.mark.quick
def test_backends_constants_are_their_own() -> None:
    first, second = (ops_of(INSTALLED[0]) for _ in range(2))
    assert first.constant(np.ones, 2) is not second.constant(np.ones, 2)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_top_is_the_first_of_the_largest(name: str, dtype: str) -> None:
    ops = ops_of(name, dtype)
    x = np.array([[1, 3, 3, 2], [-1, -1, -1, -1], [0, 5, 1, 5], [-4, -3, -2, -np.inf], [7, 7, 0, 7]], dtype=dtype)
    if dtype == "float64":
        x[3] = [1, 1 + 1e-12, 1, 0]  # which float32 would not tell apart
    found = ops.top(ops.asarray(x))
    assert ops.numpy(found).dtype == dtype
    np.testing.assert_array_equal(ops.numpy(found), np.eye(4)[x.argmax(axis=1)])
    wide = np.random.default_rng(0).normal(size=(3, 1000)).astype(dtype)
    np.testing.assert_array_equal(ops.numpy(ops.top(ops.asarray(wide))), np.eye(1000)[wide.argmax(axis=1)])


@pytest.mark.quick
def test_hats_interpolate(ops: Any, rng: np.random.Generator) -> None:
    values = rng.normal(size=6)
    at = np.concatenate([rng.uniform(-0.999, 5.999, 40), [0, 3, 5, 2.5, -1, 6, -7, 30, -0.25, 5.75]])
    matrix = ops.numpy(ops.hats(ops.asarray(at[:, None]), 6))
    assert matrix.shape == (50, 6)
    expected = np.interp(at, np.arange(-1, 7), np.pad(values, 1), left=0.0, right=0.0)
    np.testing.assert_allclose(matrix @ values, expected, rtol=0, atol=1e-14)
    inside = (at >= 0) & (at <= 5)
    np.testing.assert_allclose(matrix[inside].sum(axis=1), 1.0, rtol=1e-14)
    assert ((matrix > 0).sum(axis=1) <= 2).all()
    np.testing.assert_array_equal(matrix[[40, 41, 43]], [np.eye(6)[0], np.eye(6)[3], [0, 0, 0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(matrix[44:48], 0.0)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 3, 2)])
def test_picks_gradient(ops: Any, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x, index = rng.normal(size=shape), [2, 0, 2, np.int64(4)]
    weight = rng.normal(size=(4, *shape[2:]))
    seen: list[Any] = []

    def score(leaves: dict[str, Any]) -> Any:
        seen.append(ops.pick(leaves["x"], index))
        weighed = ops.reshape(seen[-1] * ops.asarray(weight), (4, -1))
        return ops.sum(weighed, 1), None

    _, found, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
    np.testing.assert_array_equal(ops.numpy(ops.detach(seen[-1])), x[range(4), index])
    expected = np.zeros(shape)
    expected[range(4), index] = weight
    np.testing.assert_array_equal(ops.numpy(found["x"]), expected)


@pytest.mark.quick
def test_along_multiplies_from_both_sides(ops: Any, rng: np.random.Generator) -> None:
    x, down, across = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(6, 5)), rng.normal(size=(4, 3))
    native = [ops.asarray(one) for one in (x, down, across)]
    cases = [
        (ops.along(native[0], rows=native[1], columns=native[2]), down @ x @ across),
        (ops.along(native[0], rows=native[1]), down @ x),
        (ops.along(native[0], columns=native[2]), x @ across),
    ]
    for found, expected in cases:
        np.testing.assert_allclose(ops.numpy(found), expected, atol=1e-13)


@pytest.mark.quick
@pytest.mark.cpu
def test_a_processor_has_no_memory_of_its_own(ops: Any) -> None:
    """So that batches are as large as nobody asked for; and waiting changes nothing."""
    assert ops.memory() is None
    x = ops.asarray([1.0, 2.0])
    ops.wait(x)
    np.testing.assert_array_equal(ops.numpy(x), [1.0, 2.0])
