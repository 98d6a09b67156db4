"""Images in: equal to torchvision's evaluation transform, and every kind of file a user may have."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vizkit
from vizkit import images
from vizkit.errors import ImageError, MapWarning, SettingError
from vizkit.zoo.catalog import imagenet_spec
from vizkit.zoo.spec import make_spec

SPEC = imagenet_spec()


@pytest.mark.quick
@pytest.mark.parametrize("size", [(451, 300), (300, 451), (224, 224), (256, 256), (1000, 260), (50, 40), (225, 223)])
def test_crop_equals_torchvision(size: tuple[int, int], rng: Any) -> None:
    transforms = pytest.importorskip("torchvision.transforms", reason="compares with torchvision")
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(SPEC.mean, SPEC.std),
        ]
    )(image).numpy()
    ours = images.prepare(image, SPEC).tensor[0]
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-6


@pytest.mark.quick
def test_squash_takes_an_image_of_the_right_size_as_it_is() -> None:
    noise = images.noise(150, 180, size=224, seed=3)
    batch = images.prepare(noise, SPEC, fit="squash", input_range="unit")
    np.testing.assert_array_equal(batch.pictures[0], noise)
    np.testing.assert_allclose(batch.tensor[0], noise.transpose(2, 0, 1) / 255.0, rtol=1e-6)
    assert images.prepare(images.sample(), SPEC, fit="squash").pictures.shape == (1, 224, 224, 3)


@pytest.mark.quick
def test_noise_is_seeded_and_in_range() -> None:
    a, b, c = images.noise(seed=1), images.noise(seed=1), images.noise(seed=2)
    np.testing.assert_array_equal(a, b)
    assert (a != c).mean() > 0.9
    assert a.shape == (224, 224, 3)
    assert a.dtype == np.uint8
    assert (a.min(), a.max()) == (150, 180)
    with pytest.raises(SettingError, match="noise"):
        images.noise(200, 100)


@pytest.mark.quick
def test_normalising_and_back(rng: Any) -> None:
    pixels = rng.random((2, 3, 5, 7))
    np.testing.assert_allclose(images.denormalise(images.normalise(pixels, SPEC), SPEC), pixels, rtol=1e-12)
    picture = images.picture(np.array([-1.0, 0.5, 2.0]).reshape(3, 1, 1))
    np.testing.assert_array_equal(picture, [[[0, 128, 255]]])


@pytest.mark.quick
@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16", "F", "PA"])
def test_every_pillow_mode_is_read(tmp_path: Path, mode: str) -> None:
    """A square of mid gray in every mode becomes mid gray; what is transparent becomes white."""
    gray = Image.new("L", (30, 20), 128)
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 30), 128 * 257, np.uint16))
    elif mode in ("RGBA", "LA", "PA"):
        image = gray.convert("RGBA")
        image.putalpha(Image.fromarray(np.repeat([[255] * 15 + [0] * 15], 20, axis=0).astype(np.uint8)))
        image = image if mode == "PA" else image.convert(mode)
    else:
        image = gray.convert(mode)
    read = np.asarray(images.read(image), dtype=int)
    assert read.shape == (20, 30, 3)
    left = read[:, :14]
    if mode != "1":
        assert np.abs(left - 128).max() <= 2
    if mode in ("RGBA", "LA", "PA"):
        assert read[:, 16:].min() == 255
    if mode in ("L", "P", "RGBA", "1"):
        path = tmp_path / "file.png"
        image.save(path)
        np.testing.assert_array_equal(np.asarray(images.read(path)), read)


@pytest.mark.quick
@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm", None])
def test_a_dark_gray_of_16_bits_stays_dark(tmp_path: Path, suffix: str | None) -> None:
    """Its largest value does not say what white is; that of 16 bits is 65535."""
    image = Image.fromarray(np.full((20, 30), 250, np.uint16))
    if suffix is not None:
        image.save(tmp_path / f"dark{suffix}")
    assert np.asarray(images.read(image if suffix is None else tmp_path / f"dark{suffix}")).max() == 1


@pytest.mark.quick
@pytest.mark.parametrize("values", [np.linspace(0, 1, 6), np.linspace(0, 4000, 6), [0, np.nan, 2], [-4000, 9, 9]])
def test_floats_that_do_not_say_what_white_is_are_refused(tmp_path: Path, values: Any) -> None:
    Image.fromarray(np.asarray([values], np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"f.tif' has mode F and values .* taken for 0..255"):
        images.read(tmp_path / "f.tif")
    whole = Image.fromarray(np.asarray([[0, 4000]], np.int32))
    with pytest.raises(ImageError, match="has mode I and values 0 to 4000"):
        images.read(whole)


@pytest.mark.quick
def test_whole_numbers_keep_their_precision_in_a_gray_network() -> None:
    """Of 12 bits in 16, a picture of 8 bits would keep four."""
    spec, gray = make_spec(8, (0.25,), (0.5,)), np.arange(64, dtype=np.uint16).reshape(8, 8) * 60
    wanted = (gray / 65535 - 0.25) / 0.5
    for given in (gray, gray[None], gray[..., None], gray[None, None], gray[None, ..., None]):
        batch = images.prepare(given, spec, fit="squash")
        np.testing.assert_allclose(batch.tensor[0, 0], wanted, atol=1e-7)
        assert batch.pictures.max() == round(63 * 60 / 257)
        small = images.prepare((given // 60).astype(np.uint8), spec, fit="squash")
        np.testing.assert_allclose(small.tensor[0, 0], (gray / 60 / 255 - 0.25) / 0.5, atol=1e-7)


@pytest.mark.quick
def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20), "black")
    image.paste("white", (0, 0, 15, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = np.asarray(images.read(tmp_path / "turned.jpg"))
    assert upright.shape == (30, 20, 3)
    assert upright[:10].min() > 200
    assert upright[20:].max() < 50


@pytest.mark.quick
def test_a_picture_of_the_size_of_a_network_that_says_nothing_is_taken_as_it_is() -> None:
    """Every other is enlarged and cut as of ImageNet's networks; what is said counts for each."""
    noise = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (28, 30, 3), np.uint8)
    own, usual = (make_spec(28, (0.5,) * 3, (0.5,) * 3, resize=resize) for resize in (0, None))
    np.testing.assert_array_equal(images.prepare(noise, own).pictures[0], noise)
    assert images.seen_part((28, 28), (28, 28), own.resize, "crop") == (0, 0, 28, 28)
    for given, spec in ((noise, replace(own, resize=32)), (other, own)):
        wanted = images.prepare(given, usual)
        np.testing.assert_array_equal(images.prepare(given, spec).pictures, wanted.pictures)
        assert images.seen_part((30, 28), (28, 28), spec.resize, "crop") == images.seen_part(
            (30, 28), (28, 28), 32, "crop"
        )


