"""Tar shards, as WebDataset writes and reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ...contract.errors import ImageError
from ..pictures import SUFFIXES, Pictures
from .packed import Listed, Packed, unpacked

SUFFIX = ".tar"
LABEL = ".cls"
"""The member with the class of the picture of the same key, a number or a name."""
BLOCK = 512
LINKS = b"125"
"""Types of members that are links to others or folders, and have no bytes."""


class Member(Packed):
    """A shard's member; its place are offset and size in bytes."""

    def content(self) -> bytes:
        offset, size = self.place
        try:
            with open(self.path, "rb") as shard:
                shard.seek(offset)
                found = shard.read(size)
        except OSError as error:
            raise ImageError(f"{self.where} cannot be read: {error}") from None
        if len(found) < size:
            raise ImageError(f"{self.where} cannot be read: the shard is cut off.")
        return found


def tar(*paths: str | os.PathLike[str], draft: int | None = None) -> Pictures:
    """The pictures of tar shards, in the order in which they lie there. Only the members' headers are read, once.

    Members of one key, ``cat/0001.jpg`` and ``cat/0001.cls``, belong together, as WebDataset has it: the latter holds
    the label, a number or a name. Without one the label is the member's first folder, as in a folder. Names begin with
    the shard's where there are several.

    Args:
        paths: uncompressed ``.tar`` files.
        draft: as :func:`vizkit.folders.find` has it.

    Returns:
        :class:`vizkit.folders.Pictures`.

    Raises:
        ImageError for what is no tar file, is compressed, or holds no picture.

    Example:
        >>> import os, tarfile, tempfile
        >>> from vizkit import images, sources
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shard = os.path.join(folder, "train-000.tar")
        ...     with tarfile.open(shard, "w") as packed:
        ...         packed.add(images.sample(), "pets/cat.jpg")
        ...     found = sources.tar(shard)
        ...     found.names[0], found.labels[0], images.read(found.items[0]).size
        ('pets/cat.jpg', 'pets', (451, 300))
    """
    found = unpacked(paths, lambda path: (Member(os.path.abspath(path), draft), _members(path)))
    if not len(found):
        raise ImageError(f"{', '.join(map(str, paths)) or 'No tar file'} holds no picture ({', '.join(SUFFIXES)}).")
    return found


def _members(path: Path) -> Iterator[Listed]:
    """The pictures in a shard."""
    pictures: list[tuple[str, tuple[int, int]]] = []
    classes: dict[str, str] = {}
    try:
        with path.open("rb") as shard:
            for name, offset, size in _headers(shard, path):
                key, suffix = os.path.splitext(name)
                if suffix.lower() in SUFFIXES and not key.rpartition("/")[2].startswith("."):
                    pictures.append((name, (offset, size)))
                elif suffix == LABEL:
                    shard.seek(offset)
                    classes[key] = shard.read(size).decode("utf-8", "replace").strip()
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    for name, place in pictures:
        yield name, classes.get(os.path.splitext(name)[0], name.split("/")[0] if "/" in name else None), place


def _headers(shard: BinaryIO, path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every member that is a file.

    The standard library's tarfile takes 0.1 ms for each, two minutes for a million; this a tenth, since it looks at
    nothing else: members with owners, times and links need more.
    """
    at, longer = 0, dict[str, str]()
    while True:
        shard.seek(at)
        header = shard.read(BLOCK)
        if len(header) < BLOCK or not header.strip(b"\0"):
            if not at:
                raise ImageError(f"{str(path)!r} is no tar file, or an empty one.")
            return
        size = _number(header[124:136]) if _is_header(header) else -1
        if size < 0:
            raise ImageError(
                f"{str(path)!r} is no tar file, or is damaged at byte {at}. Give uncompressed .tar files; unpack a "
                ".tar.gz with gunzip, since a picture in the middle of it cannot be found."
            )
        kind, data = header[156:157], at + BLOCK
        size = int(longer.get("size", size))
        at = data + (0 if kind in LINKS else -(-size // BLOCK) * BLOCK)
        if kind == b"x":
            longer |= _records(shard.read(size))
        elif kind == b"L":
            longer["path"] = _string(shard.read(size))
        elif kind not in b"gK":
            if kind in b"0\0":
                yield longer.get("path") or _name(header), data, size
            longer = {}


def _is_header(header: bytes) -> bool:
    """Whether its checksum is right: the sum of its bytes with blanks in the place of the sum itself."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ") == _number(header[148:156])


def _number(field: bytes) -> int:
    """An octal number, or, where it is too large for that, one of base 256; -1 for neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return -1


def _name(header: bytes) -> str:
    name = _string(header[:100])
    first = _string(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{first}/{name}" if first else name


def _string(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _records(block: bytes) -> dict[str, str]:
    """An extended header's path and size: records "LENGTH NAME=VALUE" and a line's end."""
    found = {}
    while block.strip(b"\0"):
        length = int(block.partition(b" ")[0])
        name, _, value = block[:length].partition(b" ")[2].rstrip(b"\n").partition(b"=")
        if name in (b"path", b"size"):
            found[name.decode()] = value.decode("utf-8", "surrogateescape")
        block = block[length:]
    return found
