"""Figures of what a layer holds: weights, maps, statistics, patches."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..contract.backend import Array
from ..results.features import ActivationStatistics, FeatureMaps, Filters, TopUnits
from ..results.folders import TopPatches
from ..results.health import Health
from ..techniques.features.filters import pictures
from .base import GRAY, columns_for, new, origin, panel, shortened, spaces, tile
from .overlay import DIVERGING

SHOWN = 24
"""Units whose patches are shown, at most."""
MARKS = (("o", "full", 4), ("s", "none", 8), ("D", "none", 11), ("^", "none", 14))
"""Shape, filling and size for each result in one figure: those of one place lie around one another. Layers are marked,
never joined: side by side in a network, they are no curve."""


def filters(results: Sequence[Filters]) -> Figure:
    """One grid a result; colour filters each on their own scale, the rest on one common scale with its bar."""
    shown = [pictures(result) for result in results]
    figure = new(8.0, 6.2 * len(results))
    all_axes = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for axes, result, (grid, colour) in zip(all_axes, results, shown, strict=True):
        tiled = tile(grid, columns_for(len(grid), grid.shape[1:3], 1.2), fill=1.0 if colour else np.nan)
        total, inputs, *_ = result.values.shape
        rest = f", first {len(grid)} shown, {total - len(grid)} more" if len(grid) < total else ""
        kind = {"colour": "colour, each on its own scale", "mean": f"mean |w| over {inputs} input channels"}
        what = kind.get(str(result.channel), f"input channel {result.channel} of {inputs}")
        size = "x".join(map(str, result.values.shape[2:4]))
        title = f"{origin(result)}\n{shortened(result.layer, 3.0)}: {total} filters {size}"
        if colour:
            panel(axes, np.clip(tiled, 0, 1), f"{title}, {what}{rest}")
        else:
            low = 0.0 if result.channel == "mean" else -float(np.abs(grid).max())
            cmap = "viridis" if result.channel == "mean" else DIVERGING
            drawn = panel(axes, tiled, f"{title}, {what}{rest}", cmap=cmap, vmin=low, vmax=float(np.abs(grid).max()))
            figure.colorbar(drawn, ax=axes, shrink=0.7)
    return figure


def feature_maps(results: Sequence[FeatureMaps], scale: str = "each") -> Figure:
    """All channels of every image of every result in one figure; blank channels stay dark and are counted."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    tiles = [_tiled(result.values[i], scale) for result, i in rows]
    wide = 8.4
    heights = [max(2.9, wide * one.shape[0] / one.shape[1] + 0.35) for one, *_ in tiles]
    figure = new(wide + 2.6, sum(heights))
    axes = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(2.3, wide), height_ratios=heights)
    for (result, i), (left, right), (tiled, blank, low, high) in zip(rows, axes, tiles, strict=True):
        maps = result.values[i]
        panel(left, result.batch.pictures[i], shortened(result.batch.names[i], 2.2))
        left.set_anchor("N")
        left.set_xlabel(textwrap.fill(origin(result), 28), fontsize=8, color=GRAY)
        stated = f"one scale, {low:.3g} to {high:.3g}" if scale == "common" else "each map on its own scale"
        size = "x".join(map(str, maps.shape[1:])) or "1x1"
        some = result.provenance["settings"].get("unit")
        what = f"{len(maps)} channels" if some is None else f"channel {', '.join(map(str, some))}"
        title = f"{shortened(result.layer, 4.0)}: {what} {size}, {blank} blank; {stated}"
        panel(right, tiled, title, cmap="viridis", vmin=0, vmax=1)
        right.set_anchor("N")
    return figure


def _tiled(maps: Array, scale: str) -> tuple[Array, int, float, float]:
    """A picture's maps as one grid in 0..1, how many are blank, and the lowest and the highest value."""
    maps = maps if maps.ndim == 3 else maps[:, None, None]
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    low, high = flat.min(axis=1), flat.max(axis=1)
    blank = int((np.abs(flat).max(axis=1) == 0).sum())
    if scale == "common" or flat.shape[1] == 1:
        low, high = np.full_like(low, flat.min()), np.full_like(high, flat.max())
    span = np.where(high > low, high - low, 1.0)
    shown = (maps - low[:, None, None]) / span[:, None, None]
    tiled = tile(shown, columns_for(len(shown), maps.shape[1:], 1.5), gap=1 if maps.shape[1] > 1 else 0)
    return tiled, blank, float(flat.min()), float(flat.max())


