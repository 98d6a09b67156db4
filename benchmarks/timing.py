"""Paired timing: contestants take turns, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return low, high


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


def environment(threads: int) -> dict[str, str]:
    """Of a process with every thread pool at the same size."""
    sizes = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**os.environ, **sizes}


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
