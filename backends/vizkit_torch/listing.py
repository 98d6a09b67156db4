"""What PyTorch and torchvision have, found without importing them, which takes seconds."""

from __future__ import annotations

import re
from importlib import metadata, util
from pathlib import Path

from vizkit.zoo.catalog import CATALOG

from .start import torchvision

VERSION = re.compile(r"^__version__ = ['\"](.+)['\"]", re.MULTILINE)
"""In their own files, with the build that a distribution's metadata leave out."""
REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)", re.MULTILINE)
"""What torchvision writes over each network of its own."""


def versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    found = {}
    for name in ("torch", "torchvision"):
        spec = util.find_spec(name)
        text = (
            "" if spec is None or spec.origin is None else Path(spec.origin).with_name("version.py").read_text("utf-8")
        )
        found[name] = next(iter(VERSION.findall(text)), "") or metadata.version(name)
    return found


def classifiers() -> list[str]:
    """Torchvision's classification networks, from its files; from itself, where they are written in another way."""
    found = util.find_spec("torchvision")
    folder = None if found is None or found.origin is None else Path(found.origin).parent / "models"
    files = [] if folder is None else folder.glob("*.py")
    names = sorted(name for file in files for name in REGISTERED.findall(file.read_text(encoding="utf-8")))
    return names or torchvision().models.list_models(module=torchvision().models)


def names() -> list[str]:
    """The canonical models, then every other classification network of torchvision."""
    return [*CATALOG, *(name for name in classifiers() if name not in CATALOG)]
