"""The layer that a method looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ...contract.axes import query_layers
from ...contract.backend import OUTPUT, Leaves, Model, Tensor
from ...contract.errors import LayerError, SettingError
from ...contract.grid import Grid
from ...contract.units import check_order, find_units, units_of
from ...inputs.outputs import Dense

PASSING = ("Dropout", "AdaptiveAvgPool", "Identity")
"""Kinds of layers that hand on what they get; some frameworks have them where others have nothing."""


def choose_layer(model: Model, layer: str | None) -> tuple[str, Grid]:
    """The layer that is meant, and how its output becomes maps: ``layer``, or for None the last that leads to the
    network's result, as far as the graph tells, whose feature maps have extent (more than 1x1) and are no logits, one
    channel a class; where all are, the last of those. Where that are
    tokens, the last normalised ones through which the classes see the picture: behind the last attention a class token
    has seen all it ever will. Of a detector the last before its boxes' sizes, or its queries, part.

    Raises UnknownNameError for one that does not exist, LayerError for one without extent, or where nothing tells which
    of its axes holds the channels.
    """
    grids = {name: grid for name in model.layers if (grid := model.grid(name)) is not None and grid.positions > 1}
    if layer is not None and layer in grids:
        return layer, grids[layer]
    if layer is not None:
        model.check_layer(layer)
        check_order(model, layer)
        shape = model.layers[layer].shape if layer in model.layers else model.output_shape
        last = f" The last such layer is {_leading(model, grids)[-1]!r}." if grids else ""
        raise LayerError(
            f"Layer {layer!r} of {model.name} gives {shape}; a map needs (N, C, h, w) with h * w > 1, (N, h, w, C), or "
            f"tokens (N, T, C) that cover the picture.{last}"
        )
    led = _leading(model, grids) if grids else []
    behind = _leading(model, model.layers)
    for name in behind[behind.index(led[-1]) + 1 :] if led and led[-1] in behind else behind:
        check_order(model, name)
    if not grids:
        twice = ", ".join(sorted(model.reused)[:8])
        which = f" Layers that run more than once in a pass cannot be used, here {twice}." if twice else ""
        raise LayerError(
            f"No layer of {model.name} gives feature maps of more than 1x1; there is nothing to map.{which}"
        )
    grids = {name: grids[name] for name in led}
    own = [name for name in grids if not model.layers[name].kind.startswith(PASSING)] or list(grids)
    classes = Dense.of(model).classes
    name = ([one for one in own if grids[one].channels != classes] or own)[-1]
    if grids[name].order == "NTC" and grids[name].aside:
        name = _last_seen(model, [one for one in own if grids[one].aside]) or name
    return name, grids[name]


def _leading(model: Model, names: Iterable[str]) -> list[str]:
    """Those of the layers that lead from the picture to the network's result, as far as there is a graph that tells:
    heads of other results do not, nor what is computed from parameters alone. Of a detector those that all of it
    passes: a box is found at one of several sizes, or by a query, and what other layers have of it is a part. All where
    none would be left."""
    every = list(names)
    try:
        graph = model.graph()
    except SettingError:
        return every
    reached = {graph.layers[OUTPUT]}
    if model.detects or query_layers(graph):
        reached = graph.bottlenecks()
    else:
        for node in reversed(graph.nodes):
            if node.name in reached:
                reached.update(node.inputs)
    return [name for name in every if graph.layers.get(name) in reached] or every


def _last_seen(model: Model, names: Sequence[str]) -> str | None:
    """The last of these token layers, normalised ones if there are, whose tokens of the picture move a class."""
    ops = model.ops
    tried = [name for name in names if "Norm" in model.layers[name].kind] or list(names)
    picture = np.random.default_rng(0).normal(size=(1, *model.spec.shape))
    leaves = {name: ops.zeros(model.layers[name].shape) for name in tried}
    x = ops.asarray(picture)

    def score(leaves: Leaves) -> tuple[Tensor, None]:
        return ops.sum(model.forward(x, (OUTPUT,), leaves)[OUTPUT] ** 2, 1), None

    _, gradients, _ = ops.value_and_grad(score, leaves)
    for name in reversed(tried):
        grid = model.grid(name)
        if grid is not None and float(ops.numpy(ops.sum(ops.abs(grid.maps(ops, gradients[name])), (1, 2, 3)))[0]) > 0:
            return name
    return None


def by_unit(model: Model, layers: Sequence[str], whole: bool = False) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """From a batch to the layers' outputs by unit, (N, C, h, w) or (N, C); with ``whole`` (N, C, ...) with every place,
    and those without units as they are."""
    ops, found = model.ops, {name: find_units(model, name) if whole else units_of(model, name) for name in layers}

    def look(x: Tensor) -> Mapping[str, Tensor]:
        made = model.forward(x, tuple(layers))
        for name, units in found.items():
            if units is not None:
                made[name] = units.whole(ops, made[name]) if whole else units.first(ops, made[name])
        return made

    return look
