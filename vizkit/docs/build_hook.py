"""Builds the pages into a wheel. An editable install, of a checkout, needs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26", "mkdocs-jupyter>=0.25"]


class Pages(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Runs MkDocs over the sources, and adds what it makes to the wheel."""

    PLUGIN_NAME = "pages"

    def dependencies(self) -> list[str]:
        """MkDocs and its plugins, for a wheel. An editable install is asked the same; its caller names it."""
        return [] if any("editable" in one for one in sys.argv) else NEEDED

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages, and add them to the wheel."""
        if version == "editable":
            return
        here = Path(self.root) / "vizkit" / "docs"
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--clean"]
        subprocess.run([*command, "--config-file", str(here / "mkdocs.yml")], check=True)
        build_data["force_include"][str(here / "site")] = "vizkit/docs/site"
