"""How vizkit is built: by Hatchling, and a wheel gets the documentation's pages with it.

This file is the build backend of pyproject.toml, which adds what MkDocs needs to a wheel's requirements alone, and the
build hook that runs MkDocs. An editable installation builds no pages and needs nothing more than Hatchling.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from hatchling import build as hatchling_build
from hatchling.build import *  # noqa: F403 - the backend's other functions
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED = ["mkdocs>=1.6", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.29", "mkdocs-jupyter>=0.25"]
HERE = Path(__file__).resolve().parent


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """See PEP 517."""
    return [*hatchling_build.get_requires_for_build_wheel(config_settings), *NEEDED]


def templates() -> str:
    """Where nbconvert's templates lie, which looks for them below ``sys.prefix``: not where pip builds."""
    files = metadata.files("nbconvert") or ()
    found = [str(Path(one.locate()).resolve().parents[3]) for one in files if one.match("templates/lab/conf.json")]
    return os.pathsep.join([*found, *filter(None, [os.environ.get("JUPYTER_PATH")])])


class Pages(BuildHookInterface):
    """Builds the pages into ``vizkit/docs/site`` and takes them into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by Hatchling before a wheel is put together."""
        if version == "editable":
            return
        site = HERE / "site"
        options = ["--strict", "-f", str(HERE / "mkdocs.yml"), "-d", str(site)]
        told = {"NO_MKDOCS_2_WARNING": "1", "JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_PATH": templates()}
        subprocess.run([sys.executable, "-m", "mkdocs", "build", *options], check=True, env={**os.environ, **told})
        build_data["artifacts"].append("/vizkit/docs/site/")
