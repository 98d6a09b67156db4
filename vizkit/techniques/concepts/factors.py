"""Non-negative parts of activations: found by factorisation, read again by least squares."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ..cam.factors import nmf


def factorise(values: Array, count: int, seed: int) -> tuple[Array, Array, float]:
    """``values`` (P, C) as near as can be ``U W`` with nothing negative (Lee & Seung 1999): U (P, K), W (K, C) with
    rows of unit length, and the norm of what is left as a share. Raises SettingError for more parts than fit."""
    if not 1 <= count <= min(values.shape):
        raise SettingError(f"concepts={count}: {values.shape[0]} crops of {values.shape[1]} channels allow 1 to "
                           f"{min(values.shape)}.")  # fmt: skip
    if not values.any():
        raise SettingError("All activations are zero: there is nothing to find concepts in. Take another layer.")
    fitted = nmf(values, count, init="nndsvda", random_state=seed, max_iter=1000, tol=1e-5)
    found, parts = (np.asarray(one, np.float64) for one in fitted[:2])
    lengths = np.linalg.norm(parts, axis=1, keepdims=True)
    lengths = np.where(lengths > 0, lengths, 1.0)
    left = float(np.linalg.norm(values - found @ parts) / np.linalg.norm(values))
    return found * lengths.T, parts / lengths, left


def read(values: Array, parts: Array) -> Array:
    """How much of each of K parts (K, C) is in values (P, C): non-negative least squares, (P, K)."""
    from scipy.optimize import nnls

    columns = np.ascontiguousarray(parts.T)
    return np.stack([nnls(columns, one)[0] for one in values])
