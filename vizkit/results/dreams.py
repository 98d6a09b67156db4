"""Pictures made by raising an objective, and what they are worth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..contract.backend import Array
from ..inputs import images
from .animation import write
from .base import Pictured


@dataclass(frozen=True)
class Stage:
    """One size of a dream when it is finished. ``activation`` and ``loss`` (units,) were measured at its last step,
    ``pictures`` (units, C, H, W) are what that step made of them, in 0..1 before clipping."""

    index: int
    size: int
    activation: Array
    loss: Array
    pictures: Array


@dataclass(frozen=True, repr=False)
class Dream(Pictured):
    """``values`` (units, C, H, W) in the model's dtype: the last pictures, 0..1 before clipping. ``activation`` and
    ``loss`` (stages, units) trace the optimisation, ``step_activation`` (stages * steps, units) every step of it;
    ``strip`` are six stages from first to last."""

    layer: str
    units: tuple[int, ...]
    sizes: tuple[int, ...]
    activation: Array
    loss: Array
    step_activation: Array
    strip: tuple[Stage, ...]
    stored: ClassVar[tuple[str, ...]] = ("values", "activation", "loss", "step_activation", "sizes")
    compared: ClassVar[tuple[str, str]] = ("activation of each stage", "activation")

    def clipped(self) -> Array:
        """Share (units,) of the last pictures' values that lie outside 0..1 and that no screen can show."""
        outside = (self.values < 0) | (self.values > 1)
        return np.asarray(outside.reshape(len(outside), -1).mean(axis=1))


@dataclass(frozen=True, repr=False)
class DeepDream(Pictured):
    """``values`` (1, C, H, W) in 0..1; ``photo`` uint8 (H, W, 3), what it was; ``trace`` (octaves * steps,) the
    objective at every step; ``sizes`` (height, width) of every octave; ``aim`` what was climbed, in words."""

    photo: Array
    trace: Array
    sizes: tuple[tuple[int, int], ...]
    aim: str
    stored: ClassVar[tuple[str, ...]] = ("values", "photo", "trace")
    compared: ClassVar[tuple[str, str]] = ("objective of each step", "trace")


@dataclass(frozen=True, repr=False)
class Inversion(Pictured):
    """``values`` (L, C, H, W) in 0..1, a picture for each of ``layers``; ``distance`` (L,) is ``|a - a0|^2 / |a0|^2``
    of the layer's values at the end, 0 at best; ``photo`` uint8 (H, W, 3)."""

    layers: tuple[str, ...]
    distance: Array
    photo: Array
    stored: ClassVar[tuple[str, ...]] = ("values", "distance", "photo")
    compared: ClassVar[tuple[str, str]] = ("distance", "distance")


SURVIVES = 0.5
"""The share of its activation that a picture keeps under every shift if it survives them."""


@dataclass(frozen=True)
class Evidence:
    """All (N,), float64, of the part of the objective that is no penalty, on the picture as it is, without transforms.

    ``activation``: what it reached. ``start``: what the noise it started from gave. ``shifted``: the least under shifts
    by four pixels, as a share of ``activation``, or, of an objective without a natural zero, of the rise from
    ``start``; 0 where there is none. ``percentile``: the share in percent of given real pictures that give
    less, None when none were given. ``failed``: it did not rise, or its unit never responded.
    """

    activation: Array
    start: Array
    shifted: Array
    percentile: Array | None
    failed: Array

    def survives(self) -> Array:
        """(N,): whether at least half of the activation is left under every shift."""
        return np.asarray(self.shifted >= SURVIVES)

    def arrays(self) -> dict[str, Array]:
        named = {name: getattr(self, name) for name in ("activation", "start", "shifted", "failed")}
        return named if self.percentile is None else named | {"percentile": self.percentile}

    def text(self, item: int) -> str:
        """A few short lines about a picture."""
        said = f"activation {self.activation[item]:.4g}"
        if self.failed[item]:
            return f"FAILED: {said}\nnoise alone: {self.start[item]:.4g}"
        if self.percentile is not None:
            said += f"\nabove {self.percentile[item]:.0f} % of photos"
        kept = f"{max(0.0, float(self.shifted[item])):.0%} kept when shifted"
        return f"{said}\n{kept}" + ("" if self.survives()[item] else ": fragile")


Frame = tuple[int, Array]


@dataclass(frozen=True, repr=False)
class Rendering(Pictured):
    """``values`` (N, C, H, W) in 0..1; ``alpha`` (N, 1, H, W) or None. ``trace`` (steps, N) is the objective at every
    step, as the transforms showed the picture. ``evidence`` says what the pictures are worth. ``frames`` are (step,
    uint8 pictures (N, h, w, 3)), as many as were asked for. ``titles`` name the pictures."""

    trace: Array
    evidence: Evidence
    alpha: Array | None = None
    frames: tuple[Frame, ...] = ()
    titles: tuple[str, ...] = ()
    stored: ClassVar[tuple[str, ...]] = ("values", "trace")
    compared: ClassVar[tuple[str, str]] = ("activation reached", "evidence.activation")

    def arrays(self) -> dict[str, Array]:
        found = super().arrays() | self.evidence.arrays()
        return found if self.alpha is None else found | {"alpha": self.alpha}

    def records(self) -> list[dict[str, Any]]:
        """A row a picture: its title, and what it is worth."""
        columns = {name: one.tolist() for name, one in self.evidence.arrays().items()}
        titles = self.titles or [str(k) for k in range(len(self))]
        return [{"picture": t} | {name: one[k] for name, one in columns.items()} for k, t in enumerate(titles)]

    def pictures(self) -> Array:
        """uint8 (N, H, W, 3), for the eye; transparent ones on white."""
        shown = self.values if self.alpha is None else self.values * self.alpha + (1.0 - self.alpha)
        return images.picture(shown)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As every result; and ``.gif`` or ``.mp4`` of the frames, which ``every`` must have asked for."""
        target = Path(path)
        if target.suffix not in (".gif", ".mp4"):
            return super().save(target)
        return write([frame for _, frame in self.frames], target, self.provenance)
