"""Images in, images out: files, Pillow images and arrays become the network's input as torchvision's evaluation
transform makes it, and network inputs become pictures again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from ..contract.backend import Array, cpu_count
from ..contract.errors import ImageError, SettingError, one_of, warn
from ..contract.model import Model
from ..contract.spec import InputSpec, usual_resize
from .batch import AS_GIVEN, Batch, ImageInput
from .reading import read, sample
from .ready import each, plain

FITS = ("crop", "squash")
RANGES = ("imagenet", "unit")
SLACK = 0.02
"""How far beyond 0..1 a picture may be that is shown as it is."""
MIXED = "Some of these images are arrays of floats, used as they are, and some are not: give one kind."
FAR = 20.0
"""How far from 0 a picture of floats may be, where 1 is white: noise of many standard deviations is not there yet, and
0..255, normalised or not, is beyond."""
MOST_THREADS = 16
"""That make pictures ready side by side."""


def fit_image(image: Image.Image, spec: InputSpec, fit: str) -> Image.Image:
    """The image at the network's size, by Pillow's antialiased bilinear filter.

    "crop": shorter side to ``spec.resize``, then the centre, exactly as torchvision's evaluation transform, also for an
    image that has the network's size already, but of a network whose spec says nothing; "squash": straight to the size,
    which takes such an image as it is.
    """
    one_of("fit", fit, FITS)
    height, width = spec.size
    if fit == "squash":
        return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)
    scaled = _scaled(image.size, spec.size, spec.resize)
    if max(height - scaled[1], width - scaled[0]) > 0:
        raise SettingError(
            f"fit='crop' scales to {scaled}, which is smaller than the input {(width, height)}; use 'squash'."
        )
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = _corner(scaled, (height, width))
    return image.crop((left, top, left + width, top + height))


def _scaled(photo: tuple[int, int], size: tuple[int, ...], resize: int) -> tuple[int, int]:
    """(width, height) of a photo once its shorter side is ``resize``; 0 as ``make_spec`` has it."""
    w, h = photo
    if not resize:
        if (h, w) == tuple(size[:2]):
            return photo
        resize = usual_resize(size)
    other = int(resize * max(w, h) / min(w, h))
    return (resize, other) if w <= h else (other, resize)


def _corner(scaled: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    return round((scaled[0] - size[1]) / 2.0), round((scaled[1] - size[0]) / 2.0)


def seen_part(
    photo: tuple[int, int], size: tuple[int, ...], resize: int, fit: str
) -> tuple[float, float, float, float]:
    """Which part of a photo (width, height) a network of input ``size`` (height, width) sees: left, top, right, bottom
    in the photo's pixels."""
    if fit == "squash":
        return 0.0, 0.0, float(photo[0]), float(photo[1])
    scaled = _scaled(photo, size, resize)
    left, top = _corner(scaled, (size[0], size[1]))
    across, down = photo[0] / scaled[0], photo[1] / scaled[1]
    return left * across, top * down, (left + size[1]) * across, (top + size[0]) * down


