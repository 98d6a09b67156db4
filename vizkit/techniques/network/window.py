"""Where in the picture a position of a layer looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...contract.units import find_units
from .receptive import fields


@dataclass(frozen=True)
class Window:
    """The receptive field of a layer's position (0, 0): ``start`` its first row and column, ``size`` and ``stride`` in
    pixels; ``columns`` of the layer's maps. ``whole``: every position sees the whole picture, or, where it is not
    ``known``, may see it."""

    start: tuple[float, float]
    size: tuple[int, int]
    stride: tuple[float, float]
    columns: int
    whole: bool
    known: bool = True

    def boxes(self, positions: Array) -> Array:
        """Top, left, bottom, right (..., 4) in pixels of the positions with these rows and columns (..., 2); may lie
        beyond the picture's edges."""
        corner = np.floor(np.array(self.start) + positions * np.array(self.stride)).astype(np.int64)
        return np.concatenate([corner, corner + np.array(self.size)], axis=-1)


def window(model: Model, layer: str) -> Window:
    """The receptive field of a layer, by propagation through the graph; the whole picture where that is unknown, or
    where the framework cannot show the graph."""
    units = find_units(model, layer)
    columns = 1 if units is None else units.places[1]
    whole = Window((0.0, 0.0), model.spec.size, (0.0, 0.0), columns, True)
    try:
        graph = model.graph()
    except SettingError:
        return replace(whole, known=False)
    field = fields(graph)[graph.layers[layer]]
    if not field.known:
        return replace(whole, known=False)
    if field.size is None or field.start is None or field.stride is None or columns == 1:
        return whole
    return Window(field.start, field.size, field.stride, columns, False)
