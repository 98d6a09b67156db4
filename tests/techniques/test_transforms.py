"""Transforms against SciPy and NumPy, the same in both backends, and their gradients."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE, kit
from scipy import ndimage

import vizkit
from vizkit import transforms as t
from vizkit.contract import draws
from vizkit.errors import SettingError, ShapeError

SHAPE = (2, 3, 13, 17)
ALL = {
    "pad": t.Pad(3),
    "pad_reflect": t.Pad(3, "reflect"),
    "jitter": t.Jitter(5),
    "scale": t.Scale(0.7, 1.4),
    "rotate": t.Rotate(20.0),
    "blur": t.Blur(2.0),
    "flip": t.Flip(1.0),
    "noise": t.Noise(0.1),
    "crop": t.Crop(0.4, 0.9),
    "colour": t.ColourJitter(0.2, 0.3, 0.4),
    "resize": t.Resize((9, 20)),
}


@cache
def ops_of(name: str) -> Any:
    native = kit(name).sequential(TRAPS)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3).ops


@pytest.fixture
def ops(name: str) -> Any:
    return ops_of(name)


@pytest.fixture
def x(rng: np.random.Generator) -> Any:
    return rng.random(SHAPE)


def numbers(ops: Any, transform: t.Transform, seed: int) -> Any:
    """What a transform draws, native; as the renderer gives it, at least one number."""
    return ops.asarray([transform.draw(np.random.default_rng(seed)) or (0.0,)])


def applied(ops: Any, transform: t.Transform, x: Any, seed: int = 3) -> Any:
    return ops.numpy(transform(ops, ops.asarray(x), numbers(ops, transform, seed)))


def drawn(seed: int = 3) -> np.random.Generator:
    """A generator that gives what the transform drew."""
    return np.random.default_rng(seed)


def read(x: Any, rows: Any, columns: Any) -> Any:
    """Pictures between pixels, at rows x columns, by SciPy; zero where nothing is."""
    at = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([[spline(channel, at) for channel in one] for one in x])


def spline(channel: Any, at: Any) -> Any:
    """Linear; a frame of zeros, since SciPy leaves a place half a pixel outside at once, and here it fades."""
    return ndimage.map_coordinates(np.pad(channel, 1), [one + 1 for one in at], order=1, cval=0.0)


@pytest.mark.quick
def test_pad(ops: Any, x: Any) -> None:
    sides = ((0, 0), (0, 0), (3, 3), (3, 3))
    np.testing.assert_array_equal(applied(ops, t.Pad(3), x), np.pad(x, sides, constant_values=0.5))
    np.testing.assert_array_equal(applied(ops, t.Pad(3, value=0.1), x), np.pad(x, sides, constant_values=0.1))
    np.testing.assert_array_equal(applied(ops, t.Pad(3, "reflect"), x), np.pad(x, sides, mode="reflect"))


def test_jitter_is_a_crop_and_reaches_every_place(ops: Any, x: Any) -> None:
    found = set()
    for seed in range(40):
        top, left = drawn(seed).integers(0, 3, 2)
        np.testing.assert_array_equal(applied(ops, t.Jitter(2), x, seed), x[:, :, top : top + 11, left : left + 15])
        found.add((int(top), int(left)))
    assert len(found) == 9
    with pytest.raises(ShapeError, match="more than the whole picture of 13 x 17"):
        applied(ops, t.Jitter(13), x)


def test_scale_is_scipys_zoom_about_the_middle(ops: Any, x: Any) -> None:
    for seed in range(8):
        factor = drawn(seed).uniform(0.7, 1.4)
        rows, columns = ((np.arange(side) - (side - 1) / 2) / factor + (side - 1) / 2 for side in SHAPE[2:])
        for value in (0.5, 0.2):
            expected = read(x - value, rows, columns) + value
            np.testing.assert_allclose(applied(ops, t.Scale(0.7, 1.4, value), x, seed), expected, atol=1e-12)
        corner = applied(ops, t.Scale(0.7, 1.4, 0.2), x, seed)[..., 0, 0]
        assert np.allclose(corner, 0.2) == (factor < 1 and (1 / factor - 1) * 8 >= 1)
    np.testing.assert_allclose(applied(ops, t.Scale(1.0, 1.0), x), x, atol=1e-14)


@pytest.mark.quick
def test_twice_as_large_shows_the_middle(ops: Any) -> None:
    """By hand: the middle pixel stays, a neighbour moves from one pixel away to two."""
    x = np.zeros((1, 3, 7, 7))
    x[..., 3, 3], x[..., 3, 4] = 1.0, 0.8
    found = applied(ops, t.Scale(2.0, 2.0), x)
    np.testing.assert_allclose(found[0, 0, 3], [0, 0, 0.5, 1.0, 0.9, 0.8, 0.4], atol=1e-14)


@pytest.mark.quick
@pytest.mark.skipif("torch" not in INSTALLED, reason="compares with PyTorch's interpolation")
def test_resize_is_pytorchs(x: Any) -> None:
    import torch.nn.functional as F

    ops = ops_of("torch")
    expected = F.interpolate(ops.asarray(x), size=(9, 20), mode="bilinear", align_corners=False).cpu().numpy()
    np.testing.assert_allclose(applied(ops, t.Resize((9, 20)), x), expected, atol=1e-12)
    np.testing.assert_array_equal(applied(ops, t.Resize((13, 17)), x), x)


@pytest.mark.parametrize("sides", [(13, 17), (16, 16), (9, 8)])
def test_rotate_is_scipys(ops: Any, rng: np.random.Generator, sides: tuple[int, int]) -> None:
    x = rng.random((2, 3, *sides))
    for seed in range(3):
        degrees = float(np.clip(drawn(seed).normal(0.0, 20.0), -40, 40))
        turn = np.deg2rad(degrees)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        middle = (np.array(sides) - 1) / 2
        rows, columns = np.meshgrid(*(np.arange(n) for n in sides), indexing="ij")
        at = np.einsum("ij,jhw->ihw", matrix, np.stack([rows - middle[0], columns - middle[1]]))
        at += middle[:, None, None]
        expected = np.stack([[spline(one, at) for one in picture] for picture in x - 0.5])
        np.testing.assert_allclose(applied(ops, t.Rotate(20.0), x, seed), expected + 0.5, atol=1e-10)


@pytest.mark.quick
def test_a_quarter_turn_is_counterclockwise(ops: Any, rng: np.random.Generator) -> None:
    x = rng.random((1, 3, 9, 9))
    turned = ops.numpy(t.Rotate()(ops, ops.asarray(x), ops.asarray([[np.pi / 2]])))
    np.testing.assert_allclose(turned, np.rot90(x, axes=(2, 3)), atol=1e-12)
    with pytest.raises(SettingError, match="finite"):
        t.Rotate(float("inf")).draw(rng)


@pytest.mark.quick
def test_rotate_stays_within_two_standard_deviations() -> None:
    angles = np.rad2deg([t.Rotate(5.0).draw(np.random.default_rng(seed))[0] for seed in range(300)])
    assert 9.99 < max(np.abs(angles)) < 10.01
    assert 4.2 < np.std(angles) < 5.4


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7, 6.0])
def test_blur_is_scipys(ops: Any, x: Any, sigma: float) -> None:
    expected = ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    if int(4 * sigma + 0.5) == 1:
        radius = ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, 1, 1))
        np.testing.assert_array_equal(expected, radius)
    np.testing.assert_allclose(ops.numpy(t.blurred(ops, ops.asarray(x), sigma)), expected, atol=1e-12)
    reach = max(1, int(4 * sigma + 0.5))
    for seed in range(4):
        own = drawn(seed).uniform(0.0, sigma)
        expected = ndimage.gaussian_filter(x, (0, 0, own, own), mode="nearest", radius=(0, 0, reach, reach))
        np.testing.assert_allclose(applied(ops, t.Blur(sigma), x, seed), expected, atol=1e-12)


@pytest.mark.quick
def test_no_blur_is_the_picture_itself(ops: Any, x: Any) -> None:
    np.testing.assert_array_equal(applied(ops, t.Blur(0.0), x), x)
    none = t.Blur(3.0)(ops, ops.asarray(x), ops.asarray([[t.SHARP]]))
    np.testing.assert_array_equal(ops.numpy(none), x)
    np.testing.assert_array_equal(ops.numpy(t.blurred(ops, ops.asarray(x), 0.0)), x)
    np.testing.assert_allclose(t.blur_matrix(7, 0.01), np.eye(7), atol=1e-12)


def test_flip_and_its_probability(ops: Any, x: Any) -> None:
    np.testing.assert_array_equal(applied(ops, t.Flip(1.0), x), x[..., ::-1])
    np.testing.assert_array_equal(applied(ops, t.Flip(0.0), x), x)
    turned = sum(not np.array_equal(applied(ops, t.Flip(0.25), x[:1], seed), x[:1]) for seed in range(100))
    assert 15 <= turned <= 35


@pytest.mark.quick
def test_noise_is_the_same_for_each_picture(ops: Any, x: Any) -> None:
    for seed in range(3):
        key = np.array([drawn(seed).integers(0, 1 << 24, 2)], dtype=np.float64)
        expected = 0.1 * draws.normal(key, 3 * 13 * 17).reshape(1, 3, 13, 17)
        np.testing.assert_allclose(applied(ops, t.Noise(0.1), x, seed) - x, np.repeat(expected, 2, 0), atol=1e-12)
        assert 0.08 < expected.std() < 0.12


@pytest.mark.quick
def test_crop(ops: Any, x: Any) -> None:
    """A part of the sides' share, its middle between its outermost places, enlarged; edges are repeated."""
    for seed in range(4):
        rng = drawn(seed)
        share, *offsets = rng.uniform(0.4, 0.9), rng.random(), rng.random()
        places = []
        for side, offset in zip(SHAPE[2:], offsets, strict=True):
            first = offset * (side - share * side)  # of the part's edge, in pixels from the picture's
            at = first + (np.arange(side) + 0.5) * share - 0.5
            assert at[0] >= first - 0.5
            assert at[-1] <= first + share * side - 0.5
            places.append(np.clip(at, 0, side - 1))
        np.testing.assert_allclose(applied(ops, t.Crop(0.4, 0.9), x, seed), read(x, *places), atol=1e-12)
    np.testing.assert_allclose(applied(ops, t.Crop(1.0, 1.0), x), x, atol=1e-13)


