"""Building the pages, and finding them where they were built before."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ..errors import SettingError

HERE = Path(__file__).parent
SITE = HERE / "site"
NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocs_jupyter")


def index() -> Path:
    """The first page: as the wheel brought it, or built here, once, where a checkout has none.

    Raises SettingError where it is neither there nor can be built.
    """
    found = SITE / "index.html"
    if not found.exists():
        if any(find_spec(name) is None for name in NEEDED):
            raise SettingError(
                "This is a checkout, whose pages are not built yet. Install what builds them: "
                "pip install 'vizkit[docs]'. Their sources lie in vizkit/docs/pages."
            )
        build()
    return found


def build(target: Path = SITE) -> None:
    """Build all pages into a folder; any warning is an error.

    Raises SettingError with what MkDocs said.
    """
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--clean"]
    done = subprocess.run(
        [*command, "--config-file", str(HERE / "mkdocs.yml"), "--site-dir", str(target)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    if done.returncode:
        raise SettingError(f"The pages could not be built:\n{done.stdout}{done.stderr}")
