"""Pictures' files that lie in larger files, tar shards and tables."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ...contract.backend import Array
from ..compact import Coded, Computed, Names, state_of
from ..pictures import Pictures
from ..reading import Reference, decode

Listed = tuple[str, "str | None", tuple[int, int]]
"""A picture's name, its label, and its place."""


@dataclass(frozen=True)
class Packed(Reference):
    """A picture's file in the file ``path``: ``place`` says where, in the words of that file's kind."""

    path: str
    draft: int | None = None
    place: tuple[int, int] = (0, 0)
    name: str = ""

    @property
    def where(self) -> str:
        """In words."""
        return f"{self.name!r} in {self.path!r}"

    @abstractmethod
    def content(self) -> bytes:
        """The picture's file. Raises ImageError."""

    def read(self) -> Image.Image:
        """The picture. Raises ImageError."""
        return decode(self.content(), self.where, self.draft)

    def state(self) -> bytes:
        """Size and time of the file, and the picture's place in it."""
        return state_of(self.path) + self.told(self.place)

    def told(self, place: Sequence[int]) -> bytes:
        """A place in the state."""
        return f" {place[0]} {place[1]} {self.draft}".encode()


@dataclass(eq=False, repr=False)
class AllPacked(Computed[Packed]):
    """Member k is ``names[k]``, at ``places[k]`` in the file of ``files[of[k]]``."""

    files: tuple[Packed, ...]
    of: Array
    places: Array
    names: Names
    by_place = ("of", "places", "names")

    def one(self, at: int) -> Packed:
        file: Packed = self.files[self.of[at]]
        return replace(file, place=tuple(self.places[at].tolist()), name=self.names.one(at))

    def states(self) -> Iterator[bytes]:
        """As each picture's, each file looked at once."""
        files = [state_of(one.path) for one in self.files]
        for k, place in zip(self.of.tolist(), self.places.tolist(), strict=True):
            yield files[k] + self.files[k].told(place)


def unpacked(
    paths: Sequence[str | os.PathLike[str]], look: Callable[[Path], tuple[Packed, Iterable[Listed]]]
) -> Pictures:
    """The pictures of several files, in order; ``look`` gives a file's, and what one of them is like. Their names begin
    with the file's where there are several."""
    files: list[Packed] = []
    names: list[str] = []
    labels: list[str | None] = []
    of: list[int] = []
    places: list[tuple[int, int]] = []
    for k, path in enumerate(map(Path, paths)):
        first = f"{path.stem}/" if len(paths) > 1 else ""
        one, found = look(path)
        files.append(one)
        for name, label, place in found:
            names.append(first + name)
            labels.append(label)
            of.append(k)
            places.append(place)
    listed, at = Names.of(names), np.array(places, np.int64).reshape(-1, 2)
    return Pictures(AllPacked(tuple(files), np.array(of, np.int32), at, listed), listed, Coded.of(labels))
