"""Paired timing: contestants take turns, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Contestant = Callable[[], object]
WARM = 10
"""Rounds before those that count, where a round is short: what vizkit prepares late, it has prepared by then."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, and each round's ratio to the floor of the same round."""

    seconds: list[float]
    ratios: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def spread(values: list[float]) -> list[float]:
    """First and third quartile."""
    return [values[0]] * 2 if len(values) == 1 else [statistics.quantiles(values, n=4)[k] for k in (0, 2)]


def paired(
    floor: str, contestants: dict[str, Contestant], rounds: int, warmup: int = 2, clock: str = "wall"
) -> dict[str, Timing]:
    """Each contestant once a round, in turn, after ``warmup`` rounds that do not count. ``clock``: "wall", or "cpu":
    processor time of all threads, which other people's work on the machine disturbs less."""
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(warmup + rounds):
        for name, run in contestants.items():
            start = now()
            run()
            if round_ >= warmup:
                seconds[name].append(now() - start)
    base = seconds[floor]
    return {
        name: Timing(taken, [one / other for one, other in zip(taken, base, strict=True)])
        for name, taken in seconds.items()
    }


def child(module: str, *arguments: object, threads: int | None = None) -> list[dict[str, Any]]:
    """The rows that a benchmark prints last in a process of its own, with every thread pool of the same size where
    ``threads`` says so. Raises CalledProcessError."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    sizes = {} if threads is None else dict.fromkeys(pools, str(threads))
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **sizes})
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def write(out: Path | None, report: dict[str, Any]) -> None:
    """A report as JSON, where a file is wanted, with the processor's name in it."""
    if out is not None:
        out.write_text(json.dumps(report | {"processor": processor()}, indent=1) + "\n", encoding="utf-8")


def apart(found: Any, wanted: Any) -> float:
    """Relative L2."""
    return float(np.linalg.norm(found.astype(np.float64) - wanted) / np.linalg.norm(wanted))


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
