"""Random transforms between a picture and the network, so that what is optimised survives small changes of view.

A transform is called with the functions of a framework, a batch (N, C, H, W) in 0..1 and the numbers (1, K) that it
drew for this step, native as the batch and the same for every picture. The size of what it returns depends on the size
of its input alone, so that a device can repeat a step with other numbers. All are differentiable, and the same seed
gives the same transforms in every framework.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...contract.backend import Array, Ops, Tensor
from ...contract.draws import HALF
from ...contract.errors import SettingError, ShapeError

GRAY = 0.5
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray picture (ITU-R BT.601)."""


class Transform(ABC):
    """One random change of view."""

    numbers: ClassVar[int] = 0
    """How many numbers it draws."""

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        """What differs this time: :attr:`numbers` numbers."""
        return ()

    @abstractmethod
    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        """The batch as seen this time; ``drawn`` (1, K) is what :meth:`draw` gave."""


@dataclass(frozen=True)
class Pad(Transform):
    """``width`` pixels on every side, of gray ``value`` (mode "constant") or mirrored (mode "reflect")."""

    width: int
    mode: str = "constant"
    value: float = GRAY

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        if self.mode == "constant":
            return ops.pad(x, self.width, self.value)
        height, width = (int(side) for side in x.shape[2:])
        rows, columns = (ops.constant(mirroring, side, self.width) for side in (height, width))
        return ops.along(x, rows=rows, columns=ops.transpose(columns, (1, 0)))


@dataclass(frozen=True)
class Jitter(Transform):
    """A crop at a random place, ``pixels`` smaller than the picture: a shift of up to so many pixels."""

    numbers: ClassVar[int] = 2
    pixels: int

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return tuple(float(one) for one in rng.integers(0, self.pixels + 1, 2))

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        height, width = (int(side) - self.pixels for side in x.shape[2:])
        if height < 1 or width < 1:
            raise ShapeError(f"{self!r} takes more than the whole picture of {x.shape[2]} x {x.shape[3]} pixels.")
        return read_at(ops, x, places(ops, height) + drawn[:, :1], places(ops, width) + drawn[:, 1:2])


@dataclass(frozen=True)
class Scale(Transform):
    """Enlarged about the middle by a factor drawn evenly from ``low`` to ``high``, on a canvas as large as before; what
    comes in from outside is ``value``."""

    numbers: ClassVar[int] = 1
    low: float = 0.9
    high: float = 1.1
    value: float = GRAY

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return (float(rng.uniform(self.low, self.high)),)

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        rows, columns = ((places(ops, int(side)) - (side - 1) / 2) / drawn + (side - 1) / 2 for side in x.shape[2:])
        return read_at(ops, x - self.value, rows, columns) + self.value


@dataclass(frozen=True)
class Rotate(Transform):
    """Turned about the middle, counterclockwise, by degrees drawn from a normal distribution of standard deviation
    ``degrees``, at most twice that; what comes in from outside is ``value``."""

    numbers: ClassVar[int] = 1
    degrees: float = 5.0
    value: float = GRAY

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        angle = float(np.clip(rng.normal(0.0, self.degrees), -2 * self.degrees, 2 * self.degrees))
        if not math.isfinite(angle):
            raise SettingError(f"rotation by {angle} degrees: expected a finite number.")
        return (math.radians(angle),)

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        height, width = (int(side) for side in x.shape[2:])
        y, across = ops.constant(from_middle, height, width, 0), ops.constant(from_middle, height, width, 1)
        cosine, sine = ops.cos(drawn), ops.sin(drawn)
        rows = cosine * y + sine * across + (height - 1) / 2
        columns = cosine * across - sine * y + (width - 1) / 2
        return ops.sample(x - self.value, rows, columns) + self.value


@dataclass(frozen=True)
class Blur(Transform):
    """A Gaussian blur of a standard deviation drawn evenly from 0 to ``sigma`` pixels, cut off at four times ``sigma``;
    edges are repeated."""

    numbers: ClassVar[int] = 1
    sigma: float = 1.0

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return (max(float(rng.uniform(0.0, self.sigma)), SHARP),)

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        reach = max(1, int(4.0 * self.sigma + 0.5))
        rows, columns = (self._matrix(ops, int(side), reach, drawn) for side in x.shape[2:])
        return ops.along(x, rows=rows, columns=ops.transpose(columns, (1, 0)))

    def _matrix(self, ops: Ops, side: int, reach: int, sigma: Tensor) -> Tensor:
        away = ops.constant(distances, side, reach) / sigma
        near = ops.exp(-0.5 * away * away) * ops.constant(reached, side, reach)
        return ops.matmul(near / ops.sum(near, 1, keepdims=True), ops.constant(repeating, side, reach))


@dataclass(frozen=True)
class Flip(Transform):
    """Mirrored left to right with this probability."""

    numbers: ClassVar[int] = 1
    probability: float = 0.5

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return (float(rng.random() < self.probability),)

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        width = int(x.shape[3])
        at = places(ops, width)
        return ops.along(x, columns=ops.transpose(ops.hats(at + drawn * (width - 1.0 - 2.0 * at), width), (1, 0)))


@dataclass(frozen=True)
class Noise(Transform):
    """Gaussian noise of this standard deviation on every value."""

    numbers: ClassVar[int] = 2
    sd: float = 0.05

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return tuple(float(one) for one in rng.integers(0, 1 << HALF, 2))

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        return x + self.sd * ops.normal(drawn, tuple(int(side) for side in x.shape[1:]))


