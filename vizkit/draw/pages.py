"""Figures of the demo's and the homework's page. Several results are the backends', side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..contract.backend import Array
from ..inputs.images import picture
from ..results.attribution import Attribution
from ..results.dreams import Dream, Rendering
from ..results.features import FeatureMaps, Filters
from ..techniques.features.filters import pictures as filter_pictures
from .base import blocks, columns_for, new, panel, scaled, tile
from .overlay import DIVERGING, PERCENTILE

SIDE = 1.55
"""Inches of a small square panel."""
SHOWN = 64
"""Feature maps that the homework's notebook shows."""


def square(count: int) -> int:
    """Columns that make a grid of ``count`` squares full, no narrower than high and at most twice as wide; where none
    do, those that make it square."""
    root = int(np.ceil(np.sqrt(count)))
    full = [columns for columns in range(root, int(root * 1.42) + 1) if count % columns == 0]
    return full[0] if full else root


def row_of(pictures: Sequence[Array], titles: Sequence[str], width: float, height: float) -> Figure:
    """Pictures (H, W, 3) of any size in a row, each under its title; inches of each."""
    figure = new(width * len(pictures), height)
    for axis, one, title in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, titles, strict=True):
        panel(axis, one, title)
    return figure


def pictures(shown: Array, titles: Sequence[str], columns: int = 6) -> Figure:
    """Pictures (N, H, W, 3) in a grid, each under its title."""
    side = SIDE if len(shown) > 1 else 2 * SIDE
    figure, (axes,) = blocks(1, len(shown), columns, (side, side + 0.3 if any(titles) else side), 0.0)
    for axis, one, title in zip(axes.flat, shown, titles, strict=False):
        panel(axis, one, title)
    return figure


def maps(shown: Array, titles: Sequence[str], rows: Sequence[tuple[str, Array]], masks: Array | None = None) -> Figure:
    """Pictures (N, H, W, 3) in the first row and, below each, every backend's map of it (N, H, W), dark where it is
    zero; a white line is the border of the true object where ``masks`` (N, H, W) tell it."""
    columns = len(shown)
    figure = new(SIDE * columns + 0.3, SIDE * (1 + len(rows)) + 0.5)
    grid = figure.subplots(1 + len(rows), columns, squeeze=False)
    for k in range(columns):
        panel(grid[0, k], shown[k], titles[k])
        for (_, values), axis in zip(rows, grid[1:, k], strict=True):
            high = float(np.percentile(values[k], PERCENTILE)) or float(values[k].max()) or 1.0
            panel(axis, values[k], cmap="inferno", vmin=0, vmax=high)
            if masks is not None:
                axis.contour(masks[k], levels=[0.5], colors="white", linewidths=0.8)
    for (name, _), axis in zip(rows, grid[1:, 0], strict=True):
        axis.set_ylabel(name, fontsize=9)
    return figure


def three(result: Attribution) -> Figure:
    """The published three panels: picture, map in gray, map in jet, both from zero to the map's maximum."""
    values = result.values[0]
    high = float(values.max()) or 1.0
    figure = new(8.4, 3.0)
    left, middle, right = figure.subplots(1, 3)
    panel(left, result.batch.pictures[0], result.provenance["model"])
    for axis, colours in ((middle, "gray"), (right, "jet")):
        panel(axis, values, f"0 … {high:.3g}", cmap=colours, vmin=0, vmax=high)
    return figure


def filters(results: Sequence[Filters]) -> Figure:
    """The filters of a layer, one grid for each backend; in colour each on its own scale, else all on one."""
    figure, axes = _beside(results, min(results[0].limit, len(results[0].values)))
    for axis, result in zip(axes, results, strict=True):
        grid, colour, tiled = _tiled(result, square(min(result.limit, len(result.values))))
        scale: dict[str, Any] = {} if colour else {"cmap": "viridis", "vmin": 0.0, "vmax": float(np.abs(grid).max())}
        panel(axis, tiled, str(result.provenance["backend"]), **scale)
    return figure