def prepare(image: ImageInput, spec: InputSpec, *, fit: str = "crop", input_range: str = "imagenet") -> Batch:
    """Images as the network's input.

    Files, Pillow images and uint8 pictures are fitted. ``input_range="imagenet"``: pixels divided by 255, less the
    mean, over the standard deviation, per channel, equal to torchvision's evaluation transform; ``"unit"``: pixels in
    0..1 as they are. Other whole numbers (C, H, W) or (H, W, C), of 16 bits or of other channels, likewise, over the
    largest number of their kind. An array or tensor of floats in the network's own shape, one or a batch, is ready: it
    is used as it is, and so is a :class:`Batch`, whatever ``fit`` and ``input_range``. A folder stands for its
    pictures, a generator or a loader for all that it gives. Raises ImageError or SettingError.
    """
    if isinstance(image, Batch):
        return image
    one_of("input_range", input_range, RANGES)
    named = list(each(image, spec))
    if not named:
        raise ImageError("The list of images is empty; give at least one.")
    names, listed = tuple(name for name, _ in named), [item for _, item in named]
    ready = [isinstance(item, np.ndarray) and item.dtype.kind == "f" for item in listed]
    if all(ready):
        arrays = np.stack(listed)
        _check_range(arrays, spec)
        return as_given(arrays, spec, names)
    if any(ready):
        raise ImageError(MIXED)
    if spec.extent:
        raise ImageError(f"This network takes arrays of shape {spec.shape}, and no pictures.")
    height, width = spec.size
    tensor = np.empty((len(listed), spec.channels, height, width), np.float32)
    pictures = np.empty((len(listed), height, width, 3), np.uint8)
    moments = _moments(tensor, spec) if input_range == "imagenet" else None
    coloured = spec.channels in (1, 3)
    others = [isinstance(item, np.ndarray) and item.dtype != np.uint8 for item in listed]

    def one(i: int, item: Any) -> None:
        if not coloured or others[i]:
            tensor[i] = fit_channels(item, spec, fit)
            if coloured:
                pictures[i] = picture(tensor[i])
        else:
            own = isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.shape == (height, width, 3)
            if own and fit == "squash" and spec.channels == 3:
                pictures[i] = seen = item
            else:
                fitted = fit_image(read(item), spec, fit)
                pictures[i] = seen = np.asarray(fitted)
                if spec.channels == 1:
                    seen = np.asarray(fitted.convert("L"))[..., None]
            tensor[i] = seen.transpose(2, 0, 1)
            tensor[i] /= np.float32(255)
        if moments is not None:
            tensor[i] -= moments[0]
            tensor[i] /= moments[1]

    # Pillow and NumPy let other threads run meanwhile. A Pillow image is read in turn before: one that stands in the
    # list twice must not be decoded by two.
    first = [read(item) if isinstance(item, Image.Image) else item for item in listed]
    if len(first) == 1:
        one(0, first[0])
    else:
        with ThreadPoolExecutor(min(MOST_THREADS, cpu_count())) as pool:
            list(pool.map(one, range(len(first)), first))
    if not coloured:
        pictures = for_the_eye(tensor, spec)
    sources = tuple(listed) if coloured and not any(others) else ()
    return Batch(tensor, pictures, names, input_range, sources, fit, spec.resize)


def _check_range(arrays: Array, spec: InputSpec) -> None:
    """Warn of floats (N, C, ...) that are to be used as they are, and can be no pictures as the network reads them."""
    if spec.extent or spec.channels not in (1, 3):
        return
    planes = np.moveaxis(arrays, 1, 0).reshape(spec.channels, -1)
    low, high = (one(planes, axis=1).astype(np.float64) for one in (np.min, np.max))
    seen = np.stack([low, high]) * spec.std + spec.mean
    if seen.max() > FAR or seen.min() < -FAR:
        warn(
            f"These floats lie between {low.min():.4g} and {high.max():.4g} and are used as they are. Seen as "
            f"pictures, times std plus mean, that is {seen.min():.4g} to {seen.max():.4g}, where black is 0 and white "
            "1, so what the network answers means little. Give pictures of 0..255 as uint8, or floats that are "
            "normalised: vizkit.images.normalise(pixels / 255, model.spec), channels first."
        )


def as_given(arrays: Array, spec: InputSpec, names: Sequence[str]) -> Batch:
    """A batch of arrays (N, C, ...) in the network's own shape that are used as they are."""
    exact = arrays if arrays.dtype in (np.float32, np.float64) else arrays.astype(np.float32)
    tensor = np.ascontiguousarray(exact).reshape(len(arrays), spec.channels, *spec.size)
    return Batch(tensor, for_the_eye(tensor, spec), tuple(names), AS_GIVEN)