@dataclass(frozen=True)
class Crop(Transform):
    """A random part whose sides are a share of the picture's, drawn evenly from ``low`` to ``high``, enlarged to the
    picture's size (as in MACO, arXiv 2306.06805)."""

    numbers: ClassVar[int] = 3
    low: float = 0.5
    high: float = 1.0

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return tuple(float(one) for one in (rng.uniform(self.low, self.high), rng.random(), rng.random()))

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        share = drawn[:, :1]
        rows, columns = (
            _within(ops, (1.0 - share) * float(side) * at + share * (places(ops, int(side)) + 0.5) - 0.5, int(side))
            for at, side in zip((drawn[:, 1:2], drawn[:, 2:3]), x.shape[2:], strict=True)
        )
        return read_at(ops, x, rows, columns)


@dataclass(frozen=True)
class ColourJitter(Transform):
    """Brightness, contrast and saturation, each by a factor drawn evenly from ``1 - amount`` to ``1 + amount``."""

    numbers: ClassVar[int] = 3
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        return tuple(float(one) for one in 1.0 + amounts * rng.uniform(-1.0, 1.0, 3))

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        bright, contrast, saturation = (ops.reshape(drawn[:, k : k + 1], (1, 1, 1, 1)) for k in range(3))
        x = contrast * (bright * x) + GRAY * (1.0 - contrast)
        if x.shape[1] != 3:
            return x
        mixed = saturation * ops.constant(_colours, False) + (1.0 - saturation) * ops.constant(_colours, True)
        return ops.conv(x, mixed)


@dataclass(frozen=True)
class Resize(Transform):
    """To ``size`` pixels, (height, width) or one number for both, bilinear; always the same, nothing is drawn."""

    size: int | tuple[int, int]

    def __call__(self, ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
        return ops.resize(x, (self.size, self.size) if isinstance(self.size, int) else self.size)


STANDARD: tuple[Transform, ...] = (Pad(12), Jitter(8), Scale(0.9, 1.1), Rotate(5.0), Jitter(4))
"""Lucid's recipe: pad, jitter, scale, rotate, jitter (Olah et al. 2017)."""
SHARP = 1e-3
"""Pixels: a blur of which nothing can be seen."""


def draw(transforms: Sequence[Transform], rng: np.random.Generator) -> tuple[float, ...]:
    """What all of them draw, one after the other."""
    return tuple(number for transform in transforms for number in transform.draw(rng))


def compose(transforms: Sequence[Transform], ops: Ops, x: Tensor, drawn: Tensor) -> Tensor:
    """One after the other; ``drawn`` (1, K) begins with what :func:`draw` gave."""
    start = 0
    for transform in transforms:
        stop = start + transform.numbers
        own = drawn[:, start:stop] if transform.numbers else drawn  # not every framework knows empty slices
        x, start = transform(ops, x, own), stop
    return x


def places(ops: Ops, count: int) -> Tensor:
    """0, 1, 2, ... as (count, 1)."""
    return ops.reshape(ops.constant(np.arange, 0.0, float(count)), (count, 1))


def read_at(ops: Ops, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, H, W) at the rows (H', 1) and columns (W', 1), between pixels linearly, zero outside: matrix products,
    whose gradients are such, too, and have the same digits each time."""
    down, across = ops.hats(rows, int(x.shape[2])), ops.hats(columns, int(x.shape[3]))
    return ops.along(x, rows=down, columns=ops.transpose(across, (1, 0)))


def _within(ops: Ops, at: Tensor, side: int) -> Tensor:
    return ops.minimum(ops.maximum(at, 0.0), side - 1.0)


def blurred(ops: Ops, x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, cut off at four standard deviations, edges repeated, of (N, C, H, W); two matrix products."""
    if sigma <= 0:
        return x
    rows, columns = (ops.constant(blur_matrix, int(side), sigma) for side in x.shape[2:])
    return ops.along(x, rows=rows, columns=ops.transpose(columns, (1, 0)))


def blur_matrix(side: int, sigma: float) -> Array:
    """(side, side) matrix of one axis' Gaussian blur, float64; rows sum to one."""
    reach = max(1, int(4.0 * sigma + 0.5))
    near = np.exp(-0.5 * (distances(side, reach) / sigma) ** 2) * reached(side, reach)
    return np.asarray(near / near.sum(axis=1, keepdims=True) @ repeating(side, reach))


def distances(side: int, reach: int) -> Array:
    """(side, side + 2 reach): from each pixel to each of an axis that is ``reach`` pixels longer at both ends."""
    return np.abs(np.arange(side + 2.0 * reach) - reach - np.arange(side)[:, None])


def reached(side: int, reach: int) -> Array:
    """Where :func:`distances` are at most ``reach``, as ones."""
    return np.asarray(distances(side, reach) <= reach, dtype=np.float64)


def repeating(side: int, reach: int) -> Array:
    """(side + 2 reach, side): which pixel stands where on that longer axis, edges repeated."""
    return np.asarray(np.eye(side)[np.clip(np.arange(-reach, side + reach), 0, side - 1)])


def mirroring(side: int, width: int) -> Array:
    """(side + 2 width, side): the same with mirrored edges, the outermost pixel once."""
    at = np.abs(np.arange(-width, side + width))
    return np.asarray(np.eye(side)[np.where(at < side, at, 2 * (side - 1) - at)])


def from_middle(height: int, width: int, axis: int) -> Array:
    """(H, W): how far each pixel lies below the middle (axis 0), or right of it (axis 1)."""
    return np.asarray(np.mgrid[0:height, 0:width][axis] - ((height, width)[axis] - 1) / 2)


def _colours(gray: bool) -> Array:
    """(3, 3, 1, 1) weights that leave the colours, or make all of them gray."""
    return np.asarray((np.tile(np.array(LUMA), (3, 1)) if gray else np.eye(3))[:, :, None, None])