def first_filters(result: Filters) -> Figure:
    """Filters of three input channels in colour, each on its own scale."""
    columns = columns_for(min(result.limit, len(result.values)), result.values.shape[2:], 1.6)
    tiled = _tiled(result, columns)[2]
    figure = new(7.0, 7.0 * tiled.shape[0] / tiled.shape[1] + 0.3)
    panel(figure.subplots(), tiled, result.layer)
    return figure


def _tiled(result: Filters, columns: int) -> tuple[Array, bool, Array]:
    """A layer's filters, whether they are colours, and one grid of them."""
    grid, colour = filter_pictures(result)
    tiled = tile(grid, columns, fill=1.0 if colour else np.nan)
    return grid, colour, np.clip(tiled, 0, 1) if colour else tiled


def _beside(results: Sequence[Any], squares: int) -> tuple[Figure, Any]:
    """An empty figure with a grid of so many squares for each result, side by side."""
    columns = square(squares)
    figure = new(4.8 * len(results), 4.8 * -(-squares // columns) / columns + 0.3)
    figure.set_layout_engine("constrained", wspace=0.08)
    return figure, figure.subplots(1, len(results), squeeze=False)[0]


def one_filter(weight: Array, title: str) -> Figure:
    """All input channels (C, kH, kW) of one filter on one scale, zero in the middle."""
    high = float(np.abs(weight).max()) or 1.0
    tiled = tile(weight, columns_for(len(weight), weight.shape[1:], 2.0))
    figure = new(8.4, 8.4 * tiled.shape[0] / tiled.shape[1] + 0.3)
    axis = figure.subplots()
    drawn = panel(axis, tiled, title, cmap=DIVERGING, vmin=-high, vmax=high)
    figure.colorbar(drawn, ax=axis, shrink=0.8, pad=0.01)
    return figure


def feature_maps(results: Sequence[FeatureMaps], limit: int) -> Figure:
    """The first ``limit`` channels of the first picture, one grid for each backend; each map on its own scale."""
    figure, axes = _beside(results, min(limit, results[0].values.shape[1]))
    for axis, result in zip(axes, results, strict=True):
        shown = scaled(result.values[0][:limit])
        panel(axis, tile(shown, square(len(shown))), str(result.provenance["backend"]), cmap="viridis", vmin=0, vmax=1)
    return figure


def first_maps(result: FeatureMaps) -> Figure:
    """The picture, and beside it the first 64 maps, each from its own minimum to its own maximum."""
    maps = result.values[0][:SHOWN]
    figure = new(10.2, 7.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 3.2))
    panel(left, result.batch.pictures[0], result.provenance["model"])
    title = f"{result.layer}: {len(maps)} × {maps.shape[1]} × {maps.shape[2]}"
    tiled = tile(scaled(maps), int(np.ceil(np.sqrt(len(maps)))), gap=2)
    panel(right, tiled, title, cmap="viridis", vmin=0, vmax=1)
    left.set_anchor("N")
    right.set_anchor("N")
    return figure


def dreams(results: Sequence[Dream | Rendering], titles: Sequence[Sequence[str]], columns: int = 6) -> Figure:
    """The last picture of every unit, a block of rows for each backend, under ``titles[backend][unit]``."""
    count = len(titles[0])
    figure, parts = blocks(len(results), count, columns, (SIDE, SIDE + 0.22), 0.3)
    for part, result, names in zip(parts, results, titles, strict=True):
        for axis, one, title in zip(part.ravel(), result.pictures(), names, strict=False):
            panel(axis, one, title, smooth=True)
        for row in part[:, 0]:
            row.set_ylabel(str(result.provenance["backend"]), fontsize=9)
    return figure


def strip(result: Dream) -> Figure:
    """The stages of a dream's first unit, each under its size and the activation reached."""
    titles = [f"{stage.size} px: {stage.activation[0]:.3g}" for stage in result.strip]
    return row_of([picture(stage.pictures[0]) for stage in result.strip], titles, 1.9, 2.3)
