"""What units did, image by image, as running sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...inputs.images import Batch
from ...results.health import LayerHealth

GRID = 14
"""Rows and columns of a map that the comparison of units looks at, evenly spaced, at most."""


class Tally:
    """Running counts and moments of one layer's units: ``mean`` (C,) and the products of the deviations from it,
    ``moments`` (C, C), over ``seen`` positions of the grid, which are joined by Chan et al. 1983."""

    def __init__(self, units: int) -> None:
        self.count = 0
        self.zeros, self.positive, self.at, self.total = (np.zeros(units) for _ in range(4))
        self.low, self.high = np.full(units, np.inf), np.full(units, -np.inf)
        self.seen = 0
        self.mean, self.moments = np.zeros(units), np.zeros((units, units))

    def add(self, found: Array) -> None:
        """One batch (n, C) or (n, C, H, W)."""
        maps, over = found.reshape(*found.shape[:2], -1), (0, 2)
        seen = maps.shape[0] * maps.shape[2]
        self.count += seen
        self.zeros += seen - np.count_nonzero(maps, axis=over)
        self.positive += np.count_nonzero(maps > 0, axis=over)
        self.total += maps.sum(axis=2, dtype=np.float64).sum(axis=0)
        high = maps.max(axis=over)
        self._extremes(maps.min(axis=over), high, np.count_nonzero(maps == high[:, None], axis=over))
        steps = tuple(-(-side // GRID) for side in found.shape[2:])
        grid = found[(slice(None), slice(None), *(slice(None, None, step) for step in steps))]
        points = np.moveaxis(grid.reshape(*grid.shape[:2], -1), 1, 0).reshape(found.shape[1], -1).astype(np.float64)
        mean = points.mean(axis=1)
        points -= mean[:, None]
        self._moments(points.shape[1], mean, points @ points.T)

    def merge(self, other: Mapping[str, Array]) -> None:
        """The tally of further images."""
        self.count += int(other["count"])
        for name in ("zeros", "positive", "total"):
            setattr(self, name, getattr(self, name) + other[name])
        self._extremes(other["low"], other["high"], other["at"])
        self._moments(int(other["seen"]), other["mean"], other["moments"])

    def _extremes(self, low: Array, high: Array, at: Array) -> None:
        self.low = np.minimum(self.low, low)
        self.at = np.where(high > self.high, at, self.at + np.where(high == self.high, at, 0))
        self.high = np.maximum(self.high, high)

    def _moments(self, seen: int, mean: Array, moments: Array) -> None:
        both = self.seen + seen
        apart = mean - self.mean
        self.moments += moments
        self.moments += np.outer(apart, apart * (self.seen * (seen / both)))
        self.mean = self.mean + apart * (seen / both)
        self.seen = both

    def correlation(self) -> Array:
        """Pearson's (C, C) over the grid's positions of all images; 0 where a unit never changes."""
        covariance = self.moments / self.seen
        variance = np.diagonal(covariance).copy()
        still = variance <= 1e-12 * np.maximum(variance + self.mean**2, 1e-300)
        scale = np.sqrt(np.where(still, np.inf, variance))
        return np.asarray(covariance / scale[:, None] / scale)


class Tallies:
    """A tally for each layer."""

    grows = False

    def __init__(self, units: Mapping[str, int]) -> None:
        self.units = dict(units)
        self.layers = {name: Tally(count) for name, count in units.items()}

    def fresh(self) -> Tallies:
        return Tallies(self.units)

    def __reduce__(self) -> tuple[Any, ...]:
        """An empty one goes to workers without its zeros."""
        return Tallies, (self.units,)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        for name, tally in self.layers.items():
            tally.add(activations[name])

    def state(self) -> dict[str, Array]:
        return {f"{name}:{key}": np.asarray(v) for name, one in self.layers.items() for key, v in vars(one).items()}

    def merge(self, part: Mapping[str, Array]) -> None:
        for name, tally in self.layers.items():
            tally.merge({key: part[f"{name}:{key}"] for key in vars(tally)})


def judged(model: Model, name: str, tally: Tally, threshold: float, saturation: float) -> LayerHealth:
    correlation = np.triu(tally.correlation(), 1)
    pairs = np.argwhere(correlation >= threshold)
    strength = correlation[tuple(pairs.T)]
    order = np.argsort(-strength, kind="stable")
    return LayerHealth(
        name,
        model.layers[name].kind,
        zeros=tally.zeros / tally.count,
        positive=tally.positive / tally.count,
        at_maximum=(tally.at - 1) / tally.count,
        mean=tally.total / tally.count,
        low=tally.low.astype(np.float64),
        high=tally.high.astype(np.float64),
        pairs=pairs[order],
        correlation=strength[order],
        saturation=saturation,
    )
