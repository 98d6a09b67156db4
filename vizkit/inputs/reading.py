"""Files, arrays, Pillow images and references to pictures within something larger, as RGB pictures."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..contract.backend import Array
from ..contract.errors import ImageError
from .compact import state_of

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What bytes may be: formats that Pillow decodes itself, without another program."""
SIXTEEN = ("PNG", "PPM")
"""Whose mode I is 16-bit gray, 0..65535."""
BEYOND = 300
"""What a value may be that is taken for one of 0..255: resampling overshoots."""
MOST_PIXELS = 50_000_000
"""Pixels of a picture that comes as bytes."""


def sample() -> Path:
    """The bundled photo of a cat (CC0, by Stefan van der Walt), 451 x 300 pixels."""
    return Path(str(files("vizkit.zoo") / "data" / "cat.jpg"))


class Reference(ABC):
    """Where a picture lies within something larger, such as a shard: small, so that it can be sent to another process,
    which reads it there. Whoever has a source of his own gives a list of these."""

    @abstractmethod
    def read(self) -> Any:
        """The picture: a Pillow image, an array, or a tensor in the network's own shape. Raises ImageError."""

    @abstractmethod
    def state(self) -> bytes:
        """By what a change of the picture is noticed without reading it, such as the file's size and time."""


@dataclass(frozen=True)
class Draft(Reference):
    """A photo's file that is decoded at a half, a quarter or an eighth of its size where it is a JPEG and its shorter
    side stays at least ``least`` pixels."""

    path: Path
    least: int

    def read(self) -> Image.Image:
        """The photo, smaller. Raises ImageError."""
        return read(self.path, self.least)

    def state(self) -> bytes:
        """Size and time of the file, and the least size."""
        return state_of(self.path) + f" {self.least}".encode()


def read(image: Any, draft: int | None = None) -> Image.Image:
    """An upright RGB (or, for gray sources, still RGB) Pillow image from a path, a Pillow image, an array, a
    :class:`Reference`, or the bytes of an image file, which are taken for a stranger's: only :data:`FORMATS`, and at
    most :data:`MOST_PIXELS`.

    Honours EXIF orientation; palettes, gray and CMYK become RGB; transparency is laid on white. 16-bit gray is
    0..65535, however dark it is; Pillow's modes I and F, which do not say what white is, are 0..255 as Pillow makes
    them, and refused where their values say otherwise. Arrays are uint8 of shape (H, W, 3) or (H, W). ``draft`` lets a
    JPEG file be decoded at a half, a quarter or an eighth of its size as long as its shorter side keeps so many pixels:
    several times faster for large photos, but their pixels are not the same to the last bit. Raises ImageError naming
    the file.
    """
    if isinstance(image, Reference):
        return read(image.read())
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(image), image.format, "A Pillow image")
    if isinstance(image, bytes):
        return decode(image, "What was brought", strange=True)
    if not isinstance(image, str | os.PathLike):
        raise ImageError(
            f"An image is a path, a Pillow image, a uint8 array of shape (H, W, 3), or a list of them; got a "
            f"{type(image).__name__}."
        )
    path = Path(image)
    return decode(path, repr(str(path)), draft)


def decode(file: Path | bytes, name: str, draft: int | None = None, *, strange: bool = False) -> Image.Image:
    """The picture of a file or of its bytes, as :func:`read` has it; ``name`` is what a message calls it, ``strange``
    whether it is a stranger's."""
    formats = FORMATS if strange else None
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=formats) as opened:
            if strange and opened.width * opened.height > MOST_PIXELS:
                raise ImageError(
                    f"{name} has {opened.width} x {opened.height} pixels; at most {MOST_PIXELS // 10**6} million are "
                    "read. Make it smaller."
                )
            if draft is not None:
                opened.draft(None, (draft, draft))
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened), opened.format, name)
    except FileNotFoundError:
        raise ImageError(f"There is no image {name} (looked in {Path(os.fsdecode(file)).resolve().parent}).") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder; give an image file.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not an image that Pillow can read. Give a PNG, JPEG, WebP or the like.") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is refused: {error}") from None
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # whatever Pillow's many formats raise: one picture of a million must not end a run
        raise ImageError(f"{name} cannot be read, it is damaged or cut off: {error}") from None


def _from_array(array: Array) -> Image.Image:
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or 0 in array.shape
    ):
        raise ImageError(
            f"An image array must be uint8 of shape (H, W, 3) or (H, W); got {array.dtype} of shape {array.shape}."
            + (" Multiply values in 0..1 by 255 and convert." if array.dtype.kind == "f" else "")
        )
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _to_rgb(image: Image.Image, kind: str | None, name: str) -> Image.Image:
    """``kind`` is the format of the file."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        low, high = values.min(), values.max()
        if image.mode.startswith("I;16") or (image.mode == "I" and kind in SIXTEEN):
            values /= 257
        elif not (low >= 255 - BEYOND and high <= BEYOND) or (image.mode == "F" and 0 < high <= 1):
            raise ImageError(
                f"{name} has mode {image.mode} and values {low:.4g} to {high:.4g}: those of this mode are taken for "
                "0..255. Scale them to that, or give 8-bit or 16-bit gray."
            )
        return Image.fromarray(np.clip(values, 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
