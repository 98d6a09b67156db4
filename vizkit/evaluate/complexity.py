"""How simple is a map? These metrics describe it, and say nothing about whether it is right."""

from __future__ import annotations

import numpy as np

from ..contract.backend import Array
from ._maps import Maps, as_maps


def sparseness(maps: Maps) -> Array:
    """The Gini index of the absolute values (Chalasani et al. 2020, arXiv 1810.06583). Higher is sparser.

    ``G = sum_i (2 i - n - 1) a_i / (n sum a)`` with ``a`` the n absolute values in ascending order, i from 1. A
    constant map scores 0, and so does a map of zeros; one lit pixel of n scores ``1 - 1 / n``.

    Args:
        maps: (N, H, W), or an attribution.

    Returns:
        (N,) in 0..1.

    Raises:
        ShapeError, SettingError.

    Example:
        >>> sparseness([[[0.0, 0.0, 0.0, 5.0]]])
        array([0.75])
    """
    values = np.sort(_flat(maps), axis=1)
    n = values.shape[1]
    whole = n * values.sum(axis=1)
    moment = values @ (2 * np.arange(1, n + 1) - n - 1)
    return np.asarray(np.divide(moment, whole, out=np.zeros_like(whole), where=whole > 0))


def complexity(maps: Maps) -> Array:
    """The entropy of the absolute values, as shares of their sum (Bhatt, Weller & Moura 2020, arXiv 2005.00631). Lower
    is simpler.

    ``H = - sum_i p_i ln p_i`` with ``p_i = |M_i| / sum |M|``. A constant map scores ``ln n``, the most; one lit pixel
    scores 0; a map of zeros says nothing of any pixel, as a constant does, and scores ``ln n``.

    Args:
        maps: (N, H, W), or an attribution.

    Returns:
        (N,) in 0..ln(H W).

    Raises:
        ShapeError, SettingError.

    Example:
        >>> complexity([[[0.0, 2.0, 2.0, 0.0]]]).round(3)
        array([0.693])
    """
    values = _flat(maps)
    values = np.where(values.any(axis=1, keepdims=True), values, 1.0)
    shares = values / values.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1))


def _flat(maps: Maps) -> Array:
    """Absolute values (N, H W)."""
    values = as_maps(maps)
    return np.abs(values).reshape(len(values), -1)
