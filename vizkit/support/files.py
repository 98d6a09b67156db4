"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..contract.errors import SettingError, VizkitError


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with plain line ends, whole or not at all. Raises as :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def replacing(path: Path, kind: type[VizkitError] = SettingError) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to ``path`` at the end; removed after any error or interrupt.

    Raises ``kind`` when the folder does not exist or cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise kind(
            f"'{path}' cannot be written: {error.strerror or error}. Give a folder that exists and can be written to."
        ) from None
    finally:
        with suppress(OSError):  # the error that brought us here says more
            temporary.unlink(missing_ok=True)
