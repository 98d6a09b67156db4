"""A unit's activations over a folder, counted in one pass without knowing their range beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...contract.backend import Array
from ...inputs.images import Batch

BINS = 256
"""Bins on either side of zero."""


class Histogram:
    """Counts in bins of equal width from ``-range`` to ``range``, which is the power of two above the largest
    magnitude: when it grows, neighbouring bins are joined, so that the counts are exact and depend on no order. Exact
    zeros are counted apart."""

    grows = False

    def __init__(self, layer: str, unit: int) -> None:
        self.layer, self.unit = layer, unit
        self.counts = np.zeros(2 * BINS, np.int64)
        self.range = 0.0
        self.zeros = self.total = 0

    def fresh(self) -> Histogram:
        return Histogram(self.layer, self.unit)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        values = activations[self.layer][:, self.unit].ravel().astype(np.float64)
        self.total += len(values)
        values = values[values != 0]
        self.zeros = self.total - int(self.counts.sum()) - len(values)
        if not len(values):
            return
        self._grow(float(2.0 ** np.frexp(np.abs(values).max())[1]))
        at = np.floor(values * (BINS / self.range)).astype(np.int64) + BINS
        self.counts += np.bincount(at, minlength=2 * BINS)

    def _grow(self, wanted: float) -> None:
        self.range = self.range or wanted
        while self.range < wanted:
            joined = self.counts.reshape(BINS, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[BINS // 2 : BINS // 2 + BINS] = joined
            self.range *= 2

    def edges(self) -> Array:
        """(2 * 256 + 1,) float64: the borders of the bins."""
        return np.linspace(-self.range, self.range, 2 * BINS + 1)

    @property
    def share_of_zero(self) -> float:
        """Share of positions, over all images, that are exactly zero."""
        return self.zeros / max(self.total, 1)

    def state(self) -> dict[str, Array]:
        return {"counts": self.counts, "spread": np.array([self.range]), "seen": np.array([self.zeros, self.total])}

    def merge(self, part: Mapping[str, Array]) -> None:
        other = Histogram(self.layer, self.unit)
        other.counts, other.range = part["counts"], float(part["spread"][0])
        widest = max(self.range, other.range)
        for one in (self, other):
            one._grow(widest)
        self.counts = self.counts + other.counts
        self.zeros, self.total = self.zeros + int(part["seen"][0]), self.total + int(part["seen"][1])
