"""Which pixels a unit listens to, by its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.backend import Array, Model, Tensor
from ...contract.errors import SettingError
from ...contract.units import Units, units_of
from ...inputs.images import Batch
from .receptive import fields

INPUT = "input"
ALL = "all"


def chosen_layers(model: Model, layer: str | Sequence[str] | None) -> tuple[str, ...]:
    if layer is None:
        return ends(model)
    names = (layer,) if isinstance(layer, str) else tuple(layer)
    if names == (ALL,):
        return tuple(model.layers)
    if not names:
        raise SettingError("layer=[] names no layer; give some, 'all', or None.")
    for name in names:
        model.check_layer(name)
    return names


def ends(model: Model) -> tuple[str, ...]:
    """The last layer at each stride, in order, of those whose units see part of the picture."""
    graph = model.graph()
    found = fields(graph)
    last: dict[tuple[float, float], str] = {}
    for name in model.layers:
        stride = found[graph.layers[name]].stride
        if stride is not None and name.count(".") < 2:
            last[stride] = name
    return tuple(last.values()) or tuple(model.layers)[-1:]


def place(layer: str, units: Units | None, at: tuple[int, int] | None) -> tuple[int, int]:
    """Row and column of a map: those given, else the middle. Raises SettingError for a place outside."""
    height, width = (1, 1) if units is None else units.places
    row, column = (height // 2, width // 2) if at is None else at
    if not (0 <= row < height and 0 <= column < width):
        raise SettingError(f"at={at}: the maps of {layer!r} have rows 0 to {height - 1}, columns 0 to {width - 1}.")
    return row, column


def effective(model: Model, batch: Batch, name: str, at: tuple[int, int], unit: int | None) -> Array:
    """(H, W) float64, its largest value 1."""
    ops, units = model.ops, units_of(model, name)
    chosen = None if unit is None else units.chosen(unit) * len(batch.tensor)

    def score(leaves: dict[str, Tensor]) -> tuple[Tensor, None]:
        out = units.first(ops, model.forward(leaves[INPUT], (name,))[name])
        values = out[:, :, at[0], at[1]] if len(out.shape) == 4 else out
        return (ops.sum(values, 1) if chosen is None else ops.pick(values, chosen)), None

    _, gradients, _ = ops.value_and_grad(score, {INPUT: ops.asarray(batch.tensor)})
    found = np.abs(ops.numpy(gradients[INPUT]).astype(np.float64)).sum(axis=1).mean(axis=0)
    high = float(found.max())
    return np.asarray(found / high) if high > 0 else found
