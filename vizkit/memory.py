"""The process's own memory."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

TRIM, MAPPED = -1, -3
"""glibc's numbers of its settings ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``."""
LARGEST = 32 * 2**20
"""Bytes; glibc takes no more for a block that it does not ask the system for singly."""


def keep_memory(mebibytes: int = 1024) -> bool:
    """Let this process keep up to ``mebibytes`` of the memory it frees, for its next pass, in every framework.

    Without it the C library gives the activations' memory back after each pass and gets it anew, page by page: some 5 %
    of the time of a pass, a third of one that keeps every layer. Only glibc (most of Linux) has this setting; returns
    whether it was made. The command line does it by itself; a library must not, since it is for the whole process.

    >>> import vizkit
    >>> kept = vizkit.keep_memory()
    """
    set_option = _of_glibc("mallopt")
    return set_option is not None and bool(set_option(MAPPED, LARGEST) and set_option(TRIM, mebibytes * 2**20))


def give_back() -> None:
    """Return what lies unused between blocks in use to the system, where the C library can. Threads that allocate and
    free in turns, as MXNet's do, scatter their blocks, so that a loop's peak rises long after its first passes."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
