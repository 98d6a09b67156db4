"""``vizkit demo``: every kind of picture, in every installed backend, on one page that needs no network.

:func:`make` runs the chapters and writes the folder: one PNG for each picture, and last a self-contained
``index.html``.
"""

from .build import FOLDER, make
from .subjects import Scale

__all__ = ["FOLDER", "Scale", "make"]