def test_gray_pictures_in_a_networks_size_are_a_batch_whatever_their_number() -> None:
    spec = make_spec(28, (0.13,), (0.3,), resize=0)
    for count in (1, 2, 3, 4):
        given = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        np.testing.assert_array_equal(images.prepare(given, spec, input_range="unit").tensor[:, 0] * 255, given)
    colour = np.random.default_rng(0).integers(0, 256, (3, 40, 40), np.uint8)
    assert len(images.prepare(colour, spec)) == 1  # which is no picture of its size


def test_a_gray_network_gets_one_channel() -> None:
    spec = make_spec(28, (0.5,), (0.5,))
    batch = images.prepare([images.sample(), np.full((40, 40), 255, np.uint8)], spec)
    assert batch.tensor.shape == (2, 1, 28, 28)
    assert batch.pictures.shape == (2, 28, 28, 3)
    np.testing.assert_allclose(batch.tensor[1], 1.0)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.png", "There is no image"),
        (lambda folder: folder, "holds no image "),
        (lambda folder: _write(folder / "text.png", b"hello"), "not an image"),
        (lambda folder: _cut(folder / "cut.png"), "damaged or cut off"),
        (lambda folder: np.zeros((4, 4, 3)), "uint8"),
        (lambda folder: np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (lambda folder: 7, "got a int"),
        (lambda folder: [], "empty"),
    ],
)
def test_bad_images_are_named(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        images.prepare(make(tmp_path), SPEC)


@pytest.mark.quick
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.new("L", (300, 300)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(ImageError, match="refused"):
        images.read(path)


@pytest.mark.quick
def test_bad_settings() -> None:
    with pytest.raises(SettingError, match="fit='stretch'"):
        images.prepare(images.sample(), SPEC, fit="stretch")
    with pytest.raises(SettingError, match="input_range='bytes'"):
        images.prepare(images.sample(), SPEC, input_range="bytes")
    with pytest.raises(SettingError, match="std"):
        make_spec(224, (0.5, 0.5, 0.5), (0.1, 0.0, 0.1))
    for size, mean in ((224, (0.5, 0.5)), (224, ()), ((2, 3, 4, 5), (0.1,)), ((), (0.1,))):
        with pytest.raises(SettingError, match="give one"):
            make_spec(size, mean, (0.1,))
    for wrong in (64.0, (64.0, 64), "64", None):
        with pytest.raises(SettingError, match=r"input_size=.*give one positive side"):
            make_spec(wrong, (0.5,), (0.1,))
    for single in (0.5, None, ("a",)):
        with pytest.raises(SettingError, match=r"mean=.* one number for each channel"):
            make_spec(64, single, (0.1,))
    assert make_spec(np.int64(64), np.full(3, 0.5), [0.1] * 3) == make_spec(64, (0.5,) * 3, (0.1,) * 3)


@pytest.mark.quick
def test_a_mean_of_pixels_in_0_to_255_is_refused() -> None:
    for mean, std in (((123.68, 116.78, 103.94), (58.4, 57.12, 57.38)), ((33.3,), (78.6,))):
        with pytest.raises(SettingError, match=r"mean=.*Divide mean and std .* by 255"):
            make_spec(224, mean, std)
    assert make_spec(224, (1.0,) * 3, (255.0,) * 3).mean == (1.0,) * 3
    for size, mean in ((64, (30.0,) * 4), ((64,), (30.0,)), ((4, 8, 8), (30.0,))):  # which are no pictures
        assert make_spec(size, mean, mean).mean == mean


@pytest.mark.quick
@pytest.mark.parametrize("channels", [1, 3])
def test_floats_that_are_no_pictures_warn_once(channels: int, rng: Any) -> None:
    spec = make_spec(8, (0.45,) * channels, (0.225,) * channels)
    wild = rng.integers(0, 256, (3, channels, 8, 8))
    told = r"between \d and 2\d+ and are used as they are.* 0\.\d+ to 5\d.* as uint8"
    with pytest.warns(MapWarning, match=told) as caught:
        found = images.prepare(wild.astype(np.float32), spec)
    assert [one.filename for one in caught] == [__file__]
    np.testing.assert_array_equal(found.tensor, wild)
    other = make_spec(8, (0.45,) * (channels + 3), (0.225,) * (channels + 3))
    signal = make_spec((8,), (0.45,) * channels, (0.225,) * channels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images.prepare(images.normalise(wild / 255, spec), spec)
        images.prepare(wild.astype(np.uint8), spec)
        images.prepare(rng.normal(0, 8, wild.shape), spec)  # noise of many standard deviations
        images.prepare(images.prepare(wild.astype(np.uint8), spec), spec)
        images.prepare(np.full((2, *other.shape), 255.0), other)
        images.prepare(np.full((2, *signal.shape), 255.0), signal)


@pytest.mark.quick
def test_the_bundled_photo_is_there() -> None:
    assert vizkit.images.read(images.sample()).size == (451, 300)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _cut(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    return path
