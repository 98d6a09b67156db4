"""What a run over many pictures will take, from a short one over a few of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from ...contract.backend import Array
from ...support.memory import peak
from ..pictures import Pictures

WARM, SHORT, LONG = 8, 32, 96
"""Pictures of the runs that are measured: one that does not count, and two whose difference gives a picture's time."""


@dataclass(frozen=True)
class Estimate:
    """What a run over ``pictures`` will take: ``seconds``, of which ``each`` picture takes so many and the rest, that
    does not depend on their number, ``fixed``; ``memory`` in bytes, of each process at its peak. ``workers`` share the
    pictures. ``measured`` of them were read for it."""

    pictures: int
    each: float
    fixed: float
    memory: int
    workers: int
    measured: int

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.fixed + self.pictures * self.each / self.workers

    def text(self) -> str:
        """In a line."""
        took = timedelta(seconds=round(self.seconds)) if self.seconds >= 10 else f"{self.seconds:.1f} s"
        rate = self.workers / self.each if self.each else float("inf")
        many = f", {self.workers} workers and this process" if self.workers > 1 else ""
        return (
            f"{self.pictures} pictures, about {took} at {rate:.3g} pictures a second, {self.memory / 2**20:.0f} MiB of "
            f"memory in each process{many} (measured on {self.measured} pictures)"
        )


def estimate(run: Callable[[Pictures], object], pictures: Pictures, *, workers: int = 1) -> Estimate:
    """What ``run`` will take over all the pictures, from what it takes over some that lie evenly among them.

    Memory is this process's largest so far, so an estimate that counts is made in a fresh process, as the command line
    makes it (``--dry-run``). With ``workers`` let this process have as many threads as each of them will.

    Args:
        run: does the whole work with the pictures that it gets, such as ``lambda some: vizkit.health(model, some)``.
        pictures: all that are meant.
        workers: how many will share them; each is taken to be as fast as this process.

    Returns:
        :class:`Estimate`.

    Example:
        >>> import vizkit
        >>> from vizkit import folders
        >>> model, drawn = vizkit.load("shapes"), folders.collect(vizkit.zoo.shapes.sample(60, seed=1).images)
        >>> found = folders.estimate(lambda some: vizkit.health(model, some, ["features.2"]), drawn)
        >>> found.pictures, found.seconds > 0
        (60, True)
    """
    count = min(len(pictures), WARM + SHORT + LONG)
    places = np.random.default_rng(0).permutation(np.linspace(0, len(pictures) - 1, count).astype(np.int64))
    if count < WARM + SHORT + LONG:
        run(pictures.part(places[:WARM].tolist()))
        return Estimate(len(pictures), _seconds(run, pictures, places) / count, 0.0, peak(), workers, count)
    warm, short, long = np.split(places, [WARM, WARM + SHORT])
    run(pictures.part(warm.tolist()))
    few, many = (_seconds(run, pictures, at) for at in (short, long))
    each = (many - few) / (LONG - SHORT) if many > few else many / LONG
    return Estimate(len(pictures), each, max(0.0, few - SHORT * each), peak(), workers, count)


def _seconds(run: Callable[[Pictures], object], pictures: Pictures, places: Array) -> float:
    some = pictures.part(np.sort(places).tolist())
    began = time.perf_counter()
    run(some)
    return time.perf_counter() - began