def activation_statistics(results: Sequence[ActivationStatistics]) -> Figure:
    """Shares of zeros and of blank channels by depth above, mean and maximum below; marks for each result."""
    longest = max(results, key=lambda result: len(result.layers))
    figure, above, below = _by_depth(longest.layers, 7.0, 6.5)
    below.set_yscale("symlog", linthresh=1e-2)
    curves = ((above, "zeros", "zero activations"), (above, "blank", "blank channels"), (below, "mean", "mean"))
    for k, result in enumerate(results):
        active, depth = np.array(result.rectified), np.arange(len(result.layers))
        for colour, (axes, name, what) in enumerate((*curves, (below, "max", "maximum"))):
            _mark(axes, k, f"C{colour}", depth, result.column(name), active, f"{what}, {origin(result)}")
    above.set_ylabel("share")
    below.set_ylabel("activation")
    for axes in (above, below):
        axes.legend(fontsize=7)
    return figure


def health(results: Sequence[Health]) -> Figure:
    """Share of zeros by depth above, shares of dead, always-on, saturated and near-duplicate units below; pale where a
    layer is not rectified. Marks for each result."""
    names = [layer.name for layer in max(results, key=lambda result: len(result.layers)).layers]
    figure, above, below = _by_depth(names, 7.5, 6.8)
    kinds = (("dead", "C3"), ("always_on", "C2"), ("saturated", "C1"), ("duplicates", "C4"))
    for k, result in enumerate(results):
        shown = [i for i, layer in enumerate(result.layers) if layer.name in names]
        depth = np.array([names.index(result.layers[i].name) for i in shown])
        active = np.array([result.layers[i].rectified for i in shown])
        _mark(above, k, "C0", depth, result.column("zeros")[shown], active, f"zeros, {origin(result)}")
        for kind, colour in kinds:
            label = kind.replace("_", " ").replace("duplicates", "near-duplicates") if k == 0 else None
            _mark(below, k, colour, depth, result.column(kind)[shown], active, label)
    above.set_ylabel("share of zero activations", fontsize=8)
    below.set_ylabel("share of units", fontsize=8)
    below.set_ylim(bottom=-0.01)
    for axes in (above, below):
        axes.legend(fontsize=7)
    return figure


def _by_depth(names: Sequence[str], width: float, height: float) -> tuple[Figure, Any, Any]:
    """Two axes over a network's layers by depth, the upper one of shares."""
    figure = new(max(width, min(18.0, 2.5 + 0.16 * len(names))), height)
    above, below = figure.subplots(2, 1, sharex=True)
    above.set_ylim(-0.02, 1.02)
    above.set_title("pale: layers with negative activations", fontsize=9, color=GRAY)
    every = max(1, len(names) // 60)
    shown = [shortened(one, 2.4, 6) for one in names[::every]]
    below.set_xticks(np.arange(len(names))[::every], shown, rotation=90, fontsize=6)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure, above, below


def _mark(axes: Any, k: int, colour: str, depth: Array, values: Array, active: Array, label: str | None) -> None:
    """A result's values, pale where they may be negative."""
    mark, fill, size = MARKS[k % len(MARKS)]
    marks = {"color": colour, "marker": mark, "linestyle": "", "markersize": size, "fillstyle": fill}
    axes.plot(depth[active], values[active], label=label, **marks)
    axes.plot(depth[~active], values[~active], alpha=0.3, **marks)


def top_units(results: Sequence[TopUnits]) -> Figure:
    """All units' strengths in order, the chosen ones named; a row for each result."""
    figure = new(7.0, 2.8 * len(results))
    for axes, result in zip(figure.subplots(len(results), 1, squeeze=False)[:, 0], results, strict=True):
        axes.plot(np.sort(result.every)[::-1], color="0.6", lw=1)
        axes.plot(result.values, "o", ms=3)
        for rank, (one, value) in enumerate(zip(result.units, result.values, strict=True)):
            axes.annotate(str(one), (rank, value), fontsize=6, rotation=60)
        axes.set_xlabel(f"units of {shortened(result.layer, 4.0)}, strongest first")
        axes.set_ylabel("mean activation")
        said = f"{origin(result)}: the first {len(result.units)} of {len(result.every)} units"
        axes.set_title(said, fontsize=9, color=GRAY)
    return figure


def top_patches(results: Sequence[TopPatches]) -> Figure:
    """The patches of the first result's first 24 units, one unit a row, each row headed by its best activation."""
    result = results[0]
    shown = result.units[:SHOWN]
    count = result.values.shape[1]
    figure = new(0.8 * count + 1.6, 0.84 * len(shown) + 0.5)
    axes = spaces(figure, len(shown), count)
    for row, (layer, unit) in enumerate(shown):
        for axis, patch in zip(axes[row], result.patches(row), strict=False):
            panel(axis, patch)
        text = f"{shortened(layer, 1.2, 7)}\nunit {unit}\n{result.values[row, 0]:.3g}"
        axes[row, 0].set_axis_on()
        axes[row, 0].set_ylabel(text, fontsize=7, rotation=0, ha="right", va="center", color=GRAY)
    more = f", the first {len(shown)} of {len(result.units)} units" if len(shown) < len(result.units) else ""
    figure.suptitle(f"{origin(result)}: patches of highest activation{more}", fontsize=9)
    return figure
