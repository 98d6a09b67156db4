"""``vizkit homework``: the published Gluon notebook, section by section, on one page, in English or Chinese.

:func:`make` computes the sections and writes the folder: PNGs, and last a self-contained ``index.html``; and, where
asked for, the same as a runnable notebook.
"""

from .build import FOLDER, make, weights_of
from .run import ROLES

__all__ = ["FOLDER", "ROLES", "make", "weights_of"]
