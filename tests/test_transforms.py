"""Transforms against SciPy and NumPy, the same in both backends, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE, kit
from scipy import ndimage

import vizkit
from vizkit import transforms as t
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


def ops_of(name: str) -> Any:
    native = kit(name).sequential(TRAPS)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3).ops


@pytest.fixture
def ops(name: str) -> Any:
    return ops_of(name)


@pytest.fixture
def x(rng: np.random.Generator) -> Any:
    return rng.random(SHAPE)


def applied(ops: Any, transform: t.Transform, x: Any, seed: int = 3) -> Any:
    return ops.numpy(transform(ops, ops.asarray(x), np.random.default_rng(seed)))


def drawn(seed: int = 3) -> np.random.Generator:
    """A generator that gives what the transform drew."""
    return np.random.default_rng(seed)


def interpolated(x: Any, height: int, width: int) -> Any:
    """Half-pixel centres, edges repeated, by SciPy."""
    rows = np.clip((np.arange(height) + 0.5) * x.shape[2] / height - 0.5, 0, x.shape[2] - 1)
    columns = np.clip((np.arange(width) + 0.5) * x.shape[3] / width - 0.5, 0, x.shape[3] - 1)
    at = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([[ndimage.map_coordinates(channel, at, order=1) for channel in one] for one in x])


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


def test_scale(ops: Any, x: Any) -> None:
    for seed in range(4):
        factor = drawn(seed).uniform(0.7, 1.4)
        expected = interpolated(x, math.ceil(13 * factor), math.ceil(17 * factor))
        np.testing.assert_allclose(applied(ops, t.Scale(0.7, 1.4), x, seed), expected, atol=1e-12)


@pytest.mark.skipif("torch" not in INSTALLED, reason="compares with PyTorch's interpolation")
def test_resize_is_pytorchs(x: Any) -> None:
    import torch.nn.functional as F

    ops = ops_of("torch")
    expected = F.interpolate(ops.asarray(x), size=(9, 20), mode="bilinear", align_corners=False).numpy()
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
        around = np.pad(x - 0.5, ((0, 0), (0, 0), (1, 1), (1, 1)))  # so that edges fade to outside as in both samplers
        rows, columns = np.meshgrid(*(np.arange(n) for n in sides), indexing="ij")
        at = np.einsum("ij,jhw->ihw", matrix, np.stack([rows - middle[0], columns - middle[1]]))
        at += middle[:, None, None] + 1
        expected = np.stack(
            [[ndimage.map_coordinates(one, at, order=1, cval=0.0) for one in picture] for picture in around]
        )
        np.testing.assert_allclose(applied(ops, t.Rotate(20.0), x, seed), expected + 0.5, atol=1e-10)


def test_a_quarter_turn_is_counterclockwise(ops: Any, rng: np.random.Generator) -> None:
    x = rng.random((1, 3, 9, 9))
    turned = ops.numpy(ops.sample(ops.asarray(x), t.rotation(9, 9, 90.0)))
    np.testing.assert_allclose(turned, np.rot90(x, axes=(2, 3)), atol=1e-12)
    with pytest.raises(SettingError, match="finite"):
        t.rotation(9, 9, math.inf)


def test_rotate_stays_within_two_standard_deviations() -> None:
    class Recorder:
        angles: list[float] = []  # noqa: RUF012

        def asarray(self, at: Any) -> Any:
            return at

        def sample(self, x: Any, at: Any) -> Any:
            middle = at[4, 8] - at[4, 4]
            self.angles.append(np.rad2deg(np.arctan2(middle[0], middle[1])))
            return x

    for seed in range(300):
        t.Rotate(5.0)(Recorder(), np.zeros((1, 3, 9, 9)), np.random.default_rng(seed))
    assert 9.99 < max(np.abs(Recorder.angles)) < 10.01
    assert 4.2 < np.std(Recorder.angles) < 5.4


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7, 6.0])
def test_blur_is_scipys(ops: Any, x: Any, sigma: float) -> None:
    expected = ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    if int(4 * sigma + 0.5) == 1:
        radius = ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, 1, 1))
        np.testing.assert_array_equal(expected, radius)
    np.testing.assert_allclose(ops.numpy(t.blurred(ops, ops.asarray(x), sigma)), expected, atol=1e-12)
    drawn_sigma = drawn().uniform(0.0, sigma)
    if 4 * drawn_sigma >= 0.5:
        expected = ndimage.gaussian_filter(x, (0, 0, drawn_sigma, drawn_sigma), mode="nearest")
        np.testing.assert_allclose(applied(ops, t.Blur(sigma), x), expected, atol=1e-12)


def test_no_blur_is_the_picture_itself(ops: Any, x: Any) -> None:
    np.testing.assert_array_equal(applied(ops, t.Blur(0.0), x), x)
    np.testing.assert_allclose(t.blur_matrix(7, 0.01), np.eye(7), atol=1e-12)


def test_flip_and_its_probability(ops: Any, x: Any) -> None:
    np.testing.assert_array_equal(applied(ops, t.Flip(1.0), x), x[..., ::-1])
    np.testing.assert_array_equal(applied(ops, t.Flip(0.0), x), x)
    turned = sum(not np.array_equal(applied(ops, t.Flip(0.25), x[:1], seed), x[:1]) for seed in range(100))
    assert 15 <= turned <= 35


def test_noise_is_the_same_for_each_picture(ops: Any, x: Any) -> None:
    found = applied(ops, t.Noise(0.1), x) - x
    np.testing.assert_allclose(found, np.repeat(drawn().normal(0.0, 0.1, (1, 3, 13, 17)), 2, axis=0), atol=1e-12)


def test_crop(ops: Any, x: Any) -> None:
    for seed in range(3):
        rng = drawn(seed)
        share = rng.uniform(0.4, 0.9)
        height, width = round(13 * share), round(17 * share)
        top, left = int(rng.integers(0, 14 - height)), int(rng.integers(0, 18 - width))
        part = x[:, :, top : top + height, left : left + width]
        np.testing.assert_allclose(applied(ops, t.Crop(0.4, 0.9), x, seed), interpolated(part, 13, 17), atol=1e-12)
    np.testing.assert_array_equal(applied(ops, t.Crop(1.0, 1.0), x), x)


def test_colour_jitter(ops: Any, x: Any) -> None:
    bright, contrast, saturation = 1 + np.array([0.2, 0.3, 0.4]) * drawn().uniform(-1, 1, 3)
    expected = (x * bright - 0.5) * contrast + 0.5
    gray = np.tensordot(np.array([0.299, 0.587, 0.114]), expected, (0, 1))[:, None]
    expected = gray + saturation * (expected - gray)
    found = applied(ops, t.ColourJitter(0.2, 0.3, 0.4), x)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    gray_only = applied(ops, t.ColourJitter(0.2, 0.3, 0.4), x[:, :1])
    np.testing.assert_allclose(gray_only, (x[:, :1] * bright - 0.5) * contrast + 0.5, atol=1e-12)


def test_the_standard_recipe_is_its_parts_in_order(ops: Any, rng: np.random.Generator) -> None:
    x = rng.random((1, 3, 32, 40))
    expected, generator = x, np.random.default_rng(9)
    for one in t.STANDARD:
        expected = ops.numpy(one(ops, ops.asarray(expected), generator))
    found = ops.numpy(t.compose(t.STANDARD, ops, ops.asarray(x), np.random.default_rng(9)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert [type(one) for one in t.STANDARD] == [t.Pad, t.Jitter, t.Scale, t.Rotate, t.Jitter]


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

    def score(given: dict[str, Any]) -> Any:
        seen = transform(ops, given["x"], np.random.default_rng(3))
        return ops.sum(seen * ops.asarray(weight), (1, 2, 3)), None

    _, found, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
    for _ in range(2):
        along = rng.normal(size=x.shape)
        rise = (applied(ops, transform, x + along) - applied(ops, transform, x - along)) / 2
        np.testing.assert_allclose((ops.numpy(found["x"]) * along).sum(), (rise * weight).sum(), rtol=1e-9, atol=1e-9)
