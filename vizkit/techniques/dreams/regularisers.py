"""Penalties on a picture, as objectives: subtract them, ``unit(...) - 0.1 * total_variation()``.

All read the picture (N, C, H, W) in 0..1 before transforms, and give a number for each, zero at best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...contract.errors import SettingError
from ...contract.ops import Array, Ops, Tensor
from .objectives import FLOOR, Objective, Seen
from .transforms import blurred

SCHARR = ((-3.0, 0.0, 3.0), (-10.0, 0.0, 10.0), (-3.0, 0.0, 3.0))
"""The x derivative; the other is its transpose."""


class Penalty(Objective):
    """Reads the picture only."""

    def layers(self) -> tuple[str, ...]:
        return ()

    def judged(self) -> Objective | None:
        return None


@dataclass(frozen=True)
class L2(Penalty):
    """See :func:`l2`."""

    around: float
    root: bool

    def value(self, seen: Seen) -> Tensor:
        gap = seen.picture - self.around
        mean = seen.ops.mean(gap * gap, (1, 2, 3))
        return seen.ops.sqrt(mean + FLOOR) if self.root else mean


@dataclass(frozen=True)
class TotalVariation(Penalty):
    """See :func:`total_variation`."""

    beta: float

    def value(self, seen: Seen) -> Tensor:
        ops, x = seen.ops, seen.picture
        down = x[:, :, 1:, :-1] - x[:, :, :-1, :-1]
        across = x[:, :, :-1, 1:] - x[:, :, :-1, :-1]
        return ops.mean((down * down + across * across + FLOOR) ** (self.beta / 2), (1, 2, 3))


@dataclass(frozen=True)
class Scharr(Penalty):
    """See :func:`scharr`."""

    def value(self, seen: Seen) -> Tensor:
        ops, x = seen.ops, seen.picture
        slopes = ops.conv(x, derivative_kernels(ops, SCHARR, x.shape[1]), groups=x.shape[1])
        return ops.sqrt(ops.mean(slopes * slopes, (1, 2, 3)) + FLOOR)


@dataclass(frozen=True)
class BlurDecay(Penalty):
    """See :func:`blur_decay`."""

    sigma: float

    def value(self, seen: Seen) -> Tensor:
        gap = seen.picture - seen.ops.detach(blurred(seen.ops, seen.picture, self.sigma))
        return seen.ops.mean(gap * gap, (1, 2, 3))


@dataclass(frozen=True)
class AlphaSum(Penalty):
    """See :func:`alpha_sum`."""

    def value(self, seen: Seen) -> Tensor:
        if seen.alpha is None:
            raise SettingError("alpha_sum() needs a parametrisation with an alpha channel: alpha=True.")
        return seen.ops.mean(seen.alpha, (1, 2, 3))


def derivative_kernels(ops: Ops, x: Sequence[Sequence[float]], channels: int) -> Tensor:
    """x and y derivative of each channel as weights (2 C, 1, k, k) of a grouped convolution."""
    return ops.constant(_both_ways, tuple(map(tuple, x)), channels)


def _both_ways(x: tuple[tuple[float, ...], ...], channels: int) -> Array:
    kernel = np.array(x)
    return np.asarray(np.stack([kernel, kernel.T] * channels)[:, None])


def l2(*, around: float = 0.5) -> Objective:
    """``mean (x - around)^2``."""
    return L2(around, root=False)


def rms(*, around: float = 0.5) -> Objective:
    """``sqrt(mean (x - around)^2)``."""
    return L2(around, root=True)


def total_variation(*, beta: float = 1.0) -> Objective:
    """``mean (dx^2 + dy^2)^(beta / 2)`` of neighbouring pixels (Mahendran & Vedaldi 2014, arXiv 1412.0035)."""
    if beta <= 0:
        raise SettingError(f"total_variation(beta={beta}): the exponent must be positive.")
    return TotalVariation(beta)


def scharr() -> Objective:
    """The root mean square of the Scharr derivatives, integer kernels (3, 10, 3), valid positions only."""
    return Scharr()


def blur_decay(*, sigma: float = 1.0) -> Objective:
    """``mean (x - blur(x))^2`` with the blurred picture held fixed, which pulls every pixel towards its neighbours, as
    a blur after each step does (Yosinski et al. 2015, arXiv 1506.06579)."""
    return BlurDecay(sigma)


def alpha_sum() -> Objective:
    """The mean opacity: subtracted, whatever the objective does not need becomes transparent."""
    return AlphaSum()
