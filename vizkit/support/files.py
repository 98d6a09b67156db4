"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import SettingError, VizkitError

LONG = 240
"""Bytes of a name to which a suffix may be added: file systems take 255."""


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with plain line ends, whole or not at all. Raises as :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_npz(path: Path, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write what :func:`numpy.load` reads, whole or not at all. Raises as :func:`replacing`: NumPy's own functions
    leave the archive open where the disk is full, and it complains when it is collected."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", kind) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)  # type: ignore[no-untyped-call]


@contextmanager
def replacing(path: Path, kind: type[VizkitError] = SettingError) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to ``path`` at the end; removed after any error or interrupt.

    Raises ``kind`` when the folder does not exist or cannot be written to, or the disk is full.
    """
    name = path.name if len(os.fsencode(path.name)) <= LONG else path.name[:20]
    temporary = path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise kind(
            f"'{path}' cannot be written: {error.strerror or error}. Give a folder that exists, can be "
            "written to, and has room."
        ) from None
    finally:
        with suppress(OSError):  # the error that brought us here says more
            temporary.unlink(missing_ok=True)
