"""Packages that only some functions need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..contract.errors import VizkitError


def needed(module: str, message: str, error: type[VizkitError] = VizkitError) -> Any:
    """A module, or ``error`` with this message where its package is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise error(message) from None
