"""Which superpixels each sample keeps, and what it weighs."""

from __future__ import annotations

from math import comb

import numpy as np

from ...contract.backend import Array
from ..common.noise import generator


def all_coalitions(features: int) -> int:
    """How many subsets of the superpixels are neither empty nor full."""
    return int(2**features - 2)


def coalitions(features: int, samples: int, seed: int, which: range) -> Array:
    """Rows (B, K) of zeros and ones with these numbers: all subsets where they are few, else drawn by their weight."""
    if all_coalitions(features) <= samples:
        subsets = (np.arange(which.start + 1, which.stop + 1)[:, None] >> np.arange(features)) & 1
        return subsets.astype(np.float64)
    sizes_of_all = np.arange(1, features)
    chances = 1 / (sizes_of_all * (features - sizes_of_all))
    z = np.zeros((len(which), features))
    for row, number in zip(z, which, strict=True):
        rng = generator(seed, number)
        size = rng.choice(sizes_of_all, p=chances / chances.sum())
        row[rng.permutation(features)[:size]] = 1
    return z


def shapley_weights(z: Array, samples: int) -> Array:
    """The weight (B,) of each row: Shapley's kernel where all subsets are taken, one where they were drawn by it."""
    features = z.shape[1]
    if all_coalitions(features) > samples:
        return np.ones(len(z))
    sizes = map(int, z.sum(axis=1))
    return np.array([(features - 1) / (comb(features, k) * k * (features - k)) for k in sizes])


def lime_samples(features: int, seed: int, which: range) -> Array:
    """Rows (B, K) of zeros and ones with these numbers; number 0 is all ones."""
    rows = [generator(seed, number).integers(0, 2, features) if number else np.ones(features) for number in which]
    return np.array(rows, dtype=np.float64)


def lime_weights(z: Array, kernel_width: float) -> Array:
    """The weight (B,) of each row: near 1 for rows that keep nearly all."""
    distance = 1 - np.sqrt(z.mean(axis=1))
    return np.asarray(np.sqrt(np.exp(-((distance / kernel_width) ** 2))))
