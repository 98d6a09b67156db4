"""Straight ways from baselines to a picture, at the input or at a layer, and integrals along them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ...contract.backend import Array, Leaves, Step, Tensor
from ...contract.errors import SettingError
from ...inputs.images import ImageInput
from ..common.checks import completeness
from ..common.job import Job, State, joined, split
from ..common.passes import SCORES
from .baselines import baseline_inputs, baseline_name
from .place import Place


class Ways:
    """The points at ``nodes`` on each picture's ways from ``starts`` (N, K, C, H, W), baselines as inputs, at a place,
    between the two ends of each way. Sample ``s`` of a picture is point ``s % points`` of way ``s //
    points``. At a layer the input stays the picture, and the layer's activation is replaced."""

    def __init__(self, place: Place, starts: Array, nodes: Array) -> None:
        self.place, self.job = place, place.job
        self.points = len(nodes) + 2
        self.count = starts.shape[1] * self.points
        self._nodes = nodes
        every = self.job.uploaded(starts.reshape(len(starts), -1, *starts.shape[2:]))
        shape = (-1, *starts.shape[2:])

        def both(i: int) -> tuple[Tensor, Tensor]:
            start = place.values(self.job.model.ops.reshape(every(i), shape))
            return start, place.values(self.job.image(i)) - start

        self._both = lru_cache(maxsize=2)(both)

    @cached_property
    def _at(self) -> Tensor:
        return self.place.column(np.concatenate([[0], self._nodes, [1]]))

    def starts(self, i: int) -> Tensor:
        """A picture's baselines (K, ...) at the place."""
        return self._both(i)[0]

    def bottom(self) -> Array:
        """The scores (N, K) at the baselines."""
        place, count = self.place, self.count // self.points

        def make(i: int, which: range) -> Tensor:
            start, _ = self._both(i)
            return start[which.start : which.stop] if place.layer is None else self._image(i, which)

        def add(i: int, which: range) -> Leaves:
            return {} if place.layer is None else {place.layer: -1.0 * self._both(i)[1][which.start : which.stop]}

        return self.job.forwards(count, make, add)

    def _image(self, i: int, which: range) -> Tensor:
        """A picture for each of these samples."""
        return self.job.model.ops.zeros((len(which), 1, 1, 1)) + self.job.image(i)

    def _parts(self, i: int, which: range) -> Iterator[tuple[Tensor, Tensor, range]]:
        """The start, the way and the points of each way that these samples lie on."""
        start, way = self._both(i)
        for k, points in split(which.start, which.stop, self.points):
            yield start[k : k + 1], way[k : k + 1], points

    def inputs(self, i: int, which: range) -> Tensor:
        """What the network gets, (B, C, H, W)."""
        if self.place.layer is not None:
            return self._image(i, which)
        return joined(
            self.job.model.ops, [start + self._at[p.start : p.stop] * way for start, way, p in self._parts(i, which)]
        )

    def added(self, i: int, which: range) -> Leaves:
        """What has to be added at the layer to make its activation that of the way."""
        if self.place.layer is None:
            return {}
        terms = [(self._at[p.start : p.stop] - 1.0) * way for _, way, p in self._parts(i, which)]
        return {self.place.layer: joined(self.job.model.ops, terms)}

    def integral(
        self, weights: Array, *, at: Place | None = None, run: Step | None = None, times_way: bool = True
    ) -> tuple[Array, Array]:
        """The mean over the ways of the integral of the gradient, times the way, (N, ...); and how much the score rises
        along them, (N,). The gradient is that at ``at``, None for the place itself, and what ``run`` makes of it."""
        ops, at = self.job.model.ops, at or self.place
        share = at.column(np.concatenate([[0], weights, [0]]))

        def fold(i: int, which: range, made: Leaves, state: State | None) -> State:
            sums, done = None if state is None else state[0], 0
            for _, way, points in self._parts(i, which):
                part = made[at.leaf][done : done + len(points)]
                mean = ops.sum(ops.double(share[points.start : points.stop] * part), 0, keepdims=True)
                mean = ops.double(way) * mean if times_way else mean
                sums, done = mean if sums is None else sums + mean, done + len(points)
            return sums, self.scores(made, state)

        sums, scores = self.job.samples(self.count, self.inputs, fold, add=self.added, run=run, **at.options)
        return sums[:, 0] * self.points / self.count, self.rise(scores)

    def scores(self, made: Leaves, state: State | None) -> Tensor:
        """All scores of a picture so far; the last of its sums."""
        ops = self.job.model.ops
        scores = ops.double(made[SCORES])
        return scores if state is None else ops.concat([state[-1], scores])

    def rise(self, scores: Array) -> Array:
        """From the ends of the ways of scores (N, count): the mean rise (N,)."""
        ends = scores.reshape(len(scores), -1, self.points)
        return np.asarray((ends[:, :, -1] - ends[:, :, 0]).mean(axis=1))


def chosen_baselines(baseline: ImageInput, baselines: Sequence[ImageInput] | None) -> list[ImageInput]:
    """Those of a method that takes one, or several whose mean counts."""
    if baselines is None:
        return [baseline]
    if isinstance(baselines, str) or not len(baselines):
        raise SettingError(f"baselines={baselines!r}: give a list of at least one, for example ['black'].")
    return list(baselines)


def named(chosen: Sequence[ImageInput], several: bool) -> dict[str, Any]:
    """What the provenance says of them, as they are given."""
    names = [baseline_name(one) for one in chosen]
    return {"baselines": names} if several else {"baseline": names[0]}


def starts_of(job: Job, chosen: Sequence[ImageInput], seed: int) -> Array:
    """Baselines as network inputs, float64 (N, K, C, H, W)."""
    return np.stack([baseline_inputs(job, one, seed) for one in chosen], axis=1)


def complete(job: Job, attribution: Array, rise: Array, steps: int) -> Array:
    """The relative error (N,) of attributions that should add up to ``rise``."""
    advice = f"Take more than {steps} steps, or a baseline closer to the image."
    return completeness(attribution.reshape(len(job), -1).sum(axis=1), rise, job.whats, advice)


def reported(error: Array) -> dict[str, Any]:
    """The relative error, for a result and its provenance."""
    return {"extra": {"completeness_error": error}, "completeness_error": error.tolist()}
