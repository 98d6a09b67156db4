"""Folders of images: which files they hold, and thousands of them through a network in little memory.

:func:`find` lists a folder; :func:`collect` takes whatever a user has (a folder, files, arrays); :func:`stream` runs it
through a network, loading ahead while the network computes, and can go on where an earlier run stopped.
"""

from ..listing import collect, find, readable
from ..pictures import SUFFIXES, Pictures, Skipped
from .estimating import Estimate, estimate
from .loading import Loader
from .parts import Reader
from .streaming import Passed, Spent, stream, watched

__all__ = [
    "SUFFIXES",
    "Estimate",
    "Loader",
    "Passed",
    "Pictures",
    "Reader",
    "Skipped",
    "Spent",
    "collect",
    "estimate",
    "find",
    "readable",
    "stream",
    "watched",
]
