"""Designs of random masks, and how much of a score's variation each feature has a part in."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ...support.packages import needed
from ..common.noise import generator


def sobol_points(features: int, samples: int, seed: int) -> tuple[Array, Array]:
    """Two independent designs (samples, K) in 0..1: halves of the columns of one scrambled Sobol sequence, by scipy.

    Raises VizkitError without scipy, SettingError unless ``samples`` is a power of two, for which alone the sequence is
    balanced.
    """
    if samples < 2 or samples & (samples - 1):
        raise SettingError(f"samples={samples}: a Sobol sequence needs a power of two, such as 16, 32 or 64.")
    qmc = needed("scipy.stats", "A Sobol sequence needs SciPy", "vizkit[explain]").qmc
    points = qmc.Sobol(2 * features, scramble=True, seed=generator(seed, 0)).random(samples)
    return points[:, :features], points[:, features:]


def replicated(a: Array, b: Array, which: range) -> Array:
    """Rows (B, K) with these numbers: those of ``a``, and for each feature ``a`` with that feature's column from
    ``b``."""
    block, row = np.divmod(np.arange(which.start, which.stop), len(a))
    z = a[row]
    swapped = np.flatnonzero(block)
    feature = block[swapped] - 1
    z[swapped, feature] = b[row[swapped], feature]
    return np.asarray(z)


def total_indices(scores: Array, samples: int) -> Array:
    """Jansen's estimate of the total Sobol indices (K,) from the scores of :func:`replicated`; zero where nothing
    varies."""
    rows = scores.reshape(-1, samples)
    variance = rows[0].var(ddof=1)
    if not variance > 0:
        return np.zeros(len(rows) - 1)
    return np.asarray(((rows[0] - rows[1:]) ** 2).mean(axis=1) / (2 * variance))


def dependence(z: Array, scores: Array) -> Array:
    """The Hilbert-Schmidt independence criterion (K,) of each column of zeros and ones z (B, K) and the scores (B,).

    ``tr(K H L H) / B^2``. With ``c`` a column less its mean, ``H K H = 2 c c^T`` where K is one for equal entries and
    else zero, so that no matrix is made for each feature.
    """
    distance = np.abs(scores[:, None] - scores)
    apart = distance[distance > 0]
    if not len(apart):
        return np.zeros(z.shape[1])
    alike = np.exp(-((distance / np.median(apart)) ** 2) / 2)
    centred = z - z.mean(axis=0)
    return np.asarray(2 * ((alike @ centred) * centred).sum(axis=0) / len(z) ** 2)
