"""Which superpixels each sample keeps, what it weighs, and the Shapley values of all of them."""

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


def halves(features: int, seed: int, which: range) -> Array:
    """Rows (B, K) of zeros and ones with these numbers, ones with probability 1/2."""
    rows = [generator(seed, number).integers(0, 2, features) for number in which]
    return np.array(rows, dtype=np.float64)


def lime_samples(features: int, seed: int, which: range) -> Array:
    """Rows (B, K) of zeros and ones with these numbers; number 0 is all ones."""
    z = halves(features, seed, which)
    z[np.arange(which.start, which.stop) == 0] = 1
    return z


def lime_weights(z: Array, kernel_width: float) -> Array:
    """The weight (B,) of each row: near 1 for rows that keep nearly all."""
    distance = 1 - np.sqrt(z.mean(axis=1))
    return np.asarray(np.sqrt(np.exp(-((distance / kernel_width) ** 2))))


def orders(features: int, samples: int, seed: int) -> Array:
    """The place (samples, K) of each feature in orders drawn at random."""
    drawn = [generator(seed, number).permutation(features) for number in range(samples)]
    return np.argsort(np.array(drawn).reshape(samples, features), axis=1)


def growing(places: Array, which: range) -> Array:
    """Rows (B, K) of zeros and ones with these numbers: of each order one after the other the sets of its first 1 to
    K - 1 features."""
    number, last = np.divmod(np.arange(which.start, which.stop), places.shape[1] - 1)
    return np.asarray((places[number] <= last[:, None]).astype(np.float64))


def gains(places: Array, scores: Array, empty: float, full: float) -> Array:
    """What each feature adds (samples, K) to those before it in each order, from the scores of :func:`growing`."""
    samples = len(places)
    ends = np.full((samples, 1), empty), np.full((samples, 1), full)
    along = np.concatenate([ends[0], scores.reshape(samples, -1), ends[1]], axis=1)
    return np.take_along_axis(np.diff(along, axis=1), places, axis=1)


def exact_shapley(scores: Array) -> Array:
    """Shapley values (K,) of the scores of all ``2^K`` subsets, where bit i of a subset's number says that it has
    feature i: ``sum over S without i of |S|! (K - |S| - 1)! / K! (v(S with i) - v(S))``."""
    features = len(scores).bit_length() - 1
    subsets = np.arange(len(scores))
    sizes = ((subsets[:, None] >> np.arange(features)) & 1).sum(axis=1)
    shares = np.array([1 / (features * comb(features - 1, k)) for k in range(features)])
    values = np.empty(features)
    for i in range(features):
        without = subsets[(subsets >> i) & 1 == 0]
        values[i] = shares[sizes[without]] @ (scores[without | 1 << i] - scores[without])
    return values


def derangements(count: int, features: int, seed: int) -> Array:
    """For each feature an order (features, count) of as many pictures, drawn at random among those in which none keeps
    its place."""
    found = np.empty((features, count), dtype=int)
    for number, row in enumerate(found):
        rng = generator(seed, number)
        row[:] = np.arange(count)
        while (row == np.arange(count)).any():
            row[:] = rng.permutation(count)
    return found
