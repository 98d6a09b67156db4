"""What MXNet has, found without importing it, which takes seconds."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

from vizkit.zoo.catalog import CATALOG

VERSION = re.compile(r"^__version__ = ['\"](.+)['\"]", re.MULTILINE)
ENTRY = re.compile(r"'([\w.]+)': \w+")
"""An entry of the table in Gluon's ``get_model``."""
ZOO = "gluon/model_zoo/vision/__init__.py"


def versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    return {"mxnet": VERSION.findall(_text("libinfo.py"))[0]}


def _text(file: str) -> str:
    """One of MXNet's own files. Its distributions have many names, so that their metadata are slow to find."""
    found = util.find_spec("mxnet")
    return "" if found is None or found.origin is None else (Path(found.origin).parent / file).read_text("utf-8")


def names() -> list[str]:
    """The canonical models, then every other network of Gluon's zoo."""
    taken = {entry.gluon_name for entry in CATALOG.values()}
    return [*CATALOG, *(name for name in ENTRY.findall(_text(ZOO)) if name not in taken)]
