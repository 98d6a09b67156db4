"""Pooled activations and thumbnails of many pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...contract.units import find_units, units_of
from ...inputs.images import Batch
from ...support.spill import Spilled

POOLS = ("mean", "max", "none")
FEWEST = 5
"""Points of which neighbourhoods can be shown."""
THUMBNAIL = 64
"""Side of a thumbnail in pixels."""
BUDGET = 2 << 30
"""Bytes of features beyond which they are refused where a picture has more of them than there are pictures, since then
all of them are in memory at once."""


class Features(Spilled):
    """Pooled activations and thumbnails, one after the other, on disk where they are many."""

    def __init__(self, layer: str, pool: str) -> None:
        super().__init__("places", "features", "thumbnails")
        self.layer, self.pool = layer, pool

    def fresh(self) -> Features:
        return Features(self.layer, self.pool)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        found = activations[self.layer]
        found = found.reshape(*found.shape[:2], -1)
        if self.pool == "none":
            found = found.reshape(len(found), -1)
        else:
            found = found.mean(axis=2, dtype=np.float64) if self.pool == "mean" else found.max(axis=2)
        self.rows["features"].append(found.astype(activations[self.layer].dtype))
        self.rows["thumbnails"].append(np.stack([thumbnail(picture) for picture in batch.pictures]))
        self.rows["places"].append(np.array(places, np.int64))


def thumbnail(picture: Array) -> Array:
    """A small square copy, uint8 (64, 64, 3)."""
    return np.asarray(Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def default_layer(model: Model) -> str:
    """The last layer whose maps have an extent and are not those of the classes."""
    deep = [
        name
        for name, one in model.layers.items()
        if (units := find_units(model, name)) and math.prod(units.places) > 1 and units.count != model.output_shape[1]
        if "dropout" not in one.kind.lower()
    ]
    return deep[-1] if deep else list(model.layers)[-1]


def check_size(model: Model, layer: str, pool: str, count: int) -> None:
    """Raises ShapeError for a layer without features, SettingError for more than :data:`BUDGET` bytes of them or for
    too few pictures."""
    units = units_of(model, layer)
    width = units.count * (math.prod(units.places) if pool == "none" else 1)
    size = width * count * np.dtype(model.dtype).itemsize
    if width > count and size > BUDGET:
        raise SettingError(
            f"The features of {count} pictures at {layer!r} take {size / 2**30:.1f} GiB; {BUDGET >> 30} are "
            "allowed. Take pool='mean', a smaller layer, or fewer pictures."
        )
    if count < FEWEST:
        raise SettingError(f"{count} pictures have no neighbourhoods worth a map; give at least {FEWEST}.")
