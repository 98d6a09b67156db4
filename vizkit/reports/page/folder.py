"""A page's folder: an index and the pictures beside it, and nothing of anybody else's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ... import results
from ...contract.errors import SettingError
from ...support.files import replacing, write_text
from . import Chapter

INDEX = "index.html"


def check(folder: Path, generator: str, beside: Sequence[str] = ()) -> list[Path]:
    """The files of an earlier page in ``folder``, which is made when it is missing, without those named ``beside``,
    which may lie there, too.

    ``generator`` is the command that makes the page. A PNG is its own when its provenance says so under "page", a page
    when its generator tag does. Raises SettingError, naming it, for anything else in there: nothing is written over
    that the command did not make.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"'{folder}' is a file; give a folder with --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(one for one in folder.iterdir() if one.name not in beside)
    except OSError as error:
        raise SettingError(
            f"The folder '{folder}' cannot be used: {error.strerror}. Give another with --out."
        ) from None
    for one in found:
        if not _own(one, generator):
            raise SettingError(
                f"The folder '{folder}' holds '{one.name}', which `{generator}` did not write, so nothing was written. "
                "Give an empty or a new folder with --out."
            )
    return found


def is_page(file: Path, generator: str) -> bool:
    """Whether a file is a page that the command ``generator`` made."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        return f'<meta name="generator" content="{generator} ' in opened.read(1000)


def _own(file: Path, generator: str) -> bool:
    if not file.is_file() or file.is_symlink():
        return False
    if file.name == INDEX:
        return is_page(file, generator)
    if file.suffix != ".png":
        return False
    try:
        with Image.open(file) as opened:
            return bool(re.match(rf'\{{"page": "{re.escape(generator)}"', str(opened.info.get(results.PROVENANCE))))
    except OSError:
        return False


def write(folder: Path, earlier: Sequence[Path], done: Sequence[Chapter], text: str) -> Path:
    """Pictures first, then the page, each whole or not at all; an earlier page's other pictures go."""
    pictures = {picture.file: picture.png for one in done for picture in one.pictures}
    for name, png in pictures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(png)
    index = folder / INDEX
    write_text(index, text)
    for old in earlier:
        if old.name not in pictures and old != index:
            old.unlink(missing_ok=True)
    return index
