"""Random transforms between a picture and the network, so that what is optimised survives small changes of view.

A transform is called with the functions of a framework, a batch (N, C, H, W) in 0..1 and a NumPy generator, draws what
it needs from the generator, the same for every picture of the batch, and returns a batch, perhaps of another size. All
are differentiable, and the same seed gives the same transforms in every framework.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .backend import Array, Ops, Tensor
from .errors import SettingError, ShapeError

GRAY = 0.5
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray picture (ITU-R BT.601)."""


class Transform(ABC):
    """One random change of view."""

    @abstractmethod
    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        """The batch as seen this time."""


@dataclass(frozen=True)
class Pad(Transform):
    """``width`` pixels on every side, of gray ``value`` (mode "constant") or mirrored (mode "reflect")."""

    width: int
    mode: str = "constant"
    value: float = GRAY

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        return ops.pad(x, self.width, self.mode, self.value)


@dataclass(frozen=True)
class Jitter(Transform):
    """A crop at a random place, ``pixels`` smaller than the picture: a shift of up to so many pixels."""

    pixels: int

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        height, width = (side - self.pixels for side in x.shape[2:])
        if height < 1 or width < 1:
            raise ShapeError(f"{self!r} takes more than the whole picture of {x.shape[2]} x {x.shape[3]} pixels.")
        top, left = (int(one) for one in rng.integers(0, self.pixels + 1, 2))
        return x[:, :, top : top + height, left : left + width]


@dataclass(frozen=True)
class Scale(Transform):
    """Resized by a factor drawn evenly from ``low`` to ``high``; sides are rounded up."""

    low: float = 0.9
    high: float = 1.1

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        factor = rng.uniform(self.low, self.high)
        height, width = (max(1, math.ceil(side * factor)) for side in x.shape[2:])
        return ops.resize(x, (height, width))


@dataclass(frozen=True)
class Rotate(Transform):
    """Turned about the middle, counterclockwise, by degrees drawn from a normal distribution of standard deviation
    ``degrees``, at most twice that; what comes in from outside is ``value``."""

    degrees: float = 5.0
    value: float = GRAY

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        angle = float(np.clip(rng.normal(0.0, self.degrees), -2 * self.degrees, 2 * self.degrees))
        at = rotation(int(x.shape[2]), int(x.shape[3]), angle)
        return ops.sample(x - self.value, at) + self.value


@dataclass(frozen=True)
class Blur(Transform):
    """A Gaussian blur of a standard deviation drawn evenly from 0 to ``sigma`` pixels; edges are repeated."""

    sigma: float = 1.0

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        return blurred(ops, x, float(rng.uniform(0.0, self.sigma)))


@dataclass(frozen=True)
class Flip(Transform):
    """Mirrored left to right with this probability."""

    probability: float = 0.5

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        return along(ops, x, columns=np.eye(x.shape[3])[::-1]) if rng.random() < self.probability else x


@dataclass(frozen=True)
class Noise(Transform):
    """Gaussian noise of this standard deviation on every value."""

    sd: float = 0.05

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        drawn = rng.normal(0.0, self.sd, (1, *x.shape[1:]))
        return x + ops.asarray(np.repeat(drawn, x.shape[0], axis=0))


@dataclass(frozen=True)
class Crop(Transform):
    """A random part whose sides are a share of the picture's, drawn evenly from ``low`` to ``high``, resized to the
    picture's size (as in MACO, arXiv 2306.06805)."""

    low: float = 0.5
    high: float = 1.0

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        share = float(rng.uniform(self.low, self.high))
        height, width = (max(1, round(share * side)) for side in x.shape[2:])
        top = int(rng.integers(0, x.shape[2] - height + 1))
        left = int(rng.integers(0, x.shape[3] - width + 1))
        part = x[:, :, top : top + height, left : left + width]
        return ops.resize(part, tuple(x.shape[2:]))


@dataclass(frozen=True)
class ColourJitter(Transform):
    """Brightness, contrast and saturation, each by a factor drawn evenly from ``1 - amount`` to ``1 + amount``."""

    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        bright, contrast, saturation = 1.0 + amounts * rng.uniform(-1.0, 1.0, 3)
        x = x * float(bright)
        x = float(contrast) * x + (1.0 - float(contrast)) * GRAY
        if x.shape[1] != 3:
            return x
        gray = np.tile(np.array(LUMA), (3, 1))
        mixed = saturation * np.eye(3) + (1.0 - saturation) * gray
        return ops.conv(x, ops.asarray(mixed[:, :, None, None]))


@dataclass(frozen=True)
class Resize(Transform):
    """To ``size`` pixels, (height, width) or one number for both, bilinear; always the same, nothing is drawn."""

    size: int | tuple[int, int]

    def __call__(self, ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
        return ops.resize(x, (self.size, self.size) if isinstance(self.size, int) else self.size)


STANDARD: tuple[Transform, ...] = (Pad(12), Jitter(8), Scale(0.9, 1.1), Rotate(5.0), Jitter(4))
"""Lucid's recipe: pad, jitter, scale, rotate, jitter (Olah et al. 2017)."""


def compose(transforms: Sequence[Transform], ops: Ops, x: Tensor, rng: np.random.Generator) -> Tensor:
    """One after the other."""
    for transform in transforms:
        x = transform(ops, x, rng)
    return x


def along(ops: Ops, x: Tensor, *, rows: Array | None = None, columns: Array | None = None) -> Tensor:
    """``rows @ x @ columns`` for each channel of (N, C, H, W), with matrices (H', H) and (W, W')."""
    n, c, height, width = x.shape
    if columns is not None:
        x = ops.matmul(ops.reshape(x, (n * c * height, width)), ops.asarray(columns))
        width = columns.shape[1]
        x = ops.reshape(x, (n, c, height, width))
    if rows is not None:
        x = ops.transpose(x, (2, 0, 1, 3))
        x = ops.matmul(ops.asarray(rows), ops.reshape(x, (height, n * c * width)))
        height = rows.shape[0]
        x = ops.transpose(ops.reshape(x, (height, n, c, width)), (1, 2, 0, 3))
    return x


def blurred(ops: Ops, x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, cut off at four standard deviations, edges repeated, of (N, C, H, W); two matrix products."""
    if sigma <= 0:
        return x
    height, width = (int(side) for side in x.shape[2:])
    return along(ops, x, rows=blur_matrix(height, sigma), columns=blur_matrix(width, sigma).T)


def blur_matrix(side: int, sigma: float) -> Array:
    """(side, side) matrix of one axis' Gaussian blur, float64; rows sum to one."""
    reach = max(1, int(4.0 * sigma + 0.5))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((side, side))
    for offset, weight in zip(offsets, weights, strict=True):
        at = np.clip(np.arange(side) + offset, 0, side - 1)
        np.add.at(matrix, (np.arange(side), at), weight)
    return matrix


def rotation(height: int, width: int, degrees: float) -> Array:
    """Where each pixel of a picture that is turned counterclockwise about its middle comes from: (H, W, 2), the row and
    the column, in pixels."""
    if not math.isfinite(degrees):
        raise SettingError(f"rotation by {degrees} degrees: expected a finite number.")
    turn = math.radians(degrees)
    middle = (height - 1) / 2, (width - 1) / 2
    rows, columns = np.mgrid[0:height, 0:width]
    y, x = rows - middle[0], columns - middle[1]
    return np.stack(
        [math.cos(turn) * y + math.sin(turn) * x + middle[0], -math.sin(turn) * y + math.cos(turn) * x + middle[1]],
        axis=-1,
    )
