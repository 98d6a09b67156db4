"""Non-negative factors of activations, by scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ...support.packages import needed


def factorise(activations: Array, components: int, seed: int, iterations: int) -> tuple[Array, Array, int]:
    """Activations (N, C, h, w) as concepts (K, C) and how much of each is where, (N, K, h, w), each component from 0 to
    1 over all pictures; and the iterations that it took.

    Raises VizkitError without scikit-learn, SettingError for more components than positions or channels.
    """
    needed("sklearn.decomposition", "Factorisation needs scikit-learn", "vizkit[explain]")
    n, channels, height, width = activations.shape
    flat = activations.astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
    if components > min(flat.shape):
        raise SettingError(
            f"components={components}: the layer has {channels} channels at {flat.shape[1]} positions in all; take at "
            f"most {min(flat.shape)}."
        )
    if not np.isfinite(flat).all():
        raise SettingError("The layer's activations are not finite, so they have no factors.")
    offset = flat.min(axis=1)
    options = {"init": "random", "random_state": seed, "max_iter": iterations}
    weights, strength, taken = nmf(flat - offset[:, None], components, **options)
    high = strength.max(axis=1)
    high[high == 0] = 1.0
    maps = (strength / high[:, None]).reshape(components, n, height, width).transpose(1, 0, 2, 3)
    return (weights * high + offset[:, None]).T, maps, taken


def nmf(values: Array, count: int, **options: Any) -> tuple[Array, Array, int]:
    """scikit-learn's factors of values, both without negative ones, and the iterations that it took."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    solver = NMF(count, **options)
    with warnings.catch_warnings():  # near enough for a picture, if it is not done
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = solver.fit_transform(values)
    return found, solver.components_, int(solver.n_iter_)
