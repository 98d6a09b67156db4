"""How active layers were, as running sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...contract.backend import Array
from ...inputs.images import Batch


class Activity:
    """Of each layer: values, maps, values that are zero, maps that are zero all over, and the sum, the least and the
    largest of all values."""

    grows = False

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self.counts = np.zeros((len(self.layers), 4), np.int64)
        self.total = np.zeros(len(self.layers))
        self.low, self.high = np.full(len(self.layers), np.inf), np.full(len(self.layers), -np.inf)

    def fresh(self) -> Activity:
        return Activity(self.layers)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        for i, name in enumerate(self.layers):
            found = activations[name]
            maps = found.reshape(found.shape[0] * found.shape[1], -1)
            zero = maps == 0
            self.counts[i] += maps.size, len(maps), np.count_nonzero(zero), np.count_nonzero(zero.all(axis=1))
            self.total[i] += maps.sum(dtype=np.float64)
            self.low[i], self.high[i] = min(self.low[i], maps.min()), max(self.high[i], maps.max())

    def state(self) -> dict[str, Array]:
        return {"counts": self.counts, "total": self.total, "low": self.low, "high": self.high}

    def merge(self, part: Mapping[str, Array]) -> None:
        self.counts, self.total = self.counts + part["counts"], self.total + part["total"]
        self.low, self.high = np.minimum(self.low, part["low"]), np.maximum(self.high, part["high"])

    def values(self) -> Array:
        """(layers, 4): shares of zeros and of blank maps, mean and maximum."""
        values, maps, zeros, blank = self.counts.T
        return np.column_stack([zeros / values, blank / maps, self.total / values, self.high])
