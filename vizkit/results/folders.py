"""Results about folders of pictures: the patches that units like best, and pictures placed by likeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..contract.backend import Array
from ..contract.errors import SettingError
from ..contract.spec import InputSpec
from ..inputs import images
from ..inputs.folders import Pictures
from ..inputs.images import Batch
from .base import Result

OUTSIDE = 127
"""Gray of what a receptive field sees beyond the picture's edge."""


@dataclass(frozen=True, repr=False)
class TopPatches(Result):
    """``values`` (R, k), in the model's dtype: the highest activations of each of R units, in falling order; -inf where
    there were fewer images. ``units`` (layer, unit) name the rows. ``places`` (R, k) are the images' places in the
    list, -1 for none; ``positions`` (R, k, 2) row and column of the maximum in the unit's map; ``boxes`` (R, k, 4) the
    receptive field there: top, left, bottom, right in pixels of the network's input, beyond its edges where the field
    is."""

    units: tuple[tuple[str, int], ...]
    places: Array
    positions: Array
    boxes: Array
    pictures: Pictures
    spec: InputSpec
    stored: ClassVar[tuple[str, ...]] = ("values", "places", "positions", "boxes")

    def arrays(self) -> dict[str, Array]:
        names = np.array([[self.pictures.names[place] if place >= 0 else "" for place in row] for row in self.places])
        units = {"layers": np.array([layer for layer, _ in self.units]), "units": np.array([u for _, u in self.units])}
        return super().arrays() | {"names": names, **units}

    def records(self) -> list[dict[str, Any]]:
        """A row a patch, by unit, the best first."""
        return [
            {"layer": layer, "unit": unit, "place": k + 1, "picture": self.pictures.names[self.places[row, k]]}
            | {"activation": float(self.values[row, k])}
            | dict(zip(("top", "left", "bottom", "right"), self.boxes[row, k].tolist(), strict=True))
            for row, (layer, unit) in enumerate(self.units)
            for k in range(self.values.shape[1])
            if self.places[row, k] >= 0
        ]

    def row(self, layer: str, unit: int) -> int:
        """The row of a unit. Raises SettingError when it was not asked for."""
        if (layer, unit) not in self.units:
            raise SettingError(f"Unit {unit} of {layer!r} is not among the {len(self.units)} units of this result.")
        return self.units.index((layer, unit))

    def names(self, row: int) -> list[str]:
        """The images' names of a row, best first."""
        return [self.pictures.names[place] for place in self.places[row] if place >= 0]

    def batch(self, row: int) -> Batch:
        """The whole pictures of a row, best first, read again."""
        made = self.provenance["settings"]
        items = [self.pictures.items[place] for place in self.places[row] if place >= 0]
        return images.prepare(items, self.spec, fit=made["fit"], input_range=made["input_range"])

    def patches(self, row: int) -> list[Array]:
        """The patches of a row, best first, uint8 (h, w, 3), read again; gray beyond the picture's edge."""
        return [crop(one, box) for one, box in zip(self.batch(row).pictures, self.boxes[row], strict=False)]


def crop(picture: Array, box: Array, fill: int | float = OUTSIDE) -> Array:
    """The part of (H, W, ...) in ``box`` (top, left, bottom, right), ``fill`` where it lies outside."""
    top, left, bottom, right = (int(side) for side in box)
    out = np.full((bottom - top, right - left, *picture.shape[2:]), fill, picture.dtype)
    y0, y1 = max(top, 0), min(bottom, picture.shape[0])
    x0, x1 = max(left, 0), min(right, picture.shape[1])
    out[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return out


NEIGHBOURS = 10
"""Neighbours that trustworthiness and the nearest-neighbour accuracy look at."""


@dataclass(frozen=True, repr=False)
class Embedding(Result):
    """``values`` (N, 2) float64: the pictures' places. ``features`` (N, D) in the model's dtype, ``thumbnails`` uint8
    (N, 64, 64, 3), ``names`` and ``labels`` (None: unknown) of the N pictures that could be read.

    ``trustworthiness`` in 0..1 (Venna & Kaski 2001): how far the neighbours in the picture are neighbours by their
    features. ``accuracy``: of the classification of each labelled picture by the vote of its 10 nearest others, by
    "features", by "places", and "chance", that of always answering the most frequent label; empty without labels. Both
    are of 5,000 pictures, drawn by the seed, where there are more."""

    features: Array
    thumbnails: Array
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    layer: str
    method: str
    trustworthiness: float
    accuracy: Mapping[str, float]
    stored: ClassVar[tuple[str, ...]] = ("values", "features", "names")
    compared: ClassVar[tuple[str, str]] = ("features", "features")

    def arrays(self) -> dict[str, Array]:
        return super().arrays() | {"labels": np.array([label or "" for label in self.labels])}

    def records(self) -> list[dict[str, Any]]:
        """A row a picture."""
        rows = zip(self.names, self.labels, self.values.tolist(), strict=True)
        return [{"picture": name, "label": label, "x": x, "y": y} for name, label, (x, y) in rows]

    def text(self) -> str:
        """What the quality measures say, in a line."""
        said = f"trustworthiness {self.trustworthiness:.3f}"
        if self.accuracy:
            share = self.accuracy
            said += (
                f"; {NEIGHBOURS} nearest neighbours name the label of {share['places']:.1%} in the picture, "
                f"{share['features']:.1%} by the features, {share['chance']:.1%} by chance"
            )
        return said
