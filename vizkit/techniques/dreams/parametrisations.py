"""What is optimised in place of a picture's pixels, and how it becomes a picture.

A parametrisation is a set of named arrays, its *leaves*, and a differentiable way from them to a batch of pictures
(N, C, H, W) in 0..1. Which one is taken decides how gradients are spread over frequencies and colours, and with that
what the picture looks like (Olah et al. 2017).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...contract.backend import Array, Ops, Tensor
from ...contract.errors import SettingError
from ...contract.ops import bilinear_matrix

Leaves = dict[str, Array]
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
"""A square root of the covariance of red, green and blue over ImageNet, as published with Lucid."""
START = 0.01
"""Standard deviation of the noise that a picture starts from."""


def colour_matrix() -> Array:
    """(3, 3): :data:`COLOURS` over the norm of its longest column; takes decorrelated colours to red, green, blue."""
    return np.asarray(COLOURS / np.linalg.norm(COLOURS, axis=0).max())


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width; one number stands for both."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise SettingError(f"size={size}: height and width must be at least 1.")
    return int(height), int(width)


@dataclass(frozen=True)
class Parametrisation(ABC):
    """``size`` height and width in pixels, or one number for both; ``channels`` of the picture; ``decorrelate``: leaves
    are in colours that are independent over ImageNet; ``alpha``: a further leaf is each pixel's opacity. A picture is
    the sigmoid of what the leaves make."""

    size: int | tuple[int, int] = 128
    channels: int = 3
    decorrelate: bool = True
    alpha: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        return sides(self.size)

    def start(self, rng: np.random.Generator, count: int) -> Leaves:
        """Leaves of ``count`` pictures, the same for each, so that a batch gives what its pictures give alone."""
        height, width = self.sides
        one = self._start(rng)
        if self.alpha:
            one["alpha"] = rng.normal(0.0, START, (1, 1, height, width))
        return {name: np.repeat(leaf, count, axis=0) for name, leaf in one.items()}

    def pictures(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor:
        """(N, C, H, W) in 0..1."""
        raw = self._raw(ops, leaves)
        if self.decorrelate and self.channels == 3:
            raw = ops.conv(raw, ops.constant(_colour_weights))
        return ops.sigmoid(raw)

    def opacity(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor | None:
        """(N, 1, H, W) in 0..1, or None without alpha."""
        return ops.sigmoid(leaves["alpha"]) if self.alpha else None

    def resized(self, size: int | tuple[int, int]) -> Parametrisation:
        """The same at another size."""
        return replace(self, size=size)

    def grow(self, leaves: Leaves, size: int | tuple[int, int]) -> Leaves:
        """The leaves of the same pictures at another size."""
        grown = {name: self._grow(name, leaf, sides(size)) for name, leaf in leaves.items() if name != "alpha"}
        return grown | ({"alpha": bilinear(leaves["alpha"], sides(size))} if self.alpha else {})

    def grow_moment(self, leaves: Leaves, size: int | tuple[int, int]) -> Leaves:
        """An optimiser's running means, which have the leaves' shapes, at another size."""
        return self.grow(leaves, size)

    @abstractmethod
    def _start(self, rng: np.random.Generator) -> Leaves: ...

    @abstractmethod
    def _raw(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor:
        """What the sigmoid is taken of, before the colours."""

    @abstractmethod
    def _grow(self, name: str, leaf: Array, size: tuple[int, int]) -> Array: ...


@dataclass(frozen=True)
class Pixels(Parametrisation):
    """Each pixel by itself; gradients are spread evenly over frequencies, which favours fine patterns."""

    def _start(self, rng: np.random.Generator) -> Leaves:
        return {"pixels": rng.normal(0.0, START, (1, self.channels, *self.sides))}

    def _raw(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor:
        return leaves["pixels"]

    def _grow(self, name: str, leaf: Array, size: tuple[int, int]) -> Array:
        return bilinear(leaf, size)


@dataclass(frozen=True)
class Laplacian(Parametrisation):
    """The sum of ``levels`` pictures, each half as large as the one before, enlarged to full size."""

    levels: int = 4

    def _start(self, rng: np.random.Generator) -> Leaves:
        return {
            f"level{k}": rng.normal(0.0, START, (1, self.channels, *self._level(k, self.sides)))
            for k in range(self.levels)
        }

    def _level(self, k: int, size: tuple[int, int]) -> tuple[int, int]:
        return max(1, size[0] >> k), max(1, size[1] >> k)

    def _raw(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor:
        total = leaves["level0"]
        for k in range(1, self.levels):
            total = total + ops.resize(leaves[f"level{k}"], self.sides)
        return total

    def _grow(self, name: str, leaf: Array, size: tuple[int, int]) -> Array:
        return bilinear(leaf, self._level(int(name.removeprefix("level")), size))


@dataclass(frozen=True)
class Fourier(Parametrisation):
    """The picture's Fourier coefficients, scaled by ``1 / frequency ** decay`` as in natural pictures, so that steps
    are as large for coarse as for fine structure (Olah et al. 2017)."""

    decay: float = 1.0

    def _start(self, rng: np.random.Generator) -> Leaves:
        height, width = self.sides
        return {"spectrum": rng.normal(0.0, START, (1, self.channels, 2, height, width // 2 + 1))}

    def _raw(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor:
        width = self.sides[1]
        scale = ops.constant(falling, tuple(leaves["spectrum"].shape), width, self.decay)
        scaled = leaves["spectrum"] * scale
        return ops.irfft2(scaled, width) / 4.0

    def _grow(self, name: str, leaf: Array, size: tuple[int, int]) -> Array:
        (height, width), (high, wide) = self.sides, size
        factor = np.sqrt(high * wide / (height * width))  # of an orthonormal transform's coefficients
        before = falling((height, width // 2 + 1), width, self.decay)
        after = falling((high, wide // 2 + 1), wide, self.decay)
        return np.asarray(other_spectrum(leaf * before, (height, width), size) * factor / after)

    def grow_moment(self, leaves: Leaves, size: int | tuple[int, int]) -> Leaves:
        kept = {name: one for name, one in leaves.items() if name != "alpha"}
        moved = {n: other_spectrum(one, self.sides, sides(size), fill=float(one.mean())) for n, one in kept.items()}
        return moved | ({"alpha": bilinear(leaves["alpha"], sides(size))} if self.alpha else {})


@dataclass(frozen=True)
class Phase(Fourier):
    """Only the phases; the magnitudes are fixed, as they are on average over ``images``, or by default fall as
    ``1 / frequency`` (MACO, Fel et al. 2023, arXiv 2306.06805). Give :func:`magnitude` for ``spectrum``."""

    spectrum: Any = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.magnitudes().tobytes()).hexdigest()[:12]
        return (
            f"Phase(size={self.size}, channels={self.channels}, decorrelate={self.decorrelate}, alpha={self.alpha}, "
            f"magnitudes={digest!r})"
        )

    def _start(self, rng: np.random.Generator) -> Leaves:
        height, width = self.sides
        return {"phase": rng.uniform(-np.pi, np.pi, (1, self.channels, 1, height, width // 2 + 1))}

    def _raw(self, ops: Ops, leaves: dict[str, Tensor]) -> Tensor:
        size = ops.constant(np.asarray, self.magnitudes()[None, :, None])
        both = (size * ops.cos(leaves["phase"]), size * ops.sin(leaves["phase"]))
        return ops.irfft2(ops.concat(both, 2), self.sides[1])

    def magnitudes(self) -> Array:
        """(C, H, K) of the decorrelated colours, for values of standard deviation one."""
        height, width = self.sides
        if self.spectrum is None:
            found = falling((self.channels, height, width // 2 + 1), width, 1.0).copy()
        else:
            given = np.asarray(self.spectrum, dtype=np.float64)
            if given.ndim != 3 or given.shape[0] != self.channels or given.shape[2] != given.shape[1] // 2 + 1:
                raise SettingError(
                    f"Phase(spectrum=): expected ({self.channels}, side, side // 2 + 1) as magnitude() gives it; got "
                    f"{given.shape}."
                )
            found = bilinear_spectrum(given, height, width)
        found[:, 0, 0] = 0.0
        half = np.arange(width // 2 + 1)
        twice = np.where((half == 0) | (2 * half == width), 1.0, 2.0)
        power = (twice * found**2).sum(axis=(1, 2), keepdims=True) / (height * width)
        return np.asarray(found / np.sqrt(power + 1e-30))

    def _grow(self, name: str, leaf: Array, size: tuple[int, int]) -> Array:
        drawn = np.random.default_rng(size[0]).uniform(-np.pi, np.pi, (1, self.channels, 1, size[0], size[1] // 2 + 1))
        return other_spectrum(leaf, self.sides, size, fill=np.repeat(drawn, len(leaf), axis=0))


def _colour_weights() -> Array:
    return colour_matrix()[:, :, None, None]


def falling(shape: tuple[int, ...], width: int, decay: float) -> Array:
    """(..., H, W // 2 + 1): one over each coefficient's frequency to the power of ``decay``; of the lowest, where it is
    zero."""
    height = shape[-2]
    one = 1.0 / np.maximum(frequencies(height, width), 1.0 / max(height, width)) ** decay
    return np.broadcast_to(one, shape)


def frequencies(height: int, width: int) -> Array:
    """(H, W // 2 + 1): the frequency of each coefficient of ``rfft2`` in cycles per pixel."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    return np.asarray(np.sqrt(down * down + across * across))


def other_spectrum(
    leaf: Array, source: tuple[int, int], target: tuple[int, int], *, fill: float | Array = 0.0
) -> Array:
    """Coefficients (..., H, K) of ``rfft2`` at another size: those that both sizes have are kept, others are
    ``fill``."""
    rows = np.arange(-((min(source[0], target[0]) - 1) // 2), (min(source[0], target[0]) - 1) // 2 + 1)
    columns = np.arange((min(source[1], target[1]) - 1) // 2 + 1)
    shape = (*leaf.shape[:-2], target[0], target[1] // 2 + 1)
    out = np.broadcast_to(np.asarray(fill, dtype=np.float64), shape).copy()
    out[..., rows[:, None] % target[0], columns] = leaf[..., rows[:, None] % source[0], columns]
    return out


def bilinear(leaf: Array, size: tuple[int, int]) -> Array:
    """(..., H, W) to (..., *size), half-pixel centres."""
    rows, columns = bilinear_matrix(leaf.shape[-2], size[0]), bilinear_matrix(leaf.shape[-1], size[1])
    return np.asarray(rows @ leaf @ columns.T)


def bilinear_spectrum(given: Array, height: int, width: int) -> Array:
    """Magnitudes (C, S, S // 2 + 1) read off at the frequencies of another size, between neighbours linearly."""
    side = given.shape[1]
    shifted = np.fft.fftshift(given, axes=1)
    row = np.clip(np.fft.fftfreq(height)[:, None] * side + side // 2, 0, side - 1)
    column = np.clip(np.fft.rfftfreq(width)[None, :] * side, 0, given.shape[2] - 1)
    r, c = np.broadcast_arrays(np.floor(row).astype(int), np.floor(column).astype(int))
    r1, c1 = np.minimum(r + 1, side - 1), np.minimum(c + 1, given.shape[2] - 1)
    fr, fc = row - r, column - c
    top = shifted[:, r, c] * (1 - fc) + shifted[:, r, c1] * fc
    below = shifted[:, r1, c] * (1 - fc) + shifted[:, r1, c1] * fc
    return np.asarray(top * (1 - fr) + below * fr)


def magnitude(pictures: Any, *, side: int = 128, decorrelate: bool = True) -> Array:
    """The mean magnitude (C, side, side // 2 + 1) of the Fourier coefficients of pictures, for :class:`Phase`.

    ``pictures`` is what every technique takes for an image; each is squashed to ``side`` pixels. With ``decorrelate``
    the colours are decorrelated first.
    """
    from ...contract.spec import InputSpec
    from ...inputs import images

    spec = InputSpec(size=(side, side), resize=side)
    batch = images.prepare(pictures, spec, fit="squash", input_range="unit")
    values = batch.tensor.astype(np.float64)
    values -= values.mean(axis=(2, 3), keepdims=True)
    if decorrelate:
        values = np.einsum("ij,njhw->nihw", np.linalg.inv(colour_matrix()), values)
    return np.asarray(np.abs(np.fft.rfft2(values, norm="ortho")).mean(axis=0))
