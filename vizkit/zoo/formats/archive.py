"""The directory of a zip archive whose records are stored as they are: what ``torch.save`` writes since 1.6.

Parsed here and not by ``zipfile``, which trusts the directory's length and builds an object of many hundred bytes for
each claimed record; and whose exceptions on damaged archives differ from one Python to the next.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vizkit.zoo.formats.kinds import MAX_TENSORS, shown
from vizkit.zoo.formats.source import Source

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_DIRECTORY = 32 << 20


@dataclass(frozen=True)
class Record:
    """One record: where its local header starts, how long its data is, and the CRC-32 of that (0: not recorded)."""

    name: str
    header: int
    size: int
    crc: int
    stored: bool


def records(source: Source) -> dict[str, Record]:
    """The records of the archive by name.

    Raises:
        WeightsError: no directory, one that points outside the file, or records that together exceed the file.
    """
    count, length, offset = _directory(source)
    if count > 2 * MAX_TENSORS or length > _MAX_DIRECTORY or count * _ENTRY.size > length:
        raise source.corrupt(f"its directory announces {count} records in {length} bytes")
    source.seek(offset, length)
    found: dict[str, Record] = {}
    for _ in range(count):
        record = _entry(source)
        if record.name in found:
            raise source.corrupt(f"it holds two records named {shown(record.name)}")
        found[record.name] = record
    if sum(record.size for record in found.values() if record.stored) > source.size:
        raise source.corrupt("its records overlap")
    return found


def enter(source: Source, record: Record) -> None:
    """Place ``source`` at the data of ``record``, bounded by its length."""
    if not record.stored:
        raise source.corrupt(f"its record {shown(record.name)} is compressed or encrypted, which torch.save never does")
    source.seek(record.header)
    signature, *_, name, extra = _LOCAL.unpack(source.take(_LOCAL.size))
    if signature != b"PK\3\4":
        raise source.corrupt(f"its record {shown(record.name)} does not start where the directory says")
    source.skip(name + extra)
    source.seek(source.position, record.size)


def _directory(source: Source) -> tuple[int, int, int]:
    """Number of records, length and offset of the central directory."""
    tail = min(source.size, _END.size + 0xFFFF)
    source.seek(source.size - tail)
    data = source.take(tail)
    at = data.rfind(b"PK\5\6", 0, len(data) - _END.size + 4)
    if at < 0:
        raise source.corrupt("it starts as a zip archive and has no directory at its end")
    _, _, _, _, count, length, offset, _ = _END.unpack_from(data, at)
    end = source.size - tail + at
    if end >= _LOCATOR.size:
        source.seek(end - _LOCATOR.size)
        signature, _, where, _ = _LOCATOR.unpack(source.take(_LOCATOR.size))
        if signature == b"PK\6\7":
            source.seek(where)
            signature, *_, count, length, offset = _END64.unpack(source.take(_END64.size))
            if signature != b"PK\6\6":
                raise source.corrupt("its zip64 directory is not where the archive says")
    return count, length, offset


def _entry(source: Source) -> Record:
    signature, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, _, header = _ENTRY.unpack(
        source.take(_ENTRY.size)
    )
    if signature != b"PK\1\2":
        raise source.corrupt("its directory is damaged")
    text = source.take(name).decode("utf-8", "backslashreplace")
    wide = _zip64(source.take(extra))
    source.skip(comment)
    fields = [size, packed, header]
    for index, value in enumerate(fields):
        if value == 0xFFFFFFFF:
            if not wide:
                raise source.corrupt(f"its record {shown(text)} has no zip64 length")
            fields[index] = wide.pop(0)
    size, packed, header = fields
    return Record(text, header, size, crc, stored=method == 0 and not flags & 1 and size == packed)


def _zip64(extra: bytes) -> list[int]:
    """The 64-bit numbers of the zip64 extra field, in order; empty where there is none."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1 and at + 4 + length <= len(extra):
            return list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    return []
