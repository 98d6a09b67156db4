"""What units did, image by image, as running sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...contract.backend import Array, Model
from ...inputs.images import Batch
from ...results.health import LayerHealth

if TYPE_CHECKING:
    pass


GRID = 14
"""Rows and columns of a map that the comparison of units looks at, evenly spaced, at most."""


class Tally:
    """Running counts and moments of one layer's units."""

    def __init__(self, units: int) -> None:
        self.count = 0
        self.zeros, self.positive, self.at, self.total = (np.zeros(units) for _ in range(4))
        self.low, self.high = np.full(units, np.inf), np.full(units, -np.inf)
        self.seen = 0
        self.sum, self.products = np.zeros(units), np.zeros((units, units))

    def add(self, found: Array) -> None:
        """One batch (n, C) or (n, C, H, W)."""
        maps, over = found.reshape(*found.shape[:2], -1), (0, 2)
        seen = maps.shape[0] * maps.shape[2]
        self.count += seen
        self.zeros += seen - np.count_nonzero(maps, axis=over)
        self.positive += np.count_nonzero(maps > 0, axis=over)
        self.total += maps.sum(axis=2, dtype=np.float64).sum(axis=0)
        self.low = np.minimum(self.low, maps.min(axis=over))
        high = maps.max(axis=over)
        here = np.count_nonzero(maps == high[:, None], axis=over)
        self.at = np.where(high > self.high, here, self.at + np.where(high == self.high, here, 0))
        self.high = np.maximum(self.high, high)
        steps = tuple(-(-side // GRID) for side in found.shape[2:])
        grid = found[(slice(None), slice(None), *(slice(None, None, step) for step in steps))]
        points = np.moveaxis(grid.reshape(*grid.shape[:2], -1), 1, 0).reshape(found.shape[1], -1).astype(np.float64)
        self.seen += points.shape[1]
        self.sum += points.sum(axis=1)
        self.products += points @ points.T

    def correlation(self) -> Array:
        """Pearson's (C, C) over the grid's positions of all images; 0 where a unit never changes."""
        mean = self.sum / self.seen
        covariance = self.products / self.seen - np.outer(mean, mean)
        variance = np.diagonal(covariance).copy()
        still = variance <= 1e-12 * np.maximum(np.diagonal(self.products) / self.seen, 1e-300)
        scale = np.sqrt(np.where(still, np.inf, variance))
        return np.asarray(covariance / scale[:, None] / scale)


class Tallies:
    """A tally for each layer."""

    def __init__(self, units: Mapping[str, int]) -> None:
        self.layers = {name: Tally(count) for name, count in units.items()}

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        for name, tally in self.layers.items():
            tally.add(activations[name])

    def state(self) -> dict[str, Array]:
        return {f"{name}:{key}": np.asarray(v) for name, one in self.layers.items() for key, v in vars(one).items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        for name, tally in self.layers.items():
            for key, now in vars(tally).items():
                found = arrays[f"{name}:{key}"]
                setattr(tally, key, int(found) if isinstance(now, int) else found)


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
