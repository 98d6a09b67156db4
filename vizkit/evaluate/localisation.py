"""Does a map sit on the object? Metrics against masks of the object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..contract.backend import Array
from ..contract.errors import SettingError
from ._maps import Maps, as_maps, as_masks


def pointing_game(maps: Maps, masks: npt.ArrayLike, *, tolerance: float = 15.0) -> Array:
    """Is the map's highest point on the object (Zhang et al. 2016, arXiv 1608.00507)? Higher is better.

    A hit where a mask pixel lies within ``tolerance`` pixels of the highest point, as in the paper, whose 15 pixels
    are meant for photos of about 500; take 0 for a strict game. Where several points share the highest value, the share
    of them that hit: a constant map scores the share of the picture from which the object is in reach, not a free hit.
    The paper's accuracy is the mean over the pictures of a class, then over classes.

    Args:
        maps: (N, H, W), or an attribution.
        masks: (N, H, W) of bool, or 0 and 1; none empty.
        tolerance: distance in pixels, 0 or more.

    Returns:
        (N,) in 0..1; 0 or 1 where the highest point is one.

    Raises:
        ShapeError, SettingError.

    Example:
        >>> pointing_game([[[0.0, 2.0, 1.0]]], [[[0, 0, 1]]], tolerance=0)
        array([0.])
    """
    if tolerance < 0:
        raise SettingError(f"tolerance={tolerance}: give a distance in pixels, 0 or more.")
    values = as_maps(maps)
    found = as_masks(masks, values)
    return np.array([_hits(one, mask, tolerance) for one, mask in zip(values, found, strict=True)])


def _hits(values: Array, mask: Array, tolerance: float) -> float:
    """The share of the highest points that hit. Distances are to the mask's pixels of each row, row by row."""
    highest = np.argwhere(values == values.max())
    reached = np.zeros(len(highest), dtype=bool)
    for y in np.flatnonzero(mask.any(axis=1)):
        columns = np.flatnonzero(mask[y])
        after = np.searchsorted(columns, highest[:, 1])
        aside = np.minimum(
            np.abs(columns[np.minimum(after, len(columns) - 1)] - highest[:, 1]),
            np.abs(columns[np.maximum(after - 1, 0)] - highest[:, 1]),
        )
        reached |= aside**2 + (y - highest[:, 0]) ** 2 <= tolerance**2
    return float(reached.mean())


def relevance_mass(maps: Maps, masks: npt.ArrayLike) -> Array:
    """How much of the map's positive relevance lies on the object (Arras, Osman & Samek 2020, arXiv 2003.07258)? Higher
    is better.

    ``sum of max(M, 0) over the mask / sum of max(M, 0)``: the paper's relevance mass accuracy with its pooling of
    positive values. A positive constant map scores the mask's share of the picture, a map without positive values 0.

    Args:
        maps: (N, H, W), or an attribution; negative values count as none.
        masks: (N, H, W) of bool, or 0 and 1; none empty.

    Returns:
        (N,) in 0..1.

    Raises:
        ShapeError, SettingError.

    Example:
        >>> relevance_mass([[[3.0, 1.0, -5.0]]], [[[1, 0, 0]]])
        array([0.75])
    """
    values = np.maximum(as_maps(maps), 0)
    found = as_masks(masks, values)
    inside, whole = (values * found).sum(axis=(1, 2)), values.sum(axis=(1, 2))
    return np.asarray(np.divide(inside, whole, out=np.zeros_like(whole), where=whole > 0))


def relevance_rank(maps: Maps, masks: npt.ArrayLike) -> Array:
    """How many of the K highest points lie on an object of K pixels (Arras, Osman & Samek 2020, arXiv 2003.07258)?
    Higher is better.

    ``|highest K points and mask| / K``: the paper's relevance rank accuracy. Where points that share a value do not all
    fit into the K, the expectation over which of them are taken: a constant map scores the mask's share of the picture.

    Args:
        maps: (N, H, W), or an attribution; signed values are taken as they are.
        masks: (N, H, W) of bool, or 0 and 1; none empty.

    Returns:
        (N,) in 0..1.

    Raises:
        ShapeError, SettingError.

    Example:
        >>> relevance_rank([[[3.0, 1.0, 2.0]]], [[[1, 1, 0]]])
        array([0.5])
    """
    values = as_maps(maps)
    found = as_masks(masks, values)
    return np.array([_rank(one.ravel(), mask.ravel()) for one, mask in zip(values, found, strict=True)])


def _rank(values: Array, mask: Array) -> float:
    k = int(mask.sum())
    last = np.partition(values, len(values) - k)[len(values) - k]
    above, tied = values > last, values == last
    inside = mask[above].sum() + (k - above.sum()) * mask[tied].mean()
    return float(inside / k)
