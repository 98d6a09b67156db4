"""Figures of what a layer holds: weights, maps, statistics, patches."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
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
ALL = (-0.04, 1.04)
"""Where an axis of shares ends, so that marks of none and of all are whole."""
SIZES = {"mean": "mean", "max": "maximum"}
UNITS = {
    "zeros": "zero activations",
    "dead": "dead units",
    "always_on": "always on",
    "saturated": "saturated units",
    "duplicates": "near duplicates",
}
"""The columns of statistics that are no shares, and those of a network's health, under the names of their axes."""


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
    """By depth, one below the other: shares of zeros and of blank channels, mean and maximum; pale where a layer is not
    rectified. Marks for each result."""
    figure, axes = _by_depth(
        [(one.layers, one.rectified, one) for one in results],
        {"zeros": "zero activations", "blank": "blank channels", **SIZES},
    )
    for name in ("zeros", "blank"):
        axes[name].set_ylim(*ALL)
    axes["max"].set_ylim(bottom=min(0.0, axes["max"].get_ylim()[0]))
    return figure


def health(results: Sequence[Health]) -> Figure:
    """By depth, one below the other: the share of zeros, and shares of dead, always-on, saturated and near-duplicate
    units; pale where a layer is not rectified. Marks for each result."""
    of = [([layer.name for layer in one.layers], [layer.rectified for layer in one.layers], one) for one in results]
    figure, axes = _by_depth(of, UNITS)
    axes["zeros"].set_ylim(*ALL)
    for name in list(UNITS)[1:]:
        top = max(0.1, axes[name].get_ylim()[1])
        axes[name].set_ylim(-0.06 * top, top)
    return figure


def _by_depth(
    results: Sequence[tuple[Sequence[str], Sequence[bool], Any]], columns: Mapping[str, str]
) -> tuple[Figure, dict[str, Any]]:
    """Axes over a network's layers for each column of the results, each of which comes with its layers' names and with
    which of them are rectified: one axis for two columns would hide the marks of one behind those of the other."""
    longest = sorted(results, key=lambda one: -len(one[0]))
    names = list(dict.fromkeys(name for listed, *_ in longest for name in listed))
    width = max(7.5, min(18.0, 2.5 + 0.16 * len(names)))
    figure = new(width, 1.35 * len(columns) + 1.6)
    axes = dict(zip(columns, figure.subplots(len(columns), 1, sharex=True), strict=True))
    room = max(2.5, 0.8 * 72 * (width - 1) / len(names))
    for colour, (name, title) in enumerate(columns.items()):
        axes[name].margins(y=0.1)
        if name in SIZES:
            axes[name].set_yscale("symlog", linthresh=1e-2)
        for k, (listed, active, result) in enumerate(results):
            depth = np.array([names.index(one) for one in listed])
            _mark(axes[name], k, f"C{colour}", depth, result.column(name), np.array(active), origin(result), room)
        axes[name].set_ylabel(title.replace(" ", "\n"), fontsize=8)
        axes[name].tick_params(axis="y", labelsize=8)
        axes[name].grid(alpha=0.3)
    first, last = axes[next(iter(columns))], axes[list(columns)[-1]]
    first.set_title("pale: layers with negative activations", fontsize=9, color=GRAY)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", fontsize=8, ncols=2, frameon=False)
    every = max(1, len(names) // 60)
    shown = [shortened(one, 2.4, 6) for one in names[::every]]
    last.set_xticks(np.arange(len(names))[::every], shown, rotation=90, fontsize=6)
    return figure, axes


def _mark(axes: Any, k: int, colour: str, depth: Array, values: Array, active: Array, label: str, room: float) -> None:
    """A result's values, pale where they may be negative, in marks that leave those of the next layer ``room``."""
    mark, fill, size = MARKS[k % len(MARKS)]
    fitting = size * min(1.0, room / MARKS[1][2])
    marks = {"color": colour, "marker": mark, "linestyle": "", "markersize": fitting, "fillstyle": fill}
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
