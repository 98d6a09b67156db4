"""Lists of millions in little memory: what their members are made of is kept, and each is made when it is asked for."""

from __future__ import annotations

import copy
import itertools
import operator
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

import numpy as np

from ..contract.backend import Array

T = TypeVar("T")
Own = TypeVar("Own", bound="Computed[Any]")


class Computed(Sequence[T]):
    """A sequence whose members are made when they are asked for; equal to any sequence of equal members, and small to
    send to another process, as are its slices. ``by_place`` names what it holds for each member: arrays, or sequences
    like itself."""

    by_place: ClassVar[tuple[str, ...]]

    @abstractmethod
    def one(self, at: int) -> T:
        """The member at a place from 0 on."""

    def pick(self: Own, at: Array) -> Own:
        """The members at these places (n,), as a list of the same kind."""
        found = copy.copy(self)
        for name in self.by_place:
            held = getattr(self, name)
            setattr(found, name, held.pick(at) if isinstance(held, Computed) else held[at])
        return found

    def __len__(self) -> int:
        return len(getattr(self, self.by_place[0]))

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

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.block = b"".join(parts)
        self.ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Names:
        """These texts."""
        return cls([text.encode("utf-8", "surrogateescape") for text in texts])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def one(self, at: int) -> str:
        return self.block[self.ends[at] : self.ends[at + 1]].decode("utf-8", "surrogateescape")

    def encoded(self) -> Iterator[bytes]:
        """All texts as bytes, in a third of the time."""
        return (self.block[start:end] for start, end in itertools.pairwise(self.ends.tolist()))

    def pick(self, at: Array) -> Names:
        return Names([self.block[self.ends[k] : self.ends[k + 1]] for k in at])


@dataclass(eq=False, repr=False)
class Numbered(Computed[str]):
    """Names where there are none: "image 0" and so on."""

    numbers: Array
    by_place = ("numbers",)

    def one(self, at: int) -> str:
        return f"image {self.numbers[at]}"


@dataclass(eq=False, repr=False)
class FirstFolders(Computed["str | None"]):
    """The first folder in each name, which is its label; None where there is none."""

    names: Names
    by_place = ("names",)

    def one(self, at: int) -> str | None:
        first, slash, _ = self.names.one(at).partition("/")
        return first if slash else None


@dataclass(eq=False, repr=False)
class Coded(Computed["str | None"]):
    """Labels as numbers of a list of names; -1 is no label."""

    codes: Array
    known: Sequence[str]
    by_place = ("codes",)

    @classmethod
    def of(cls, values: Iterable[Any], known: Sequence[str] | None = None) -> Coded:
        """The labels that values stand for: a number its name among ``known``, where there are any, or its digits; a
        text itself; None no label."""
        codes: dict[str | None, int] = {None: -1}
        given = (_text(value, known) for value in values)
        found = np.fromiter((codes.setdefault(text, len(codes) - 1) for text in given), np.int32)
        return cls(found, tuple(text for text in codes if text is not None))

    def one(self, at: int) -> str | None:
        code = self.codes[at]
        return None if code < 0 else self.known[code]


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
