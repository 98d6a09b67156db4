"""The activations of parts of pictures, each enlarged to the network's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...contract.backend import Array, Model, Tensor
from ...contract.errors import LayerError, SettingError
from ...contract.grid import Grid
from ...contract.ops import bilinear_matrix
from ...inputs.images import prepare
from ...inputs.pictures import Pictures
from ...results.folders import crop as cut

STRIDE = 0.8
"""From one crop to the next, as a share of its side; the authors' own."""
SPARE = 1e-4
"""How far below zero, as a share of the largest value, an activation may lie and still count as zero."""


def grid_for(model: Model, layer: str) -> Grid:
    """How the layer's output becomes maps. Raises UnknownNameError, LayerError where it does not."""
    model.check_layer(layer)
    grid = model.grid(layer)
    if grid is None:
        raise LayerError(
            f"Layer {layer!r} of {model.name} gives {model.layer(layer).shape}: concepts need channels over the "
            f"picture, (N, C, h, w) or tokens. {model.listing} lists what there is."
        )
    return grid


def boxes(size: tuple[int, int], share: float) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom and right of the crops of a picture of ``size``: sides ``share`` of its own, a stride of
    :data:`STRIDE` of that, the last at the edge. Raises SettingError for a share outside (0, 1]."""
    if not 0 < share <= 1:
        raise SettingError(f"crop={share}: expected a share of the picture's side, above 0 and at most 1.")
    sides = [max(1, round(share * one)) for one in size]

    def starts(whole: int, side: int) -> list[int]:
        return sorted({min(at, whole - side) for at in range(0, whole, max(1, round(STRIDE * side)))})

    (height, width), (tall, wide) = size, sides
    return [
        (top, left, top + tall, left + wide) for top in starts(height, tall) for left in starts(width, wide)
    ]  # fmt: skip


def of_crops(
    model: Model, layer: str, parts: Sequence[tuple[int, int, int, int]]
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """From a batch (N, C, H, W) to the mean activations (N, P, C) of every crop of every picture, under the layer's
    name."""
    grid, ops, (height, width) = grid_for(model, layer), model.ops, model.spec.size

    def look(x: Tensor) -> Mapping[str, Tensor]:
        found = []
        for top, left, bottom, right in parts:
            rows = ops.constant(enlarging, height, top, bottom, height)
            columns = ops.transpose(ops.constant(enlarging, width, left, right, width), (1, 0))
            kept = model.forward(ops.along(x, rows=rows, columns=columns), (layer,))[layer]
            means = ops.mean(grid.maps(ops, kept), (2, 3))
            found.append(ops.reshape(means, (-1, 1, grid.channels)))
        return {layer: ops.concat(found, 1)}

    return look


def best_crops(
    model: Model,
    listed: Pictures,
    places: Sequence[int],
    boxes: Sequence[tuple[int, int, int, int]],
    shares: Array,
    count: int,
    fit: str,
) -> tuple[Array, Array, tuple[tuple[str, ...], ...], Array]:
    """The crops with the most of each concept, one a picture, given the shares (P, K): their places (K, B) among all
    crops, themselves uint8 (K, B, H, W, 3), their pictures' names, and where they lie there (K, B, 4). ``places`` are
    those of the pictures in the list."""
    parts = np.array(boxes)
    within = shares.reshape(-1, len(parts), shares.shape[1])
    ranked = np.argsort(-within.max(axis=1), axis=0, kind="stable")[:count].T  # (K, B): pictures
    which = np.take_along_axis(within.argmax(axis=1).T, ranked, axis=1)
    photos = {n: prepare([listed.items[places[n]]], model.spec, fit=fit).pictures[0] for n in np.unique(ranked)}
    crops = [
        [cut(photos[n], parts[q]) for n, q in zip(*both, strict=True)] for both in zip(ranked, which, strict=True)
    ]  # fmt: skip
    names = tuple(tuple(listed.names[places[n]] for n in row) for row in ranked)
    return ranked * len(parts) + which, np.array(crops), names, parts[which]


def enlarging(whole: int, start: int, stop: int, target: int) -> Array:
    """(target, whole) matrix of one axis: the part from ``start`` to ``stop``, bilinear at ``target`` pixels."""
    matrix = np.zeros((target, whole))
    matrix[:, start:stop] = bilinear_matrix(stop - start, target)
    return matrix


def non_negative(values: Array, layer: str) -> Array:
    """The same, without rounding below zero. Raises SettingError where activations are negative."""
    if values.min() < -SPARE * np.abs(values).max():
        raise SettingError(
            f"Layer {layer!r} has negative activations, which no sum of parts explains. Take the layer behind its ReLU."
        )
    return np.maximum(values, 0.0)
