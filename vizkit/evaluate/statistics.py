"""Correlations of maps, with a stated answer for constant ones."""

from __future__ import annotations

import numpy as np

from ..contract.backend import Array


def pearson(a: Array, b: Array) -> float:
    """Pearson's correlation of two arrays of one shape, in -1..1; 0 where one of them is constant."""
    x, y = (values.ravel() - values.mean() for values in (a, b))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))


def spearman(a: Array, b: Array) -> float:
    """Spearman's rank correlation of two arrays of one shape, in -1..1; 0 where one of them is constant."""
    return pearson(ranks(a), ranks(b))


def ranks(values: Array) -> Array:
    """The rank of each value, from 1 for the smallest; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.ravel()])


SIMILARITIES = {"spearman": spearman, "pearson": pearson}
