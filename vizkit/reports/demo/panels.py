"""Figures that put the backends side by side: the same picture, one panel or one row for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import draw as plotting
from ...contract.backend import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...results.dreams import Dream, Rendering
    from ...results.features import FeatureMaps, Filters

SIDE = 1.55
"""Inches of a small square panel."""
PERCENTILE = 99.5
"""Where the colours of a map end, so that single pixels do not darken the rest."""
Named = tuple[str, Array]
"""A backend's name and its array."""


def columns_for(count: int) -> int:
    """Columns that make a grid of ``count`` squares full, no narrower than high and at most twice as wide; where none
    do, those that make it square."""
    root = int(np.ceil(np.sqrt(count)))
    full = [columns for columns in range(root, int(root * 1.42) + 1) if count % columns == 0]
    return full[0] if full else root


def pictures(shown: Array, titles: Sequence[str], columns: int = 6) -> Figure:
    """Pictures (N, H, W, 3) in a grid, each under its title."""
    rows = -(-len(shown) // columns)
    columns = min(columns, len(shown))
    side = SIDE if len(shown) > 1 else 2 * SIDE
    figure = plotting.new(side * columns, (side + 0.3) * rows if any(titles) else side * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, one, title in zip(axes, shown, titles, strict=False):
        plotting.panel(axis, one, title)
    return figure


def maps(shown: Array, titles: Sequence[str], rows: Sequence[Named], masks: Array | None = None) -> Figure:
    """Pictures (N, H, W, 3) in the first row and, below each, every backend's map of it (N, H, W), dark where it is
    zero; a white line is the border of the true object where ``masks`` (N, H, W) tell it."""
    columns = len(shown)
    figure = plotting.new(SIDE * columns + 0.3, SIDE * (1 + len(rows)) + 0.5)
    grid = figure.subplots(1 + len(rows), columns, squeeze=False)
    for k in range(columns):
        plotting.panel(grid[0, k], shown[k], titles[k])
        for (_, values), axis in zip(rows, grid[1:, k], strict=True):
            high = float(np.percentile(values[k], PERCENTILE)) or float(values[k].max()) or 1.0
            plotting.panel(axis, values[k], cmap="inferno", vmin=0, vmax=high)
            if masks is not None:
                axis.contour(masks[k], levels=[0.5], colors="white", linewidths=0.8)
    for (name, _), axis in zip(rows, grid[1:, 0], strict=True):
        axis.set_ylabel(name, fontsize=9)
    return figure


def _beside(count: int, squares: int) -> Figure:
    """An empty figure for ``count`` grids of so many squares each, side by side."""
    columns = columns_for(squares)
    figure = plotting.new(4.8 * count, 4.8 * -(-squares // columns) / columns + 0.3)
    figure.set_layout_engine("constrained", wspace=0.08)
    return figure


def filters(results: Sequence[Filters]) -> Figure:
    """The filters of a layer, one grid for each backend; in colour each on its own scale, else all on one."""
    from ...techniques.features.filters import pictures as filter_pictures

    figure = _beside(len(results), min(results[0].limit, len(results[0].values)))
    for axis, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        grid, colour = filter_pictures(result)
        tiled = plotting.tile(grid, columns_for(len(grid)), fill=1.0 if colour else np.nan)
        scale: dict[str, Any] = {} if colour else {"cmap": "viridis", "vmin": 0.0, "vmax": float(np.abs(grid).max())}
        plotting.panel(axis, np.clip(tiled, 0, 1) if colour else tiled, str(result.provenance["backend"]), **scale)
    return figure


def feature_maps(results: Sequence[FeatureMaps], limit: int) -> Figure:
    """The first ``limit`` channels of the first picture, one grid for each backend; each map on its own scale."""
    figure = _beside(len(results), min(limit, results[0].values.shape[1]))
    for axis, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        found = result.values[0][:limit].astype(np.float64)
        low = found.min(axis=(1, 2), keepdims=True)
        span = found.max(axis=(1, 2), keepdims=True) - low
        scaled = (found - low) / np.where(span > 0, span, 1.0)
        tiled = plotting.tile(scaled, columns_for(len(scaled)))
        plotting.panel(axis, tiled, str(result.provenance["backend"]), cmap="viridis", vmin=0, vmax=1)
    return figure


def dreams(results: Sequence[Dream | Rendering], titles: Sequence[Sequence[str]], columns: int = 6) -> Figure:
    """The last picture of every unit, a block of rows for each backend, under ``titles[backend][unit]``."""
    count = len(titles[0])
    columns = min(columns, count)
    block = -(-count // columns)
    figure = plotting.new(SIDE * columns + 0.3, (SIDE + 0.22) * block * len(results))
    grid = figure.subplots(block * len(results), columns, squeeze=False)
    for b, result in enumerate(results):
        part = grid[b * block : (b + 1) * block]
        for axis in part.ravel()[count:]:
            axis.set_axis_off()
        for axis, one, title in zip(part.ravel(), result.pictures(), titles[b], strict=False):
            plotting.panel(axis, one, title, smooth=True)
        for row in part[:, 0]:
            row.set_ylabel(str(result.provenance["backend"]), fontsize=9)
    return figure
