"""Random numbers by counting: each depends on a key and its place alone, so that a device makes them where it needs
them, in any order, and every framework makes the same.

A key and a place are mixed by the finaliser of SplitMix64 (Steele, Lea & Flood 2014, 10.1145/2660193.2660195), and the
two halves of the 64 bits become two normal numbers by Box and Muller's transform. Wrapping 64-bit integers are all that
a framework needs for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import SettingError

GOLDEN = 0x9E3779B97F4A7C15
MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
"""Shifts and factors of the finaliser, which ends with a shift by :data:`LAST`."""
LAST = 31
WORD = (1 << 64) - 1
HALF = 24
"""Bits of each of the two whole numbers that make a key: float32 holds them exactly."""
BLOCK = 4096
"""Pairs at a time, so that what lies between stays in the processor's cache."""


def keys(seed: int, numbers: Iterable[int]) -> npt.NDArray[np.float64]:
    """The keys (B, 2) of samples with these numbers: whole numbers below ``2 ** 24``, in float64.

    Raises SettingError for a seed below zero.
    """
    if seed < 0:
        raise SettingError(f"seed={seed}: give a number from 0.")
    start = 0
    while seed:
        start, seed = _mixed(start ^ (seed & WORD)) + GOLDEN * (seed > WORD), seed >> 64
    found = [_mixed(start + (number + 1) * GOLDEN) >> (64 - 2 * HALF) for number in numbers]
    return np.array([divmod(one, 1 << HALF) for one in found], dtype=np.float64).reshape(-1, 2)


def normal(keys: npt.NDArray[np.floating[Any]], count: int) -> npt.NDArray[np.float64]:
    """Standard normal numbers (B, count) for keys (B, 2).

    With ``u`` the upper and ``v`` the lower half of the 64 bits of a place, ``sqrt(-2 ln((u + 1) / 2^32))`` times the
    cosine of ``2 pi v / 2^32`` in the first half of the row, and times the sine in the second.
    """
    pairs = (count + 1) // 2
    drawn = np.empty((len(keys), 2 * pairs))
    places = np.arange(1, pairs + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    whole = keys.astype(np.uint64)
    for row, start in zip(drawn, _mix((whole[:, :1] << np.uint64(HALF)) | whole[:, 1:]), strict=True):
        for at in range(0, pairs, BLOCK):
            z = _mix(start + places[at : at + BLOCK])
            radius = np.sqrt(-2.0 * np.log(((z >> np.uint64(32)).astype(np.float64) + 1.0) * 2.0**-32))
            angle = (z & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0 * np.pi * 2.0**-32)
            np.multiply(radius, np.cos(angle), out=row[:pairs][at : at + BLOCK])
            np.multiply(radius, np.sin(angle), out=row[pairs:][at : at + BLOCK])
    return drawn[:, :count]


def _mixed(z: int) -> int:
    return int(_mix(np.array([z & WORD], np.uint64))[0])


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for shift, factor in MIXING:
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(LAST))
