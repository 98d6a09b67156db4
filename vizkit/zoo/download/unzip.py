"""The one weights file out of a zip archive: MXNet's store keeps each ``.params`` file that way."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from vizkit.contract.errors import WeightsError
from vizkit.support.files import replacing
from vizkit.zoo.download.digest import Digest
from vizkit.zoo.download.transfer import TransferError
from vizkit.zoo.formats.kinds import shown

_CHUNK = 1 << 20
_RATIO = 100
_MARGIN = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


def unpack(archive: Path, target: Path, digest: Digest) -> None:
    """Make ``target`` of the only ``.params`` file of an archive, whole and verified, or not at all. Raises
    TransferError, and WeightsError where ``target`` cannot be written."""
    with replacing(target, WeightsError) as temporary:
        with temporary.open("wb") as file:
            file.writelines(contents(archive))
        problem = digest.problem(temporary)
        if problem:
            raise TransferError(problem, final=True)


def contents(archive: Path) -> Iterator[bytes]:
    """The bytes of the only ``.params`` file of ``archive``, in pieces; no name inside the archive decides anything.

    Raises:
        TransferError: no zip archive, none or several such files, a name that leads outside the archive's own folder,
            or one that unpacks to more than a hundred times the archive (weights hardly shrink: it is a bomb).
    """
    try:
        with (
            archive.open("rb") as raw,
            zipfile.ZipFile(raw) as opened,
            opened.open(_member(archive, opened)) as packed,
        ):
            while chunk := packed.read(_CHUNK):
                yield chunk
    except _DAMAGED as error:
        raise TransferError(f"the archive is damaged ({error})", final=True) from None
    except OSError as error:
        raise TransferError(f"the archive cannot be read ({error.strerror or error})", final=True) from None


def _member(archive: Path, opened: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [info for info in opened.infolist() if not info.is_dir()]
    for info in files:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or PureWindowsPath(info.filename).drive:
            raise TransferError(f"the archive holds {shown(info.filename)}, a name that leads outside it", final=True)
    wanted = [info for info in files if info.filename.endswith(".params")]
    if len(wanted) != 1:
        raise TransferError(f"the archive holds {len(wanted)} .params files, expected one", final=True)
    limit = _RATIO * archive.stat().st_size + _MARGIN
    if wanted[0].file_size > limit:
        claim = f"the archive claims to unpack to {wanted[0].file_size} bytes"
        raise TransferError(f"{claim}, which from its size can only be a bomb", final=True)
    return wanted[0]