@pytest.mark.quick
def test_a_crop_of_half_by_hand(ops: Any) -> None:
    """The upper left quarter of 4 x 4 pixels at twice the size is PyTorch's and Pillow's enlargement of it, with what
    lies beyond in place of repeated edges."""
    x = np.broadcast_to(np.arange(4.0), (1, 3, 4, 4))
    found = ops.numpy(t.Crop()(ops, ops.asarray(x), ops.asarray([[0.5, 0.0, 0.0]])))
    np.testing.assert_allclose(found[0, 0], np.tile([0.0, 0.25, 0.75, 1.25], (4, 1)), atol=1e-14)
    found = ops.numpy(t.Crop()(ops, ops.asarray(x), ops.asarray([[0.5, 0.0, 1.0]])))
    np.testing.assert_allclose(found[0, 0], np.tile([1.75, 2.25, 2.75, 3.0], (4, 1)), atol=1e-14)


@pytest.mark.quick
def test_colour_jitter(ops: Any, x: Any) -> None:
    bright, contrast, saturation = 1 + np.array([0.2, 0.3, 0.4]) * drawn().uniform(-1, 1, 3)
    expected = (x * bright - 0.5) * contrast + 0.5
    gray = np.tensordot(np.array([0.299, 0.587, 0.114]), expected, (0, 1))[:, None]
    expected = gray + saturation * (expected - gray)
    found = applied(ops, t.ColourJitter(0.2, 0.3, 0.4), x)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    gray_only = applied(ops, t.ColourJitter(0.2, 0.3, 0.4), x[:, :1])
    np.testing.assert_allclose(gray_only, (x[:, :1] * bright - 0.5) * contrast + 0.5, atol=1e-12)