def for_the_eye(tensor: Array, spec: InputSpec) -> Array:
    """Pictures uint8 (N, H, W, 3) of network inputs (N, C, H, W), normalised: as they are where that are gray or
    colour pictures; else the first three channels, or the first, each picture from its least to its largest value. Of
    a volume it is the slice in the middle, of a signal a row for each channel."""
    if len(spec.extent) == 3:
        depth, height, width = spec.extent
        tensor = tensor.reshape(len(tensor), -1, depth, height, width)[:, :, depth // 2]
    elif spec.extent:
        tensor = tensor.reshape(len(tensor), 1, spec.channels, -1)
    shown = tensor.astype(np.float64)
    if spec.channels in (1, 3) and not spec.extent:
        shown = denormalise(shown, spec)
        if shown.min(initial=0) >= -SLACK and shown.max(initial=1) <= 1 + SLACK:
            return picture(shown)
    elif shown.shape[1] not in (1, 3):
        shown = shown[:, :3] if shown.shape[1] > 3 else shown[:, :1]
    low, high = (one(shown, axis=(1, 2, 3), keepdims=True) for one in (np.min, np.max))
    return picture((shown - low) / np.where(high > low, high - low, 1))


def fit_channels(array: Any, spec: InputSpec, fit: str) -> Array:
    """A picture of whole numbers (C, H, W) at the network's size, channel by channel, over the largest number of its
    kind: (C, H, W) in 0..1."""
    if not isinstance(array, np.ndarray):
        raise ImageError(
            f"This network takes {spec.channels} channels: give an array (H, W, {spec.channels}) or "
            f"({spec.channels}, H, W); got {array!r}."
        )
    high = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0
    planes = (Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in array)
    return np.stack([np.asarray(fit_image(plane, spec, fit), np.float32) / np.float32(high) for plane in planes])


def fingerprint(image: ImageInput) -> str:
    """Twelve hexadecimal digits of the SHA-256 of what an image, or a list of them, shows; ImageError as in
    :func:`read`."""
    if isinstance(image, Batch):
        shown: list[Array] = [image.tensor]
    else:
        listed = image if isinstance(image, list | tuple) else [image]
        shown = [np.asarray(read(one)) if (array := plain(one)) is None else array for one in listed]
    found = hashlib.sha256()
    for one in shown:
        found.update(f"{one.shape}:".encode() + np.ascontiguousarray(one).tobytes())
    return found.hexdigest()[:12]


def normalise(pixels: Array, spec: InputSpec) -> Array:
    """(N, C, H, W) in 0..1 to the network's range: less the mean, over the standard deviation."""
    mean, std = _moments(pixels, spec)
    return np.asarray((pixels - mean) / std)


def denormalise(tensor: Array, spec: InputSpec) -> Array:
    """The inverse of :func:`normalise`: the network's range to 0..1, not clipped."""
    mean, std = _moments(tensor, spec)
    return np.asarray(tensor * std + mean)


def _moments(pixels: Array, spec: InputSpec) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel (C, 1, 1), in the dtype of ``pixels``."""
    mean, std = (np.asarray(one, dtype=pixels.dtype)[:, None, None] for one in (spec.mean, spec.std))
    return mean, std


def picture(pixels: Array) -> Array:
    """(..., C, H, W) in 0..1, clipped, to uint8 (..., H, W, 3) for the eye; one channel becomes three."""
    moved = np.moveaxis(np.clip(pixels, 0.0, 1.0), -3, -1)
    if moved.shape[-1] == 1:
        moved = np.repeat(moved, 3, axis=-1)
    return np.asarray((moved * 255).round().astype(np.uint8))


def noise(low: float = 150.0, high: float = 180.0, *, size: int = 224, seed: int = 0) -> Array:
    """A picture of uniform noise between two gray levels of 0..255: uint8 (size, size, 3), the same for the same seed.

    Give it to a technique with ``fit="squash"``, which takes it as it is; "crop" would resample it.

    >>> noise(150, 180, size=4).shape
    (4, 4, 3)
    """
    if not 0 <= low <= high <= 255 or size < 1:
        raise SettingError(f"noise({low}, {high}, size={size}): expected 0 <= low <= high <= 255 and a positive size.")
    values = np.random.default_rng(seed).uniform(low, high, (size, size, 3))
    return np.asarray(values.round().astype(np.uint8))


Model.reader = staticmethod(prepare)

__all__ = [
    "AS_GIVEN",
    "FITS",
    "RANGES",
    "Batch",
    "ImageInput",
    "as_given",
    "denormalise",
    "fingerprint",
    "fit_channels",
    "fit_image",
    "for_the_eye",
    "noise",
    "normalise",
    "picture",
    "prepare",
    "read",
    "sample",
    "seen_part",
]
