"""Where in the picture a position of a layer looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...contract.backend import Model
from ...contract.errors import SettingError
from .receptive import fields


@dataclass(frozen=True)
class Window:
    """The receptive field of a layer's position (0, 0): ``start`` its first row and column, ``size`` and ``stride`` in
    pixels; ``columns`` of the layer's maps. ``whole``: every position sees the whole picture (or nobody knows)."""

    start: tuple[float, float]
    size: tuple[int, int]
    stride: tuple[float, float]
    columns: int
    whole: bool

    def box(self, flat: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right in pixels of the position with that index in the flattened map; may lie beyond the
        picture's edges."""
        at = divmod(flat, self.columns)
        top, left = (math.floor(s + k * step) for s, k, step in zip(self.start, at, self.stride, strict=True))
        return top, left, top + self.size[0], left + self.size[1]


def window(model: Model, layer: str) -> Window:
    """The receptive field of a layer, by propagation through the graph; the whole picture where that is unknown, or
    where the framework cannot show the graph."""
    known = model.layers.get(layer)
    columns = known.shape[3] if known is not None and len(known.shape) == 4 else 1
    whole = Window((0.0, 0.0), model.spec.size, (0.0, 0.0), columns, True)
    try:
        graph = model.graph()
    except SettingError:
        return whole
    field = fields(graph)[graph.layers[layer]]
    if field.size is None or field.start is None or field.stride is None or columns == 1:
        return whole
    return Window(field.start, field.size, field.stride, columns, False)
