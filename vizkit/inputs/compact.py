"""Lists of millions in little memory: what their members are made of is kept, and each is made when it is asked for."""

from __future__ import annotations

import itertools
import operator
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from ..contract.backend import Array

T = TypeVar("T")
Own = TypeVar("Own", bound="Computed[Any]")


class Computed(Sequence[T]):
    """A sequence whose members are made when they are asked for; equal to any sequence of equal members, and small to
    send to another process, as are its slices."""

    @abstractmethod
    def one(self, at: int) -> T:
        """The member at a place from 0 on."""

    @abstractmethod
    def pick(self: Own, at: Array) -> Own:
        """The members at these places (n,), as a list of the same kind."""

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self: Own, at: slice) -> Own: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return self.pick(np.arange(*at.indices(len(self))))
        place = operator.index(at)
        if not -len(self) <= place < len(self):
            raise IndexError(f"There is no member {place} among {len(self)}.")
        return self.one(place % len(self))

    def __iter__(self) -> Iterator[T]:
        return map(self.one, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes) or len(self) != len(other):
            return False
        return all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"<{len(self)} of {type(self).__name__}: {shown}{', ...' if len(self) > 3 else ''}>"


class Names(Computed[str]):
    """Texts one behind the other in one block of bytes: a million file names of 30 letters take 38 MB."""

    def __init__(self, block: bytes, ends: Array) -> None:
        self.block, self.ends = block, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Names:
        """These texts."""
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        return cls(b"".join(encoded), np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def one(self, at: int) -> str:
        """The text at a place."""
        return self.block[self.ends[at] : self.ends[at + 1]].decode("utf-8", "surrogateescape")

    def encoded(self) -> Iterator[bytes]:
        """All texts as bytes, in a third of the time."""
        ends = self.ends.tolist()
        return (self.block[start:end] for start, end in itertools.pairwise(ends))

    def pick(self, at: Array) -> Names:
        """The texts at these places."""
        parts = [self.block[self.ends[k] : self.ends[k + 1]] for k in at]
        return Names(b"".join(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))


class Numbered(Computed[str]):
    """Names where there are none: "image 0" and so on."""

    def __init__(self, numbers: Array) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def one(self, at: int) -> str:
        """The name at a place."""
        return f"image {self.numbers[at]}"

    def pick(self, at: Array) -> Numbered:
        """The names at these places."""
        return Numbered(self.numbers[at])


class Files(Computed[Path]):
    """Files below folders: member k lies in ``roots[of[k]]`` and is called ``names[k]`` there, less the beginning
    ``cuts[of[k]]``, which only tells the folders apart."""

    def __init__(self, names: Names, roots: tuple[str, ...], cuts: tuple[str, ...], of: Array) -> None:
        self.names, self.roots, self.cuts, self.of = names, roots, cuts, of

    def __len__(self) -> int:
        return len(self.names)

    def one(self, at: int) -> Path:
        """The path at a place."""
        return Path(self.roots[self.of[at]], self.names.one(at).removeprefix(self.cuts[self.of[at]]))

    def pick(self, at: Array) -> Files:
        """The paths at these places."""
        return Files(self.names.pick(at), self.roots, self.cuts, self.of[at])

    def states(self) -> Iterator[bytes]:
        """Size and time of each file, without a Path for each of a million."""
        roots = [os.fsencode(os.path.join(root, "")) for root in self.roots]
        cuts = [len(os.fsencode(name)) for name in self.cuts]
        for name, k in zip(self.names.encoded(), self.of.tolist(), strict=True):
            yield state_of(roots[k] + name[cuts[k] :])


class FirstFolders(Computed["str | None"]):
    """The first folder in each name, which is its label; None where there is none."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def one(self, at: int) -> str | None:
        """The label at a place."""
        first, slash, _ = self.names.one(at).partition("/")
        return first if slash else None

    def pick(self, at: Array) -> FirstFolders:
        """The labels at these places."""
        return FirstFolders(self.names.pick(at))


class Coded(Computed["str | None"]):
    """Labels as numbers of a list of names; -1 is no label."""

    def __init__(self, codes: Array, known: Sequence[str]) -> None:
        self.codes, self.known = codes, known

    @classmethod
    def of(cls, values: Iterable[Any], known: Sequence[str] | None = None) -> Coded:
        """The labels that values stand for: a number its name among ``known``, where there are any, or its digits; a
        text itself; None no label."""
        codes: dict[str | None, int] = {None: -1}
        given = (_text(value, known) for value in values)
        found = np.fromiter((codes.setdefault(text, len(codes) - 1) for text in given), np.int32)
        return cls(found, tuple(text for text in codes if text is not None))

    def __len__(self) -> int:
        return len(self.codes)

    def one(self, at: int) -> str | None:
        """The label at a place."""
        code = self.codes[at]
        return None if code < 0 else self.known[code]

    def pick(self, at: Array) -> Coded:
        """The labels at these places."""
        return Coded(self.codes[at], self.known)


def _text(value: Any, known: Sequence[str] | None) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    number = int(value)
    if known is None:
        return str(number)
    return known[number] if 0 <= number < len(known) else None


def state_of(path: str | bytes | os.PathLike[str]) -> bytes:
    """A file's size and time, by which a change is noticed."""
    try:
        found = os.stat(path)
    except OSError:
        return b"missing"
    return f"{found.st_size} {found.st_mtime_ns}".encode()
