"""The health of a network's units, as a table."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.backend import Array
from ..support import columns
from ..support.files import replacing
from .base import Result

WORDS = ("units", "zeros", "dead", "always on", "saturated", "near-dup.")
COLUMNS = ("zeros", "dead", "always_on", "saturated", "duplicates")


@dataclass(frozen=True)
class LayerHealth:
    """What one layer's C units did at all positions of all images, each (C,) float64: ``zeros`` share of exact zeros;
    ``positive`` share above zero; ``at_maximum`` share, beside the first one, exactly at the unit's own maximum;
    ``mean``, ``low``, ``high`` of the activation. ``pairs`` (P, 2) are the near-duplicate units, strongest first, and
    ``correlation`` (P,) theirs.
    """

    name: str
    kind: str
    zeros: Array
    positive: Array
    at_maximum: Array
    mean: Array
    low: Array
    high: Array
    pairs: Array
    correlation: Array
    saturation: float

    @property
    def rectified(self) -> bool:
        """Whether no activation was negative and some were zero, as after a ReLU."""
        return bool(self.low.min() >= 0 and self.zeros.max() > 0)

    @property
    def dead(self) -> Array:
        """(C,) bool: one value everywhere, which is zero behind a ReLU."""
        return np.asarray(self.high == self.low)

    @property
    def always_on(self) -> Array:
        """(C,) bool: in a rectified layer, above zero everywhere, so that the ReLU never acts: it is linear."""
        return np.asarray((self.positive == 1) & ~self.dead & self.rectified)

    @property
    def saturated(self) -> Array:
        """(C,) bool: not dead, and at its own maximum at more than ``saturation`` of all positions."""
        return np.asarray((self.at_maximum > self.saturation) & ~self.dead)

    @property
    def duplicated(self) -> Array:
        """(C,) bool: part of at least one near-duplicate pair."""
        return np.isin(np.arange(len(self.zeros)), self.pairs)


@dataclass(frozen=True, repr=False)
class Health(Result):
    """``values`` (layers, 5) float64 in 0..1: share of zero activations, and shares of units that are dead, always on,
    saturated, and near-duplicates of another. ``layers`` hold the numbers of each unit."""

    layers: tuple[LayerHealth, ...]

    def column(self, name: str) -> Array:
        """One column: "zeros", "dead", "always_on", "saturated" or "duplicates"."""
        return np.asarray(self.values[:, COLUMNS.index(name)])

    def table(self, width: int | None = None) -> str:
        """The table as text, one layer a line, in order of depth; counts of units behind the share of zeros. A layer
        takes several lines where one is longer than ``width``."""
        rows = [
            (
                layer.name,
                str(len(layer.zeros)),
                columns.share(float(layer.zeros.mean())),
                *(str(int(flags.sum())) for flags in (layer.dead, layer.always_on, layer.saturated, layer.duplicated)),
                "" if layer.rectified else "not rectified",
            )
            for layer in self.layers
        ]
        head = ("layer", *WORDS, "")
        return "\n".join(columns.laid([head, *rows], range(1, len(head) - 1), width))

    def records(self) -> list[dict[str, Any]]:
        """A row a layer: the shares of ``values``, beside the number of units."""
        return [
            {"layer": one.name, "units": len(one.zeros), "rectified": one.rectified}
            | dict(zip(COLUMNS, shares, strict=True))
            for one, shares in zip(self.layers, self.values.tolist(), strict=True)
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """A row a layer under :data:`HEAD`."""
        return [
            (
                layer.name,
                str(len(layer.zeros)),
                "yes" if layer.rectified else "no",
                f"{layer.zeros.mean():.6f}",
                *(str(int(flags.sum())) for flags in (layer.dead, layer.always_on, layer.saturated, layer.duplicated)),
                " ".join(f"{a}~{b}:{r:.4f}" for (a, b), r in zip(layer.pairs, layer.correlation, strict=True)),
                " ".join(map(str, np.flatnonzero(layer.dead))),
            )
            for layer in self.layers
        ]

    def arrays(self) -> dict[str, Array]:
        out = {"values": self.values, "layers": np.array([layer.name for layer in self.layers])}
        for layer in self.layers:
            for name in ("zeros", "positive", "at_maximum", "mean", "low", "high", "pairs", "correlation"):
                out[f"{layer.name}:{name}"] = getattr(layer, name)
        return out

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As :meth:`Result.save`; ``.csv`` writes the table with the pairs and the dead units of each layer."""
        target = Path(path)
        if target.suffix != ".csv":
            return super().save(target)
        with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([HEAD, *self.rows()])
        return target


HEAD = (
    "layer", "units", "rectified", "zeros", "dead", "always_on", "saturated", "near_duplicate",
    "near_duplicate_pairs", "dead_units",
)  # fmt: skip
