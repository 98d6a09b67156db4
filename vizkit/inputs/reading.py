"""Files, arrays and Pillow images as RGB pictures."""

from __future__ import annotations

import io
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..contract.backend import Array
from ..contract.errors import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What bytes may be: formats that Pillow decodes itself, without another program."""
MOST_PIXELS = 50_000_000
"""Pixels of a picture that comes as bytes."""


def sample() -> Path:
    """The bundled photo of a cat (CC0, by Stefan van der Walt), 451 x 300 pixels."""
    return Path(str(files("vizkit.zoo") / "data" / "cat.jpg"))


def read(image: Any) -> Image.Image:
    """An upright RGB (or, for gray sources, still RGB) Pillow image from a path, a Pillow image, an array, or the bytes
    of an image file, which are taken for a stranger's: only :data:`FORMATS`, and at most :data:`MOST_PIXELS`.

    Honours EXIF orientation; palettes, gray, 16-bit gray and CMYK become RGB; transparency is laid on white. Arrays are
    uint8 of shape (H, W, 3) or (H, W). Raises ImageError naming the file.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(image))
    if isinstance(image, bytes):
        return _from_bytes(image)
    if not isinstance(image, str | os.PathLike):
        raise ImageError(
            f"An image is a path, a Pillow image, a uint8 array of shape (H, W, 3), or a list of them; got a "
            f"{type(image).__name__}."
        )
    path = Path(image)
    if not path.exists():
        raise ImageError(f"There is no image {str(path)!r} (looked in {path.resolve().parent}).")
    if path.is_dir():
        raise ImageError(f"{str(path)!r} is a folder; give an image file.")
    try:
        with Image.open(path) as opened:
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise ImageError(
            f"{str(path)!r} is not an image that Pillow can read. Give a PNG, JPEG, WebP or the like."
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{str(path)!r} is refused: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read, it is damaged or cut off: {error}") from None


def _from_bytes(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ImageError(
                    f"The picture has {opened.width} x {opened.height} pixels; at most {MOST_PIXELS // 10**6} million "
                    "are read. Make it smaller."
                )
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise ImageError(f"This is no image. Give one of {', '.join(FORMATS)}.") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"The picture is refused: {error}") from None
    except Exception as error:  # whatever a decoder makes of damaged bytes
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"The picture cannot be read, it is damaged or cut off: {error}") from None


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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        high = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Image.fromarray(np.clip(values * (255.0 / high), 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
