"""Each installed backend's small networks, for :mod:`vizkit.testing` and for the tests of techniques.

One module for each backend, named after it, with its ``KIT``; an installed backend without one fails the suite.
"""

from __future__ import annotations

import importlib

from vizkit.testing import TRAPS, TRAPS_SIZE, Kit, parameters

__all__ = ["DEVICE", "TRAPS", "TRAPS_SIZE", "kit", "parameters"]

DEVICE = "cpu"
"""Where PyTorch's networks of the suite are; `pytest --device cuda` says so."""


def kit(backend: str) -> Kit:
    """The networks of one backend."""
    found: Kit = importlib.import_module(f"kits.{backend}").KIT
    return found
