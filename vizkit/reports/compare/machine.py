"""What a measurement ran on: processor, memory, versions; and how much memory this process has used."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ...contract.backend import cpu_count, registered
from ...support.version import VERSION

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """Processor, processors that this process may use, memory in bytes (None where unknown), system."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names else None
    return {
        "processor": processor(),
        "cores": cpu_count(),
        "memory_bytes": None if pages is None else pages * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(backend: str) -> dict[str, str]:
    """Versions of vizkit, Python, NumPy and the backend's packages, read without importing a framework."""
    own = {"vizkit": VERSION, "python": platform.python_version(), "numpy": np.__version__}
    return own | registered()[backend]().versions()


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
