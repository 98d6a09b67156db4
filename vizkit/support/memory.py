"""The process's own memory."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path
from typing import Any

TRIM, MAPPED = -1, -3
"""glibc's numbers of its settings ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``."""
LARGEST = 32 * 2**20
"""Bytes; glibc takes no more for a block that it does not ask the system for singly."""

GROWTH = 0.15
"""At 0.05 a loop of MXNet's gave back after every batch, since a second one takes more than the first."""

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")

_keeps = False
"""Whether :func:`keep_memory` was called, and did something."""


def keep_memory(mebibytes: int = 1024) -> bool:
    """Let this process keep up to ``mebibytes`` of the memory it frees, for its next pass, in every framework.

    Without it the C library gives the activations' memory back after each pass and gets it anew, page by page: some 5 %
    of the time of a pass, a third of one that keeps every layer, up to half of a dream's steps where pages are dear, as
    in some virtual machines. Only glibc (most of Linux) has this setting; returns whether it was made. The command line
    does it by itself; a library must not, since it is for the whole process.

    >>> import vizkit
    >>> kept = vizkit.keep_memory()
    """
    global _keeps
    set_option = _of_glibc("mallopt")
    _keeps = set_option is not None and bool(set_option(MAPPED, LARGEST) and set_option(TRIM, mebibytes * 2**20))
    return _keeps


class Scattered:
    """Memory that lies unused between blocks in use. Threads that allocate and free in turns, as MXNet's do, scatter
    their blocks, so that a loop's peak rises long after its first passes."""

    def __init__(self) -> None:
        self._level = 0

    def give_back(self) -> None:
        """Return it to the system, where the C library can. After :func:`keep_memory` only once the process has grown
        by a share of :data:`GROWTH`, since getting it anew costs a tenth to a quarter of a batch's time."""
        held = resident()
        self._level = self._level or held
        if _keeps and held <= (1 + GROWTH) * self._level:
            return
        self._level = 0
        trim = _of_glibc("malloc_trim")
        if trim is not None:
            trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None


def reset_peak() -> bool:
    """Begin to measure this process' peak memory anew; whether the system can (Linux does)."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak() -> int:
    """Peak resident memory in bytes, since :func:`reset_peak` where that worked, else since this process began."""
    if STATUS.exists():
        return _status("VmHWM")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else most * 1024


def resident() -> int:
    """Resident memory in bytes now; 0 where the system does not tell."""
    return _status("VmRSS") if STATUS.exists() else 0


def _status(name: str) -> int:
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
