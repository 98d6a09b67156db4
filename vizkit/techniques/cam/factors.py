"""Non-negative factors of activations, by scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ...support.packages import needed


def factorise(activations: Array, components: int, seed: int, iterations: int) -> tuple[Array, Array, int]:
    """Activations (N, C, h, w) as concepts (K, C) and how much of each is where, (N, K, h, w), each component from 0 to
    1 over all pictures; and the iterations that it took.

    Raises VizkitError without scikit-learn, SettingError for more components than positions or channels.
    """
    said = "Factorisation needs scikit-learn. Install it with: pip install 'vizkit[explain]'"
    nmf, unfinished = needed("sklearn.decomposition", said).NMF, needed("sklearn.exceptions", said).ConvergenceWarning
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
    solver = nmf(n_components=components, init="random", random_state=seed, max_iter=iterations)
    with warnings.catch_warnings():
        # Near enough for a picture; provenance says how long it took.
        warnings.simplefilter("ignore", unfinished)
        weights = solver.fit_transform(flat - offset[:, None])
    strength = solver.components_
    high = strength.max(axis=1)
    high[high == 0] = 1.0
    maps = (strength / high[:, None]).reshape(components, n, height, width).transpose(1, 0, 2, 3)
    return (weights * high + offset[:, None]).T, maps, int(solver.n_iter_)
