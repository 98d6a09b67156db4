"""What is known of one unit: where it looks, by which filter, and the pixels that it listens to."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.backend import Model
from ..contract.errors import LayerError, SettingError
from ..techniques import receptive_field
from ..techniques.network.window import window
from ..techniques.units.filter import filter_of
from . import views
from .engine import Engine
from .passes import INPUT
from .protocol import View, pack


def unit(engine: Engine, view: View) -> dict[str, Any]:
    """Where a place of a unit's map looks, and the filter that it is the result of."""
    _, index, y, x = engine.place(view)
    layer, model = view.text("layer"), engine.of(view).model
    if layer == INPUT:
        field = {"theoretical": [y, x, y + 1, x + 1]}
        return {
            "field": field | {"size": [1, 1], "stride": [1, 1], "whole": False, "known": True},
            "parameters": None,
            "line": "",
        }
    seen = window(model, layer)
    height, width = model.spec.size
    box = [0, 0, height, width] if seen.whole else seen.boxes(np.array([y, x])).tolist()
    return {
        "field": {
            "theoretical": box, "size": list(seen.size), "stride": list(map(float, seen.stride)), "whole": seen.whole,
            "known": seen.known,
        },
        "parameters": _parameters(model, layer, index),
        "line": views.line(engine, view),
    }  # fmt: skip


def weights(engine: Engine, view: View) -> bytes:
    """The filter whose result a unit is, up to norms, activations and pools. Raises LayerError where there is none."""
    layer, index, model = view.text("layer"), view.number("unit"), engine.of(view).model
    model.check_layer(layer)
    found = None if layer == INPUT else _filter(model, layer, index)
    if found is None:
        raise LayerError(f"Unit {index} of {layer!r} is the result of no single filter.")
    kernel = found.weight if found.weight.ndim == 3 else found.weight[:, None, None]
    return pack({"layer": found.layer, "channel": found.channel}, {"kernel": kernel})


def effective(engine: Engine, view: View) -> bytes:
    """The effective receptive field of a place of a unit's map, on this picture."""
    layer, model = view.text("layer"), engine.of(view).network(view.edits)
    at = (view.number("y", 0), view.number("x", 0))
    placed = model.grid(layer) is not None
    found = receptive_field(
        model, engine.picture(view).batch, layer, unit=view.number("unit"), noise=0, at=at if placed else None
    )
    return pack({"size": found.sizes[0]}, {"field": found.values[0]})


def _filter(model: Model, layer: str, index: int) -> Any:
    try:
        return filter_of(model, layer, index)
    except (SettingError, KeyError):  # no graph, or a layer that is not in it
        return None


def _parameters(model: Model, layer: str, index: int) -> dict[str, Any] | None:
    found = _filter(model, layer, index)
    if found is None:
        return None
    bias = f"{found.layer}.bias"
    shared = model.parameter(bias) if bias in model.parameter_shapes() else None
    return {
        "kind": "convolution" if found.weight.ndim == 3 else "dense",
        "layer": found.layer,
        "channel": found.channel,
        "kernel": list(found.weight.shape),
        "bias": None if shared is None else float(shared[found.channel]),
        "count": int(found.weight.size) + (shared is not None),
    }
