"""Packages that only some functions need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..contract.errors import VizkitError


def needed(module: str, who: str, install: str, error: type[VizkitError] = VizkitError, instead: str = "") -> Any:
    """A module, or ``error`` where its package is not installed: ``who`` needs it, as in "An MP4 needs imageio-ffmpeg",
    what to ``install``, and what to do ``instead``."""
    try:
        return import_module(module)
    except ImportError:
        had = f"which this Python does not have. Install it with: pip install '{install}'"
        raise error(f"{who}, {had}{instead and f', or {instead}'}.") from None
