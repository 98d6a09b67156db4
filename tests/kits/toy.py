"""The toy backend in NumPy for tests outside its own file: its workers start without any framework."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vizkit import backend as contract

TOY = Path(__file__).parents[1] / "toy"


@contextmanager
def installed(site: Path) -> Iterator[None]:
    """The toy in an empty folder, as pip would install it: on the path, with the entry point that registers it."""
    told = site / "vizkit_numpy-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: vizkit-numpy\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[vizkit.backends]\nnumpy = vizkit_numpy:NumpyBackend\n")
    sys.path[:0] = [str(site), str(TOY)]
    try:
        yield
    finally:
        del sys.path[:2]
        contract._started.pop("numpy", None)
