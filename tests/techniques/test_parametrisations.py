"""Parametrisations against NumPy: the inverse FFT, each picture written by hand, growth, and colours."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit import parametrisations as p
from vizkit.errors import SettingError
from vizkit.objectives import unit
from vizkit.ops import bilinear_matrix, inverse_fourier_matrices

SIDES = [(8, 8), (7, 7), (6, 9), (9, 6), (5, 12), (1, 4), (2, 1)]
KINDS = {"pixels": p.Pixels, "laplacian": p.Laplacian, "fourier": p.Fourier, "phase": p.Phase}


@cache
def ops_of(kit: Any, dtype: str = "float64") -> Any:
    return model_of(kit, dtype).ops


def model_of(kit: Any, dtype: str = "float64") -> Any:
    return vizkit.wrap(kit.sequential(TRAPS, dtype=dtype), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def coloured(raw: Any) -> Any:
    published = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    return sigmoid(np.einsum("ij,njhw->nihw", published / np.sqrt((published**2).sum(axis=0)).max(), raw))


def pictures(ops: Any, shape: p.Parametrisation, leaves: p.Leaves) -> Any:
    return ops.numpy(shape.pictures(ops, {name: ops.asarray(leaf) for name, leaf in leaves.items()}))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("sides", SIDES)
def test_the_inverse_fft_is_numpys(
    kit: Any, rng: np.random.Generator, sides: tuple[int, int], dtype: str, tolerance: float
) -> None:
    height, width = sides
    ops = ops_of(kit, dtype)
    spectrum = rng.normal(size=(2, 3, 2, height, width // 2 + 1))
    expected = np.fft.irfft2(spectrum[:, :, 0] + 1j * spectrum[:, :, 1], s=sides, norm="ortho")
    found = ops.numpy(ops.irfft2(ops.asarray(spectrum), width))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.quick
@pytest.mark.parametrize("sides", SIDES)
def test_the_inverse_fft_as_matrices(rng: np.random.Generator, sides: tuple[int, int]) -> None:
    """Those a framework without an FFT multiplies by, without any framework."""
    height, width = sides
    spectrum = rng.normal(size=(2, height, width // 2 + 1))
    rows, columns = inverse_fourier_matrices(height, width)
    turned = (rows @ spectrum.reshape(2 * height, -1)).reshape(2, height, -1)
    found = np.concatenate(list(turned), axis=1) @ columns
    np.testing.assert_allclose(found, np.fft.irfft2(spectrum[0] + 1j * spectrum[1], s=sides, norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("sides", SIDES[:5])
def test_the_inverse_ffts_gradient(kit: Any, rng: np.random.Generator, sides: tuple[int, int]) -> None:
    """A linear map's gradient is exact: <g, F(s)> has the derivative <g, F(d)> along d."""
    ops, (height, width) = ops_of(kit), sides
    spectrum, along = rng.normal(size=(2, 1, 2, 2, height, width // 2 + 1))
    weight = rng.normal(size=(1, 2, height, width))
    leaves = {"s": ops.asarray(spectrum)}
    _, found, _ = ops.value_and_grad(
        lambda given: (ops.sum(ops.irfft2(given["s"], width) * ops.asarray(weight), (1, 2, 3)), None), leaves
    )
    expected = (weight * np.fft.irfft2(along[:, :, 0] + 1j * along[:, :, 1], s=sides, norm="ortho")).sum()
    np.testing.assert_allclose((ops.numpy(found["s"]) * along).sum(), expected, rtol=1e-10)


@pytest.mark.quick
@pytest.mark.parametrize("sides", [(8, 8), (7, 10)])
def test_a_fourier_picture_by_hand(kit: Any, rng: np.random.Generator, sides: tuple[int, int]) -> None:
    height, width = sides
    spectrum = rng.normal(size=(2, 3, 2, height, width // 2 + 1))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    scaled = (spectrum[:, :, 0] + 1j * spectrum[:, :, 1]) / np.maximum(frequency, 1 / max(sides)) ** 1.5
    expected = coloured(np.fft.irfft2(scaled, s=sides, norm="ortho") / 4)
    found = pictures(ops_of(kit), p.Fourier(sides, decay=1.5), {"spectrum": spectrum})
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.quick
def test_a_picture_of_pixels_by_hand(kit: Any, rng: np.random.Generator) -> None:
    ops, values = ops_of(kit), rng.normal(size=(2, 3, 5, 7))
    np.testing.assert_allclose(pictures(ops, p.Pixels((5, 7)), {"pixels": values}), coloured(values), atol=1e-12)
    plain = p.Pixels((5, 7), decorrelate=False)
    np.testing.assert_allclose(pictures(ops, plain, {"pixels": values}), sigmoid(values), atol=1e-12)
    gray = p.Pixels((5, 7), channels=1)
    np.testing.assert_allclose(pictures(ops, gray, {"pixels": values[:, :1]}), sigmoid(values[:, :1]), atol=1e-12)


@pytest.mark.quick
def test_a_laplacian_picture_by_hand(kit: Any, rng: np.random.Generator) -> None:
    sides = [(9, 13), (4, 6), (2, 3)]
    shape = p.Laplacian((9, 13), levels=3)
    assert {name: leaf.shape for name, leaf in shape.start(rng, 2).items()} == {
        f"level{k}": (2, 3, *side) for k, side in enumerate(sides)
    }
    leaves = {f"level{k}": rng.normal(size=(2, 3, *side)) for k, side in enumerate(sides)}
    raw = sum(
        bilinear_matrix(side[0], 9) @ leaves[f"level{k}"] @ bilinear_matrix(side[1], 13).T
        for k, side in enumerate(sides)
    )
    np.testing.assert_allclose(pictures(ops_of(kit), shape, leaves), coloured(raw), atol=1e-12)


@pytest.mark.quick
@pytest.mark.parametrize("sides", [(8, 8), (7, 10)])
def test_a_phase_picture_by_hand(kit: Any, rng: np.random.Generator, sides: tuple[int, int]) -> None:
    height, width = sides
    shape = p.Phase(sides)
    phase = shape.start(rng, 1)["phase"]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    size = 1 / np.maximum(frequency, 1 / max(sides))
    size[0, 0] = 0
    raw = np.fft.irfft2(size * np.exp(1j * phase[:, :, 0]), s=sides, norm="ortho")
    symmetric = np.fft.irfft2(np.broadcast_to(size, (3, *size.shape)), s=sides, norm="ortho")
    expected = coloured(raw / np.sqrt((symmetric**2).mean()))
    np.testing.assert_allclose(pictures(ops_of(kit), shape, {"phase": phase}), expected, atol=1e-12)


@pytest.mark.quick
def test_phases_magnitudes_stand_for_unit_variance() -> None:
    for sides in [(8, 8), (7, 10), (12, 5)]:
        found = np.fft.irfft2(p.Phase(sides).magnitudes(), s=sides, norm="ortho")
        np.testing.assert_allclose((found**2).mean(axis=(1, 2)), 1.0, rtol=1e-12)
        np.testing.assert_allclose(found.mean(axis=(1, 2)), 0.0, atol=1e-12)
    with pytest.raises(SettingError, match="as magnitude"):
        p.Phase(8, spectrum=np.ones((3, 8, 8))).magnitudes()


@pytest.mark.quick
def test_magnitude_is_the_mean_over_pictures(rng: np.random.Generator) -> None:
    shown = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    values = shown.transpose(0, 3, 1, 2) / 255.0
    values -= values.mean(axis=(2, 3), keepdims=True)
    plain = np.abs(np.fft.rfft2(values, norm="ortho")).mean(axis=0)
    np.testing.assert_allclose(p.magnitude(list(shown), side=16, decorrelate=False), plain, atol=1e-6)
    published = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    inverse = np.linalg.inv(published / np.linalg.norm(published, axis=0).max())
    apart = np.einsum("ij,njhw->nihw", inverse, values)
    expected = np.abs(np.fft.rfft2(apart, norm="ortho")).mean(axis=0)
    found = p.magnitude(list(shown), side=16)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    same_size = p.Phase(16, spectrum=found).magnitudes()
    ratio = same_size[:, 1:-1, 1:-1] / found[:, 1:-1, 1:-1]
    np.testing.assert_allclose(ratio / ratio[:, :1, :1], 1.0, rtol=1e-6)
    assert repr(p.Phase(16, spectrum=found)) != repr(p.Phase(16))
    assert repr(p.Phase(16, spectrum=found)) == repr(p.Phase(16, spectrum=found.copy()))


def test_magnitudes_stay_fixed_through_a_run(kit: Any) -> None:
    """The phases turn; the magnitudes of what the sigmoid is taken of stay, but for the frequencies that a real
    picture's symmetry pairs with themselves or each other within a column."""
    model = model_of(kit)
    shape = p.Phase(16, decorrelate=False)
    start = shape.start(np.random.default_rng(0), 1)
    found = vizkit.render(model, unit("5", 2), parametrisation=shape, steps=12)
    raw = np.log(found.values / (1 - found.values))
    before = np.log(pictures(model.ops, shape, start) / (1 - pictures(model.ops, shape, start)))
    assert np.abs(raw - before).max() > 0.5
    size = np.abs(np.fft.rfft2(raw, norm="ortho"))[0, :, :, 1:-1]
    np.testing.assert_allclose(size, shape.magnitudes()[:, :, 1:-1], rtol=1e-8)


@pytest.mark.quick
@pytest.mark.parametrize("target", [16, (16, 32), (15, 21)])
def test_a_grown_fourier_picture_is_the_same_function(kit: Any, target: Any, rng: np.random.Generator) -> None:
    """At twice the size it passes through the very pixels of the small one, for a picture without the highest
    frequency, which an even size cannot tell from its mirror image."""
    shape, ops = p.Fourier((8, 8), decorrelate=False), ops_of(kit)
    spectrum = rng.normal(size=(2, 3, 2, 8, 5))
    spectrum[..., 4, :] = spectrum[..., 4] = 0.0
    height, width = p.sides(target)
    small = pictures(ops, shape, {"spectrum": spectrum})
    grown = pictures(ops, shape.resized(target), shape.grow({"spectrum": spectrum}, target))
    assert grown.shape == (2, 3, height, width)
    coefficients = np.fft.fft2(np.log(small / (1 - small)))
    rows, columns = (np.arange(n)[:, None] * np.fft.fftfreq(8)[None] * 8 / n for n in (height, width))
    raw = np.exp(2j * np.pi * rows) @ coefficients @ np.exp(2j * np.pi * columns).T / 64
    np.testing.assert_allclose(grown, sigmoid(raw.real), atol=1e-10)
    if target == 16:
        np.testing.assert_allclose(grown[..., ::2, ::2], small, atol=1e-10)


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["pixels", "laplacian"])
def test_a_grown_picture_is_the_small_one_interpolated(kit: Any, kind: str, rng: np.random.Generator) -> None:
    shape, ops = KINDS[kind]((8, 6), decorrelate=False), ops_of(kit)
    leaves = {name: rng.normal(size=leaf.shape) for name, leaf in shape.start(rng, 2).items()}
    small = pictures(ops, shape, leaves)
    grown = pictures(ops, shape.resized((16, 12)), shape.grow(leaves, (16, 12)))
    if kind == "pixels":
        raw = bilinear_matrix(8, 16) @ np.log(small / (1 - small)) @ bilinear_matrix(6, 12).T
        np.testing.assert_allclose(grown, sigmoid(raw), atol=1e-10)
    wide = sum(
        bilinear_matrix(max(1, 16 >> k), 16)
        @ bilinear_matrix(leaf.shape[2], max(1, 16 >> k))
        @ leaf
        @ (bilinear_matrix(max(1, 12 >> k), 12) @ bilinear_matrix(leaf.shape[3], max(1, 12 >> k))).T
        for k, leaf in enumerate(leaves.values())
    )
    np.testing.assert_allclose(grown, sigmoid(wide), atol=1e-10)


@pytest.mark.quick
def test_a_grown_phase_picture_keeps_its_phases(rng: np.random.Generator) -> None:
    shape = p.Phase(8)
    phase = shape.start(rng, 2)["phase"]
    grown = shape.grow({"phase": phase}, 16)["phase"]
    assert grown.shape == (2, 3, 1, 16, 9)
    rows = np.array([0, 1, 2, 3, -3, -2, -1])
    np.testing.assert_array_equal(grown[..., rows, :4], phase[..., rows, :4])
    np.testing.assert_array_equal(grown[0, :, :, 8], grown[1, :, :, 8])  # what is new is the same for each picture
    assert np.unique(grown[0, :, :, 8]).size > 20


@pytest.mark.quick
@pytest.mark.parametrize("kind", KINDS)
def test_moments_grow_with_their_leaves(kind: str, rng: np.random.Generator) -> None:
    shape = KINDS[kind]((8, 10), alpha=True)
    moments = {name: rng.uniform(1, 2, leaf.shape) for name, leaf in shape.start(rng, 2).items()}
    leaves = shape.grow(shape.start(rng, 2), (12, 20))
    found = shape.grow_moment(moments, (12, 20))
    assert {name: one.shape for name, one in found.items()} == {name: one.shape for name, one in leaves.items()}
    assert all((one > 0.99).all() and (one < 2.01).all() for one in found.values())  # as large as they were: no jump
    for name in set(found) & {"spectrum", "phase"}:
        np.testing.assert_array_equal(found[name][..., :4, :5], moments[name][..., :4, :5])
        np.testing.assert_allclose(found[name][..., 5:7, 8:], moments[name].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_and_sizes_of_every_kind(kit: Any, kind: str) -> None:
    ops = ops_of(kit)
    for sides in [(5, 9), 8, (1, 1)]:
        shape = KINDS[kind](sides, alpha=True)
        leaves = shape.start(np.random.default_rng(1), 2)
        native = {name: ops.asarray(leaf) for name, leaf in leaves.items()}
        found = pictures(ops, shape, leaves)
        assert found.shape == (2, 3, *p.sides(sides))
        assert ((found > 0) & (found < 1)).all()
        np.testing.assert_allclose(found[0], found[1], rtol=1e-14)  # sines of a batch may part in the last digit
        np.testing.assert_allclose(ops.numpy(shape.opacity(ops, native)), sigmoid(leaves["alpha"]), rtol=1e-12)
        assert KINDS[kind](sides).opacity(ops, native) is None
    with pytest.raises(SettingError, match="at least 1"):
        KINDS[kind](0).start(np.random.default_rng(0), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_by_finite_differences(kit: Any, kind: str, rng: np.random.Generator) -> None:
    ops, shape = ops_of(kit), KINDS[kind]((6, 7))
    start = {name: rng.normal(size=leaf.shape) for name, leaf in shape.start(rng, 2).items()}
    weight = rng.normal(size=(2, 3, 6, 7))
    _, found, _ = ops.value_and_grad(
        lambda given: (ops.sum(shape.pictures(ops, given) * ops.asarray(weight), (1, 2, 3)), None),
        {name: ops.asarray(leaf) for name, leaf in start.items()},
    )
    for name, leaf in start.items():
        along = rng.normal(size=leaf.shape)
        high, low = (
            (pictures(ops, shape, start | {name: leaf + step * along}) * weight).sum() for step in (1e-5, -1e-5)
        )
        np.testing.assert_allclose((ops.numpy(found[name]) * along).sum(), (high - low) / 2e-5, rtol=1e-6, atol=1e-9)
