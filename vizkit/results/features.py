"""Results about layers and units: maps, weights, statistics, strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..contract.backend import Array
from ..contract.errors import SettingError, one_of
from ..inputs.images import Batch
from ..support import columns
from .base import Result, chosen, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SCALES = ("each", "common")


@dataclass(frozen=True, repr=False)
class FeatureMaps(Result):
    """``values`` (N, C, H, W), or (N, C) of a dense layer, in the model's dtype: the activations of ``layer``."""

    layer: str
    batch: Batch

    def __getitem__(self, which: int | slice | Sequence[int]) -> FeatureMaps:
        """One picture's result, or some pictures'."""
        some, made = chosen(self, which)
        return replace(self, values=self.values[some], provenance=made, batch=self.batch.part(some))

    def figure(self, scale: str = "each") -> Figure:
        """All channels of every image in one figure. ``scale``: "each" map from its own minimum to its maximum, or
        "common": one scale for all."""
        one_of("scale", scale, SCALES)
        drawn: Figure = drawing().feature_maps([self], scale)
        return drawn


@dataclass(frozen=True, repr=False)
class Filters(Result):
    """``values`` (O, I, kH, kW) float32: the weights of ``layer``. The picture shows the first ``limit`` filters."""

    layer: str
    channel: int | str
    limit: int

    def text(self, unit: int | None = 0) -> str:
        """The weights of one filter as NumPy prints them, all of them for ``unit=None``."""
        if unit is not None and not 0 <= unit < len(self.values):
            raise SettingError(f"Layer {self.layer!r} has filters 0 to {len(self.values) - 1}; there is no {unit}.")
        shown = self.values if unit is None else self.values[unit]
        name = f"{self.layer}.weight" + ("" if unit is None else f"[{unit}]")
        with np.printoptions(threshold=np.iinfo(np.int64).max, precision=8, suppress=False, linewidth=100):
            return f"{name}  shape {shown.shape}\n{shown}"


COLUMNS = ("zeros", "blank", "mean", "max")


@dataclass(frozen=True, repr=False)
class ActivationStatistics(Result):
    """``values`` (layers, 4) float64, columns: share of activations that are zero (0..1), share of channels that are
    blank, i.e. zero all over (0..1), mean and maximum of the activations. Over all images together. ``rectified`` says
    which layers had no negative activation: there, "deeper is sparser" can be read."""

    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    rectified: tuple[bool, ...]

    def column(self, name: str) -> Array:
        """One column: "zeros", "blank", "mean" or "max"."""
        return np.asarray(self.values[:, COLUMNS.index(name)])

    def records(self) -> list[dict[str, Any]]:
        """A row a layer."""
        named = zip(self.layers, self.shapes, self.rectified, self.values.tolist(), strict=True)
        return [{"layer": n, "shape": s, "rectified": r, **dict(zip(COLUMNS, v, strict=True))} for n, s, r, v in named]

    def table(self, width: int | None = None) -> str:
        """The table as text, one layer a line, in order of depth; several lines a layer where one is longer than
        ``width``."""
        rows = [
            (
                name,
                " x ".join(map(str, shape[1:])),
                *map(columns.share, (zeros, blank)),
                *map(columns.number, (mean, high)),
            )
            for name, shape, (zeros, blank, mean, high) in zip(self.layers, self.shapes, self.values, strict=True)
        ]
        head = ("layer", "shape", *COLUMNS)
        return "\n".join(columns.laid([head, *rows], range(1, len(head)), width))


@dataclass(frozen=True, repr=False)
class TopUnits(Result):
    """``values`` (k,) float64: the strength of ``units`` (k,), strongest first; ``every`` (C,) that of all units."""

    layer: str
    units: tuple[int, ...]
    every: Array
    stored: ClassVar[tuple[str, ...]] = ("values", "units", "every")

    def records(self) -> list[dict[str, Any]]:
        """A row a unit, the strongest first."""
        return [{"unit": unit, "strength": float(v)} for unit, v in zip(self.units, self.values, strict=True)]
