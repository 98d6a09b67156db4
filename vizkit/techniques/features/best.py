"""The strongest responses so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...inputs.folders import Pictures
from ...inputs.images import Batch
from ...results.folders import TopPatches
from ..network.window import window

ROWS = 1 << 14
"""Units that are looked at together, so that a million of them take little memory."""


class Best:
    """The k highest maxima of each unit so far; of equal ones, that of the earlier image."""

    grows = False

    def __init__(self, wanted: Mapping[str, Sequence[int] | Array], k: int, dtype: str) -> None:
        self.wanted, self.k, self.dtype = {layer: np.asarray(units) for layer, units in wanted.items()}, k, dtype
        rows = sum(len(units) for units in self.wanted.values())
        self.values = np.full((rows, k), -np.inf, dtype)
        self.places = np.full((rows, k), -1, np.int64)
        self.at = np.zeros((rows, k), np.int64)

    def fresh(self) -> Best:
        return Best(self.wanted, self.k, self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """An empty one goes to workers without its empty arrays."""
        return Best, (self.wanted, self.k, self.dtype)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        start = 0
        for layer, units in self.wanted.items():
            found = activations[layer]
            for some in blocks(len(units)):
                flat = found[:, units[some]].reshape(len(found), some.stop - some.start, -1)
                rows = slice(start + some.start, start + some.stop)
                self._join(rows, flat.max(axis=2).T, np.asarray(places)[None], flat.argmax(axis=2).T)
            start += len(units)

    def _join(self, rows: slice, values: Array, places: Array, at: Array) -> None:
        """The best of what is in ``rows`` and of further ones, (rows, n), whose images come later."""
        both = np.concatenate([self.values[rows], values], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, : self.k]
        self.values[rows] = np.take_along_axis(both, order, axis=1)
        for kept, more in ((self.places, places), (self.at, at)):
            joined = np.concatenate([kept[rows], np.broadcast_to(more, values.shape)], axis=1)
            kept[rows] = np.take_along_axis(joined, order, axis=1)

    def state(self) -> dict[str, Array]:
        return {"values": self.values, "places": self.places, "at": self.at}

    def merge(self, part: Mapping[str, Array]) -> None:
        values, places, at = part["values"], part["places"], part["at"]
        for rows in blocks(len(values)):
            self._join(rows, values[rows], places[rows], at[rows])


def blocks(count: int, size: int = ROWS) -> list[slice]:
    """So many rows, some at a time."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def assemble(model: Model, pictures: Pictures, best: Best, made: Mapping[str, Any]) -> TopPatches:
    """The result of a finished pass; ``made`` is its provenance."""
    windows = {name: window(model, name) for name in best.wanted}
    named = tuple((name, int(u)) for name, units in best.wanted.items() for u in units)
    positions, boxes = np.empty((*best.at.shape, 2), np.int64), np.empty((*best.at.shape, 4), np.int64)
    start = 0
    for name, units in best.wanted.items():
        rows = slice(start, start + len(units))
        positions[rows] = np.stack(np.divmod(best.at[rows], windows[name].columns), axis=-1)
        boxes[rows] = windows[name].boxes(positions[rows])
        start = rows.stop
    return TopPatches(best.values, made, named, best.places, positions, boxes, pictures, model.spec)
