"""The records of a zip archive, stored as they are: what ``torch.save`` writes since 1.6. :mod:`zipfile` reads the
directory, once it is no longer than any network's."""

from __future__ import annotations

import struct
import zipfile

from vizkit.zoo.formats.kinds import MAX_TENSORS, shown
from vizkit.zoo.formats.source import Source

DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, ValueError, RuntimeError, OSError)
_LOCAL = struct.Struct("<4s22x2H")
_TAIL = 22 + 0xFFFF
"""Bytes at a file's end among which the directory's own place and length stand."""
_MAX_DIRECTORY = 8 << 20
"""Bytes of a directory, of which zipfile makes some fifteen times as much."""


def records(source: Source) -> dict[str, zipfile.ZipInfo]:
    """The records of the archive by name.

    Raises:
        WeightsError: no directory, one that points outside the file, or records that together exceed the file.
    """
    source.seek(max(0, source.size - _TAIL))
    end = source.take(source.end - source.position).rpartition(b"PK\5\6")[2]
    if len(end) < 18 or len(end) == min(source.size, _TAIL):
        raise source.corrupt("it starts as a zip archive and has no directory at its end")
    if int.from_bytes(end[8:12], "little") > _MAX_DIRECTORY:
        raise source.corrupt("its directory is larger than any network's")
    try:
        infos = zipfile.ZipFile(source.file).infolist()
    except DAMAGED as error:
        raise source.corrupt(f"its directory is damaged ({error})") from None
    found = {info.filename: info for info in infos}
    if len(found) > 2 * MAX_TENSORS:
        raise source.corrupt(f"its directory announces {len(infos)} records")
    if len(found) < len(infos):
        raise source.corrupt("it holds two records of one name")
    if sum(info.file_size for info in infos if info.compress_type == zipfile.ZIP_STORED) > source.size:
        raise source.corrupt("its records overlap")
    return found


def enter(source: Source, record: zipfile.ZipInfo) -> None:
    """Place ``source`` at the data of ``record``, bounded by its length."""
    plain = record.compress_type == zipfile.ZIP_STORED and not record.flag_bits & 1
    if not plain or record.file_size != record.compress_size:
        name = shown(record.filename)
        raise source.corrupt(f"its record {name} is compressed or encrypted, which torch.save never does")
    source.seek(record.header_offset)
    signature, name, extra = _LOCAL.unpack(source.take(_LOCAL.size))
    if signature != b"PK\3\4":
        raise source.corrupt(f"its record {shown(record.filename)} does not start where the directory says")
    source.skip(name + extra)
    source.seek(source.position, record.file_size)
