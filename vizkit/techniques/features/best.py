"""The strongest responses so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError, ShapeError
from ...inputs.folders import Pictures
from ...inputs.images import Batch
from ...results.folders import TopPatches
from ..network.window import window


class Best:
    """The k highest maxima of each unit so far; of equal ones, that of the earlier image."""

    def __init__(self, wanted: Mapping[str, Sequence[int]], k: int, dtype: str) -> None:
        self.wanted = {layer: np.asarray(units) for layer, units in wanted.items()}
        rows = sum(len(units) for units in self.wanted.values())
        self.values = np.full((rows, k), -np.inf, dtype)
        self.places = np.full((rows, k), -1, np.int64)
        self.at = np.zeros((rows, k), np.int64)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        maps = [activations[layer][:, units] for layer, units in self.wanted.items()]
        flat = [one.reshape(*one.shape[:2], -1) for one in maps]
        at = np.concatenate([one.argmax(axis=2) for one in flat], axis=1).T
        values = np.concatenate([one.max(axis=2) for one in flat], axis=1).T
        both = np.concatenate([self.values, values], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, : self.values.shape[1]]
        self.values = np.take_along_axis(both, order, axis=1)
        listed = np.broadcast_to(np.asarray(places, np.int64), values.shape)
        self.places = np.take_along_axis(np.concatenate([self.places, listed], axis=1), order, axis=1)
        self.at = np.take_along_axis(np.concatenate([self.at, at], axis=1), order, axis=1)

    def state(self) -> dict[str, Array]:
        return {"values": self.values, "places": self.places, "at": self.at}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.values, self.places, self.at = arrays["values"], arrays["places"], arrays["at"]


def assemble(model: Model, pictures: Pictures, best: Best, made: Mapping[str, Any]) -> TopPatches:
    """The result of a finished pass; ``made`` is its provenance."""
    windows = {name: window(model, name) for name in best.wanted}
    named = tuple((name, int(u)) for name, units in best.wanted.items() for u in units)
    widths = np.array([windows[name].columns for name, _ in named])[:, None]
    positions = np.stack([best.at // widths, best.at % widths], axis=2)
    boxes = np.array(
        [[windows[name].box(at) for at in row] for (name, _), row in zip(named, best.at.tolist(), strict=True)]
    )
    return TopPatches(best.values, made, named, best.places, positions, boxes, pictures, model.spec)


def units_of(model: Model, layer: str, unit: int | Sequence[int] | None) -> list[int]:
    """The channels of a layer that ``unit`` means. Raises SettingError, ShapeError, UnknownNameError."""
    model.check_layer(layer)
    known = model.layers.get(layer)
    shape = model.output_shape if known is None else known.shape
    if len(shape) not in (2, 4):
        raise ShapeError(f"Layer {layer!r} gives shape {shape}; a unit is a channel of (N, C, H, W) or (N, C).")
    if unit is None:
        return list(range(shape[1]))
    units = [int(unit)] if isinstance(unit, int | np.integer) else [int(one) for one in unit]
    wrong = [one for one in units if not 0 <= one < shape[1]]
    if wrong or not units:
        raise SettingError(f"Layer {layer!r} has units 0 to {shape[1] - 1}; there is no {wrong or 'unit in []'}.")
    return list(dict.fromkeys(units))
