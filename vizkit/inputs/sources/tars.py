"""Tar shards, as WebDataset writes and reads them."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...contract.errors import ImageError
from ..pictures import SUFFIXES, Pictures
from .packed import Listed, Packed, unpacked

SUFFIX = ".tar"
LABEL = ".cls"
"""The member with the class of the picture of the same key, a number or a name."""


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
    at = 0
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as shard:
            with suppress(tarfile.ReadError):  # of one that is cut off, of which the last picture tells itself
                while (member := shard.next()) is not None:
                    shard.members.clear()  # type: ignore[attr-defined]  # where a million would stay
                    key, suffix = os.path.splitext(member.name)
                    if not member.isfile():
                        continue
                    if suffix.lower() in SUFFIXES and not key.rpartition("/")[2].startswith("."):
                        pictures.append((member.name, (member.offset_data, member.size)))
                    elif suffix == LABEL:
                        file.seek(member.offset_data)
                        classes[key] = file.read(member.size).decode("utf-8", "replace").strip()
            file.seek(shard.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                at = shard.offset
                raise tarfile.ReadError
    except tarfile.ReadError as error:
        if str(error) == "empty file":
            raise ImageError(f"{str(path)!r} is no tar file, or an empty one.") from None
        raise ImageError(
            f"{str(path)!r} is no tar file, or is damaged at byte {at}. Give uncompressed .tar files; unpack a "
            ".tar.gz with gunzip, since a picture in the middle of it cannot be found."
        ) from None
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    for name, place in pictures:
        yield name, classes.get(os.path.splitext(name)[0], name.split("/")[0] if "/" in name else None), place
