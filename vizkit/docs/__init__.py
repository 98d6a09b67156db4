"""The documentation: where its built pages are, and how they are built."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from ..contract.errors import VizkitError

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "mkdocs.yml"
SITE = HERE / "site"
NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers", "mkdocs_jupyter")
EXTRA = "pip install 'vizkit[docs]'"


def pages(*, anew: bool = False) -> Path:
    """The start page of the built documentation. In a checkout it is built first where it is not there yet.

    Raises VizkitError where it is neither there nor can be built.
    """
    index = SITE / "index.html"
    if anew or not index.is_file():
        build(SITE)
    return index


def build(site: Path) -> None:
    """Build the pages into a folder, strictly: a broken link is an error. Raises VizkitError."""
    if not CONFIG.is_file():
        raise VizkitError(
            "This installation of vizkit has no documentation and not its sources either: install vizkit from a wheel "
            "that has its pages, or run `vizkit docs` in a checkout."
        )
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise VizkitError(
            f"The documentation is not built yet, and building it needs {' and '.join(missing)}. "
            f"Install what is missing with: {EXTRA}"
        )
    done = subprocess.run(command(site), env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise VizkitError(f"MkDocs could not build the documentation:\n{(done.stdout + done.stderr).strip()}")


def command(site: Path) -> list[str]:
    """What builds the pages into a folder."""
    return [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(CONFIG), "-d", str(site)]


def environment() -> dict[str, str]:
    """The environment without the theme's notice of its successor, which would hide real messages."""
    return {**os.environ, "NO_MKDOCS_2_WARNING": "1", "JUPYTER_PLATFORM_DIRS": "1"}
