"""Examining every backend, each in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...contract import backend as contract
from ...contract.errors import SettingError, check_known, one_of
from ...support.progress import steps_bar
from ...support.version import VERSION
from ..compare.machine import processor
from .result import LIMITS, Check, Diagnosis, Examination

PATIENCE = 300
"""Seconds after which a backend is taken to hang."""


def doctor(
    *,
    backend: str | Sequence[str] | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str = "float32",
    seed: int = 0,
    threads: int | None = None,
) -> Diagnosis:
    """Whether gradients are right on this machine: every layer type that the networks use, against float64.

    Each is computed as vizkit computes, and in the way that a user of the framework would take first (PyTorch:
    ``model.eval()`` and ``backward()``; Gluon: ``record(train_mode=False)`` and ``backward()``), and compared with
    NumPy in float64, whose gradient is taken by central differences: relative L2 norm of the difference, the worst of
    three inputs. In float32 up to 1e-5 is right, up to 1e-2 coarse (shortened numbers, as TF32), more is wrong. Every
    backend is examined in a process of its own, so that a broken one is reported and nothing else suffers.

    Args:
        backend: one name or several; None takes every installed one.
        device: "cpu", "cuda:0" or several; None takes all that the backend sees.
        dtype: "float32" or "float64".
        seed: of the parameters and inputs.
        threads: of one operator; None leaves the framework's own number.

    Returns:
        :class:`Diagnosis`, whose ``right`` says whether vizkit's own gradients are right everywhere; ``print`` shows
        it as tables.

    Raises:
        UnknownNameError for a backend that nobody registered, SettingError.

    Example:
        >>> import vizkit
        >>> vizkit.doctor(dtype="float64").right  # doctest: +SKIP
        True
    """
    one_of("dtype", dtype, LIMITS)
    if threads is not None and threads < 1:
        raise SettingError(f"threads={threads}: give a number of at least 1.")
    known = contract.registered()
    named = list(dict.fromkeys([backend] if isinstance(backend, str) else backend or known))
    for name in named:
        check_known("backend", name, known)
    devices = [device] if isinstance(device, str) else list(device) if device else None
    present = [name for name in named if known[name].installed()]
    found: list[Examination] = []
    with steps_bar("doctor", len(present)) as advance:
        for k, name in enumerate(present):
            advance(k, name)
            order = {"backend": name, "devices": devices, "dtype": dtype, "seed": seed, "threads": threads}
            found += _examined(order)
            advance(k + 1, "")
    return Diagnosis(
        tuple(found),
        {name: known[name].install for name in named if name not in present},
        processor(),
        contract.cpu_count(),
        {"vizkit": VERSION, "python": platform.python_version(), "numpy": np.__version__},
        dtype,
        seed,
    )


def _examined(order: Mapping[str, Any]) -> list[Examination]:
    """The worker's findings, or why there are none."""
    command = [sys.executable, "-m", "vizkit.reports.doctor.examine", json.dumps(order)]
    try:
        # The child finds modules where this process does, whatever changed sys.path.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    except subprocess.TimeoutExpired:
        return [Examination(order["backend"], "", error=f"did not answer within {PATIENCE} seconds")]
    if done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
        return [Examination(**{**raw, "checks": tuple(Check(**one) for one in raw["checks"])}) for raw in found]
    return [Examination(order["backend"], "", error=_reason(done.returncode, done.stderr))]


def _reason(code: int, said: str) -> str:
    lines = said.strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}{last}"
    return f"its process ended with code {code}{last}"
