"""Which images a folder holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import ImageError
from .batch import ImageInput
from .reading import read

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""What counts as an image inside a folder; a file named by itself may have any suffix."""


@dataclass(frozen=True)
class Skipped:
    """Something that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Pictures:
    """A list of images, not yet read: ``items`` are paths, Pillow images or uint8 arrays, ``names`` what they are
    called, ``labels`` the class of each (None: unknown), ``skipped`` the folders that could not be listed."""

    items: tuple[Any, ...]
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def fingerprint(self) -> str:
        """SHA-256 over names, and over sizes and times of files or the pixels of arrays: another list, or a file that
        was written since, gives another one. No file is read."""
        digest = hashlib.sha256()
        for name, item in zip(self.names, self.items, strict=True):
            digest.update(f"{name}\0".encode("utf-8", "surrogateescape"))
            digest.update(_state(item))
        return digest.hexdigest()


def _state(item: Any) -> bytes:
    if isinstance(item, Path):
        try:
            found = item.stat()
        except OSError:
            return b"missing"
        return f"{found.st_size} {found.st_mtime_ns}".encode()
    pixels = np.ascontiguousarray(np.asarray(item))
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest()


def find(*paths: str | os.PathLike[str]) -> Pictures:
    """The images of folders, with everything below them, and image files named by themselves.

    Sorted by name. Links to folders are followed, and each folder is visited once, so that loops end. Names that begin
    with a dot are left out. An image's label is the first folder below the one given ("cat" for ``cats/cat/a.png``);
    with several paths each folder's own name comes first, so that it is the label. No image is read.

    Returns:
        :class:`Pictures`; its ``skipped`` names folders that cannot be listed.

    Raises:
        ImageError for a path that does not exist, or when there is no image at all.

    Example:
        >>> import tempfile, shutil
        >>> from vizkit import folders, images
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = shutil.copy(images.sample(), folder)
        ...     folders.find(folder).names
        ('cat.jpg',)
    """
    if not paths:
        raise ImageError("No folder was given; give a folder of images, or image files.")
    items: list[Path] = []
    names: list[str] = []
    skipped: list[Skipped] = []
    for path in map(Path, paths):
        if not path.exists():
            raise ImageError(f"There is no file or folder {str(path)!r} (looked in {path.absolute().parent}).")
        if not path.is_dir():
            items.append(path)
            names.append(path.name)
            continue
        first = f"{path.resolve().name}/" if len(paths) > 1 else ""
        for file in sorted(_walk(path, skipped), key=lambda file: file.relative_to(path).as_posix()):
            items.append(file)
            names.append(first + file.relative_to(path).as_posix())
    if not items:
        unread = f" {len(skipped)} folders could not be listed: {skipped[0].reason}." if skipped else ""
        raise ImageError(f"{', '.join(map(str, paths))} holds no image ({', '.join(SUFFIXES)}).{unread}")
    labels = tuple(name.split("/")[0] if "/" in name else None for name in names)
    return Pictures(tuple(items), tuple(names), labels, tuple(skipped))


def _walk(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Image files below ``root``, each folder once."""

    def failed(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), error.strerror or str(error)))

    seen: set[tuple[int, int]] = set()
    for folder, inside, files in os.walk(root, onerror=failed, followlinks=True):
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in seen:
            inside.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(folder, name)


def readable(found: Pictures) -> Pictures:
    """Those of the pictures that can be read, the others among ``skipped``; every file is read once.

    Raises ImageError when none can be read.
    """
    kept: list[int] = []
    skipped = list(found.skipped)
    for place, item in enumerate(found.items):
        try:
            read(item)
        except ImageError as error:
            skipped.append(Skipped(found.names[place], str(error)))
        else:
            kept.append(place)
    if not kept:
        raise ImageError(f"None of the {len(found)} images can be read. The first: {skipped[-len(found)].reason}")
    return Pictures(
        tuple(found.items[k] for k in kept),
        tuple(found.names[k] for k in kept),
        tuple(found.labels[k] for k in kept),
        tuple(skipped),
    )


def collect(given: Pictures | ImageInput, labels: Sequence[str | None] | None = None) -> Pictures:
    """Whatever a user has, as :class:`Pictures`: a folder, an image file, a Pillow image, a uint8 array (H, W, 3) or
    (N, H, W, 3), or a list of these. ``labels``, one for each image, replace those from the folders' names.

    Raises ImageError for what is no image, or for labels of another number.
    """
    found = given if isinstance(given, Pictures) else _collect(given)
    if labels is None:
        return found
    if len(labels) != len(found):
        raise ImageError(f"{len(labels)} labels for {len(found)} images; give one for each.")
    return Pictures(found.items, found.names, tuple(labels), found.skipped)


def _collect(given: Any) -> Pictures:
    if isinstance(given, str | os.PathLike):
        return find(given)
    if isinstance(given, np.ndarray) and given.ndim == 4:
        given = list(given)
    listed = list(given) if isinstance(given, list | tuple) else [given]
    if listed and all(isinstance(item, str | os.PathLike) for item in listed):
        return find(*listed)
    if not listed:
        raise ImageError("The list of images is empty; give at least one.")
    items = tuple(Path(item) if isinstance(item, str | os.PathLike) else item for item in listed)
    names = tuple(item.name if isinstance(item, Path) else f"image {i}" for i, item in enumerate(items))
    return Pictures(items, names, (None,) * len(items))