@pytest.mark.quick
def test_the_standard_recipe_is_its_parts_in_order(ops: Any, rng: np.random.Generator) -> None:
    x = rng.random((1, 3, 32, 40))
    kinds = (*t.STANDARD, t.Resize(20), t.Noise(0.1), t.ColourJitter())
    expected, generator = x, np.random.default_rng(9)
    for one in kinds:
        own = ops.asarray([one.draw(generator) or (0.0,)])
        expected = ops.numpy(one(ops, ops.asarray(expected), own))
    every = t.draw(kinds, np.random.default_rng(9))
    assert len(every) == sum(one.numbers for one in kinds)
    for more in ((), (0.3, 0.7)):  # what is drawn for others may follow
        found = ops.numpy(t.compose(kinds, ops, ops.asarray(x), ops.asarray([[*every, *more]])))
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert [type(one) for one in t.STANDARD] == [t.Pad, t.Jitter, t.Scale, t.Rotate, t.Jitter]


@pytest.mark.quick
@pytest.mark.parametrize("case", ALL)
def test_as_many_numbers_are_drawn_as_said(case: str) -> None:
    for seed in range(5):
        found = ALL[case].draw(np.random.default_rng(seed))
        assert len(found) == ALL[case].numbers
        assert all(isinstance(one, float) for one in found)
        assert found == ALL[case].draw(np.random.default_rng(seed))
        assert all(np.float32(one) == one for one in found) or case not in ("jitter", "flip", "noise")


