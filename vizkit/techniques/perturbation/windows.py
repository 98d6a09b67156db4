"""Windows that cover an input."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError

Side = int | tuple[int, ...]


def covers_of(corners: list[tuple[int, ...]], window: tuple[int, ...], size: tuple[int, ...]) -> list[Array]:
    """Which rows (K, H), columns (K, W) and so on each window covers, as ones."""
    starts = np.array(corners)
    places = (np.arange(side) - starts[:, axis, None] for axis, side in enumerate(size))
    return [((at >= 0) & (at < side)).astype(np.float64) for at, side in zip(places, window, strict=True)]


def sides_of(given: Side | None, name: str, size: tuple[int, ...], default: tuple[int, ...]) -> tuple[int, ...]:
    wanted = default if given is None else (given,) * len(size) if isinstance(given, int) else tuple(given)
    if len(wanted) != len(size) or min(wanted) < 1:
        raise SettingError(f"{name}={given!r}: give a positive number of pixels, or one for each side, as in {size}.")
    return wanted


def corners_of(size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The first corner of every window, row by row."""
    for side, extent, step in zip(size, window, stride, strict=True):
        if extent > side:
            raise SettingError(f"window={window} is larger than the input, {size}.")
        if step > extent and extent < side:
            raise SettingError(f"stride={stride} is larger than window={window}, so pixels between would never change.")
    starts = [
        [step * k for k in range(math.ceil((side - extent) / step) + 1)]
        for side, extent, step in zip(size, window, stride, strict=True)
    ]
    return list(product(*starts))
