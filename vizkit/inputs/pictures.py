"""A list of pictures that are not read yet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compact import Computed, Names, state_of
from .reading import Reference

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""What counts as an image inside a folder or a shard; a file named by itself may have any suffix."""


@dataclass(frozen=True)
class Skipped:
    """Something that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Pictures:
    """A list of images, not yet read: ``items`` are paths, Pillow images, uint8 arrays or references into a shard,
    a table or a data set (:class:`vizkit.sources.Reference`), ``names`` what they are called, ``labels`` the class of
    each (None: unknown), ``skipped`` the folders that could not be listed. Those of a folder or a source are made as
    they are asked for, so that a million of them take some 50 MB."""

    items: Sequence[Any]
    names: Sequence[str]
    labels: Sequence[str | None]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def part(self, which: slice | Sequence[int]) -> Pictures:
        """The pictures of a slice or at these places, without what was skipped: small to send to another process."""
        at = np.arange(len(self))[which] if isinstance(which, slice) else np.asarray(which, np.int64)
        return Pictures(_part(self.items, at), _part(self.names, at), _part(self.labels, at))

    def fingerprint(self) -> str:
        """SHA-256 over names, and over sizes and times of files or the pixels of arrays: another list, or a file that
        was written since, gives another one. No file is read. Of a data set in memory only what names it is looked
        at."""
        digest = hashlib.sha256()
        names = self.names if isinstance(self.names, Names) else Names.of(self.names)
        states = self.items.states() if hasattr(self.items, "states") else map(_state, self.items)
        for name, state in zip(names.encoded(), states, strict=True):
            digest.update(name + b"\0" + state)
        return digest.hexdigest()


def _part(listed: Sequence[Any], at: Any) -> Sequence[Any]:
    return listed.pick(at) if isinstance(listed, Computed) else tuple(listed[int(k)] for k in at)


def _state(item: Any) -> bytes:
    if isinstance(item, Reference):
        return item.state()
    if isinstance(item, os.PathLike):
        return state_of(item)
    pixels = np.ascontiguousarray(np.asarray(item))
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest()