SIZES = {
    "pad": (6, 6), "pad_reflect": (6, 6), "jitter": (-5, -5), "scale": (0, 0), "rotate": (0, 0), "blur": (0, 0),
    "flip": (0, 0), "noise": (0, 0), "crop": (0, 0), "colour": (0, 0),
}  # fmt: skip
"""What the picture grows by, whatever is drawn."""


@pytest.mark.parametrize("sides", [(13, 17), (10, 9)])
@pytest.mark.parametrize("case", ALL)
def test_the_size_depends_on_the_size_alone(ops: Any, case: str, sides: tuple[int, int]) -> None:
    """So that a device can repeat a step with other numbers."""
    x = np.zeros((1, 3, *sides))
    more = SIZES.get(case)
    wanted = (9, 20) if more is None else (sides[0] + more[0], sides[1] + more[1])
    for seed in range(5):
        assert applied(ops, ALL[case], x, seed).shape == (1, 3, *wanted)


@both()
@pytest.mark.parametrize("case", ALL)
def test_both_backends_give_the_same(case: str, x: Any) -> None:
    found = [applied(ops_of(name), ALL[case], x) for name in INSTALLED]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-10)


@pytest.mark.parametrize("case", ALL)
def test_every_picture_of_a_batch_is_treated_alike(ops: Any, x: Any, case: str) -> None:
    found = applied(ops, ALL[case], x)
    for k in range(2):
        np.testing.assert_allclose(found[k], applied(ops, ALL[case], x[k : k + 1])[0], atol=1e-12)


@pytest.mark.parametrize("case", ALL)
def test_gradients_by_finite_differences(ops: Any, x: Any, case: str, rng: np.random.Generator) -> None:
    """All are affine in the picture, so that the difference quotient is exact."""
    transform = ALL[case]
    weight = rng.normal(size=applied(ops, transform, x).shape)
    own = numbers(ops, transform, 3)

    def score(given: dict[str, Any]) -> Any:
        seen = transform(ops, given["x"], own)
        return ops.sum(seen * ops.asarray(weight), (1, 2, 3)), None

    _, found, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
    for _ in range(2):
        along = rng.normal(size=x.shape)
        rise = (applied(ops, transform, x + along) - applied(ops, transform, x - along)) / 2
        np.testing.assert_allclose((ops.numpy(found["x"]) * along).sum(), (rise * weight).sum(), rtol=1e-9, atol=1e-9)
