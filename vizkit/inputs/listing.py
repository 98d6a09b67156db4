"""Which images a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.backend import Array
from ..contract.errors import ImageError, SettingError
from .batch import Batch, ImageInput
from .compact import Computed, FirstFolders, Names, state_of
from .pictures import SUFFIXES, Pictures, Skipped
from .reading import Draft, Reference, read
from .sources import READERS, SHARDS, dataset
from .sources.data import is_dataset


def find(*paths: str | os.PathLike[str], draft: int | None = None) -> Pictures:
    """The images of folders, with everything below them, and image files named by themselves.

    Sorted by name. Links to folders are followed, and each folder is visited once, so that loops end. Names that begin
    with a dot are left out. An image's label is the first folder below the one given ("cat" for ``cats/cat/a.png``);
    with several paths each folder's own name comes first, so that it is the label. No image is read.

    A tar shard, or a Parquet or Arrow table, stands for its pictures (:mod:`vizkit.sources`), and so does a folder
    that holds such files and no image.

    Args:
        paths: folders and files; shards and tables not mixed with others.
        draft: let JPEG files be decoded at a half, a quarter or an eighth of their size as long as their shorter side
            keeps so many pixels, 512 for example: several times faster for large photos. Pixels are then not the same
            to the last bit, so that values differ a little from those without.

    Returns:
        :class:`Pictures`; its ``skipped`` names folders that cannot be listed.

    Raises:
        ImageError for a path that does not exist, or when there is no image at all; SettingError for the draft.

    Example:
        >>> import tempfile, shutil
        >>> from vizkit import folders, images
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = shutil.copy(images.sample(), folder)
        ...     tuple(folders.find(folder).names)
        ('cat.jpg',)
    """
    if not paths:
        raise ImageError("No folder was given; give a folder of images, or image files.")
    if draft is not None and draft < 1:
        raise SettingError(f"draft={draft}: expected the least pixels of a photo's shorter side, 512 for example.")
    given = [Path(path) for path in paths]
    for path in given:
        if not path.exists():
            raise ImageError(f"There is no file or folder {str(path)!r} (looked in {path.absolute().parent}).")
    if any(path.suffix.lower() in SHARDS and path.is_file() for path in given):
        return _shards(given, draft)
    names: list[str] = []
    counts: list[int] = []
    roots: list[tuple[str, str]] = []
    skipped: list[Skipped] = []
    for path in given:
        whole = path.is_dir()
        first = f"{path.resolve().name}/" if len(given) > 1 and whole else ""
        found = sorted(_walk(path, SUFFIXES, skipped)) if whole else [path.name]
        names += [first + name for name in found] if first else found
        counts.append(len(found))
        root = path if whole else path.parent
        roots.append((str(root if draft is None else root.absolute()), first))
    if names:
        listed = Names.of(names)
        of = np.repeat(np.arange(len(roots), dtype=np.int32), counts)
        files = Files(listed, tuple(root for root, _ in roots), tuple(first for _, first in roots), of, draft)
        return Pictures(files, listed, FirstFolders(listed), tuple(skipped))
    shards = [Path(path, name) for path in given for name in sorted(_walk(path, SHARDS, []))]
    if shards:
        return _shards(shards, draft)
    unread = f" {len(skipped)} folders could not be listed: {skipped[0].reason}." if skipped else ""
    raise ImageError(f"{', '.join(map(str, paths))} holds no image ({', '.join(SUFFIXES)}).{unread}")


@dataclass(eq=False, repr=False)
class Files(Computed[Any]):
    """Files below folders: member k lies in ``roots[of[k]]`` and is called ``names[k]`` there, less the beginning
    ``cuts[of[k]]``, which only tells the folders apart. With a ``draft`` each is a :class:`Draft`."""

    names: Names
    roots: tuple[str, ...]
    cuts: tuple[str, ...]
    of: Array
    draft: int | None = None
    by_place = ("names", "of")

    def one(self, at: int) -> Path | Draft:
        path = Path(self.roots[self.of[at]], self.names.one(at).removeprefix(self.cuts[self.of[at]]))
        return path if self.draft is None else Draft(path, self.draft)

    def states(self) -> Iterator[bytes]:
        """As each file's, without a Path for each of a million."""
        roots = [os.fsencode(os.path.join(root, "")) for root in self.roots]
        cuts = [len(os.fsencode(name)) for name in self.cuts]
        told = b"" if self.draft is None else f" {self.draft}".encode()
        for name, k in zip(self.names.encoded(), self.of.tolist(), strict=True):
            yield state_of(roots[k] + name[cuts[k] :]) + told


def _shards(paths: Sequence[Path], draft: int | None) -> Pictures:
    first, *others = [READERS.get(path.suffix.lower()) for path in paths]
    other = next((path for path, reader in zip(paths[1:], others, strict=True) if reader is not first), None)
    if first is None or other is not None:
        raise ImageError(
            f"{paths[0]} and {other} are of different kinds: give folders and images, or tar shards, or tables."
        )
    return first(*paths, draft=draft)


def _walk(root: Path, suffixes: tuple[str, ...], skipped: list[Skipped]) -> Iterator[str]:
    """Files below ``root`` with these suffixes, as names from there with slashes, each folder once."""

    def failed(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), error.strerror or str(error)))

    seen: set[tuple[int, int]] = set()
    above = len(str(root))
    for folder, inside, files in os.walk(root, onerror=failed, followlinks=True):
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in seen:
            inside.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        below = folder[above:].strip(os.sep).replace(os.sep, "/")
        first = f"{below}/" if below else ""
        for name in files:
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield first + name


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
    some = found.part(kept)
    return Pictures(some.items, some.names, some.labels, tuple(skipped))


def collect(given: Pictures | ImageInput, labels: Sequence[str | None] | None = None) -> Pictures:
    """Whatever a user has, as :class:`Pictures`: a folder, an image file, a tar shard, a Parquet or Arrow table, a
    Pillow image, a uint8 array (H, W, 3) or (N, H, W, 3), a list of these, or a data set or loader as
    :func:`vizkit.sources.dataset` takes them. ``labels``, one for each image, replace those from the folders' names.

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
    if is_dataset(given) and not isinstance(given, Computed | Batch):
        return dataset(given)
    if isinstance(given, np.ndarray) and given.ndim == 4:
        given = list(given)
    listed = list(given) if isinstance(given, list | tuple | Computed) else [given]
    if listed and all(isinstance(item, str | os.PathLike) for item in listed):
        return find(*listed)
    if not listed:
        raise ImageError("The list of images is empty; give at least one.")
    items = tuple(Path(item) if isinstance(item, str | os.PathLike) else item for item in listed)
    named = (getattr(item, "name", None) if isinstance(item, Path | Reference) else None for item in items)
    names = tuple(name or f"image {i}" for i, name in enumerate(named))
    return Pictures(items, names, (None,) * len(items))
