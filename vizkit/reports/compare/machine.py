"""What a measurement ran on: processor, memory, versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ...contract.backend import cpu_count, registered
from ...support.version import VERSION


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
