"""Random numbers and colours in float32, and the pixel grid, for the ``shapes`` pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SIZE = 96
"""Height and width of every picture, in pixels."""

GRID: Floats = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
"""The pixel centres along one axis, shape (96,): pixel i covers i to i + 1."""


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Floats:
    """Uniform numbers between ``low`` and ``high``, float32 of the given shape."""
    return np.float32(low) + np.float32(high - low) * rng.random(shape, dtype=np.float32)


def from_hsv(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """RGB in 0..1, shape (…, 3), of hue (in turns, any real number), saturation and value (0..1), each of shape (…)."""
    sector = (np.array([5, 3, 1], np.float32) + np.float32(6) * hue[..., None]) % np.float32(6)
    wedge = np.clip(np.minimum(sector, np.float32(4) - sector), 0, 1)
    return np.asarray(value[..., None] * (1 - saturation[..., None] * wedge), np.float32)


def apart(colours: Floats, others: Floats) -> Floats:
    """The Euclidean RGB distance of each candidate to the nearest of ``others``.

    Args:
        colours: (N, K, 3), K candidates for each picture.
        others: (N, J, 3), the colours to keep away from.

    Returns:
        (N, K), 0..1.73.
    """
    difference = colours[:, :, None] - others[:, None]
    return np.asarray(np.sqrt((difference * difference).sum(-1)).min(-1), np.float32)


def pick(candidates: Floats, score: Floats) -> Floats:
    """The candidate of the highest score, the first among equals: (N, K, 3) and (N, K) give (N, 3)."""
    return np.asarray(candidates[np.arange(len(candidates)), score.argmax(1)], np.float32)


def rotated(centre: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Every pixel's coordinates in rotated axes around a point.

    Args:
        centre: (M, 2), x from the left and y from the upper edge, in pixels.
        angle: (M,) in radians, from the x axis towards the y axis.

    Returns:
        u along the angle and v across it, both (M, 96, 96) float32 in pixels.
    """
    right, down = GRID - centre[:, :1], GRID - centre[:, 1:]
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    u = (right * cosine)[:, None, :] + (down * sine)[:, :, None]
    v = (down * cosine)[:, :, None] - (right * sine)[:, None, :]
    return u, v
