"""A weights file that is read with a length in hand: no claim inside it allocates more than the file holds."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np

from vizkit.contract.errors import WeightsError
from vizkit.zoo.formats.kinds import Array, Kind

_CHUNK = 1 << 20


class Source:
    """The bytes ``position`` to ``end`` of an open file; every read is checked against ``end`` before it allocates."""

    def __init__(self, path: Path, file: BufferedReader, size: int) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self.end = size
        self.file = file

    def corrupt(self, what: str) -> WeightsError:
        """The error for a file whose content is not what its format says."""
        return WeightsError(
            f"The weights file '{self.path}' cannot be used: {what}. It may be damaged or cut short: "
            "fetch or save it again, or give another file."
        )

    def refused(self, what: str, advice: str) -> WeightsError:
        """The error for a file that is sound and holds something that is not read; ``advice`` says what to do."""
        return WeightsError(f"The weights file '{self.path}' cannot be used: {what}. {advice}")

    def seek(self, position: int, length: int | None = None) -> None:
        """Go to ``position``; reads then end ``length`` bytes further on (default: at the end of the file)."""
        if not 0 <= position <= self.size or not 0 <= (length or 0) <= self.size - position:
            raise self.corrupt(f"it refers to bytes outside the {self.size} that it has")
        self.file.seek(position)
        self.position = position
        self.end = self.size if length is None else position + length

    def need(self, count: int) -> None:
        """Raise unless ``count`` more bytes are there."""
        if not 0 <= count <= self.end - self.position:
            there = self.end - self.position
            raise self.corrupt(f"{_big(count)} bytes are announced at byte {self.position}, where {there} are left")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        self.need(count)
        data = self.file.read(count)
        if len(data) != count:
            raise self.corrupt(f"it became shorter while it was read, at byte {self.position}")
        self.position += count
        return data

    def skip(self, count: int) -> None:
        """Go ``count`` bytes on."""
        self.need(count)
        end = self.end
        self.seek(self.position + count)
        self.end = end

    def unpack(self, layout: str) -> tuple[int, ...]:
        """The next integers, as the ``struct`` module describes them."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def line(self, limit: int = 512) -> str:
        """The text up to the next line feed, at most ``limit`` bytes."""
        data = self.file.readline(min(limit, self.end - self.position))
        self.position += len(data)
        if not data.endswith(b"\n"):
            raise self.corrupt(f"a name that should end before byte {self.position} does not")
        return data[:-1].decode("utf-8", "backslashreplace")

    def numbers(self, kind: Kind, count: int, *, swapped: bool = False, crc: int = 0) -> Array:
        """The next ``count`` elements as a one-dimensional array of ``kind.loaded``.

        Read in pieces, so that widening half precision costs no second copy. ``crc`` is the CRC-32 that the bytes
        must have; 0 means that none was recorded.
        """
        self.need(count * kind.itemsize)
        values: Array = np.empty(count, kind.loaded)
        raw_type = kind.raw(swapped)
        direct = raw_type == values.dtype
        seen = 0
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            piece: Array = values[start:stop] if direct else np.empty(stop - start, raw_type)
            self._fill(piece.view(np.uint8).data)
            if crc:
                seen = zlib.crc32(piece.view(np.uint8).data, seen)
            if not direct:
                values[start:stop] = kind.widen(piece)
        if crc and seen != crc:
            raise self.corrupt(f"the checksum of the {count * kind.itemsize} bytes before {self.position} is wrong")
        return values

    def _fill(self, target: memoryview) -> None:
        """Fill ``target`` from the file, however many reads that takes."""
        done = 0
        while done < len(target):
            got = self.file.readinto(target[done:])
            if not got:
                raise self.corrupt(f"it became shorter while it was read, at byte {self.position}")
            done += got
        self.position += done


def metadata_from(source: Source, text: bytes) -> dict[str, str]:
    """Metadata from their JSON: an object of strings."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise source.corrupt("its metadata are damaged")
    return found


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """``path`` as a Source.

    Raises:
        WeightsError: there is no such file, it is a folder, or the system cannot read it.
    """
    if path.is_dir():
        raise WeightsError(f"'{path}' is a folder, expected a weights file: name the file inside it.")
    if path.exists() and not path.is_file():
        raise WeightsError(f"'{path}' is a device or a pipe, expected a weights file: copy its content to a file.")
    try:
        with path.open("rb") as file:
            yield Source(path, file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        raise WeightsError(f"There is no weights file '{path}': check the path.") from None
    except OSError as error:
        raise WeightsError(f"The weights file '{path}' cannot be read: {error.strerror or error}.") from None


def _big(count: int) -> str:
    return str(count) if abs(count) < 1 << 64 else "far too many"
