"""Figures of results. Every function takes a list of results of one kind, one for each backend or model, and draws
them in one figure; nothing is registered with pyplot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from . import overlay
from .backend import Array

if TYPE_CHECKING:
    from .results import Attribution, Result
    from .techniques.activation_statistics import ActivationStatistics
    from .techniques.deepdream import DeepDream
    from .techniques.dream import Dream
    from .techniques.feature_maps import FeatureMaps
    from .techniques.filters import Filters
    from .techniques.invert import Inversion
    from .techniques.render import Rendering

GRAY = "0.35"
MOST_SLICES = 6
"""Of a volume in a figure."""


def new(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel(axes: Any, image: Array, title: str = "", **options: Any) -> Any:
    """One picture without ticks."""
    drawn = axes.imshow(image, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=9)
    return drawn


def origin(result: Result) -> str:
    """Model, backend and weights of a result, for a title."""
    made = result.provenance
    source = made["weights"]["source"].replace("\\", "/").rsplit("/", 1)[-1]
    dtype = "" if made["dtype"] == "float32" else f", {made['dtype']}"
    return f"{made['model']} in {made['backend']}, weights {source}{dtype}"


def tile(pictures: Array, columns: int, gap: int = 1, fill: float = np.nan) -> Array:
    """(n, H, W) or (n, H, W, 3) pictures as one grid, ``gap`` pixels of ``fill`` between them."""
    n, height, width = pictures.shape[:3]
    rows = -(-n // columns)
    grid = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *pictures.shape[3:]), fill, dtype=np.float64
    )
    for i, one in enumerate(pictures):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        grid[top : top + height, left : left + width] = one
    return grid


def columns_for(count: int, shape: tuple[int, ...], aspect: float = 1.6) -> int:
    """Columns that make ``count`` pictures a grid about ``aspect`` times as wide as high, with few places over."""
    ideal = np.sqrt(count * aspect * (shape[0] + 1) / (shape[1] + 1))
    near = range(max(1, round(ideal * 0.8)), max(1, round(ideal * 1.25)) + 1)
    return min(near, key=lambda columns: -count % columns / count + abs(np.log(columns / ideal)) * 0.3)


def attributions(results: Sequence[Attribution]) -> Figure:
    """Three panels a row: the picture, its map, and the map laid over it; a row for every image of every result. Each
    map on its own scale, which its bar shows; what colour means stands below, in words."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    figure = new(9.4, 3.05 * len(rows) + 0.5)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for (result, i), (left, middle, right) in zip(rows, axes, strict=True):
        values, picture, made = result.values[i], result.batch.pictures[i], result.provenance
        high = overlay.end(values) or 1.0
        low, cmap = (-high, overlay.DIVERGING) if result.signed else (0.0, overlay.COLOURS)
        panel(left, picture, f"{result.batch.names[i]}: {result.labels[i]}")
        drawn = panel(middle, values, _technique(made, result.layer), cmap=cmap, vmin=low, vmax=high)
        figure.colorbar(drawn, ax=middle, shrink=0.82, pad=0.02).ax.tick_params(labelsize=7)
        panel(right, overlay.blend(picture, values, high, signed=result.signed, alpha=0.8), "laid over the picture")
        left.set_ylabel(_wrap(origin(result)), fontsize=8, color=GRAY)
    figure.supxlabel(overlay.legend(results), fontsize=8, color=GRAY)
    return figure


def _technique(made: Mapping[str, Any], layer: str | None) -> str:
    settings = made["settings"]
    where = f" at {layer}" if layer else ""
    mode = settings.get("mode", "inference")
    rest = "" if mode == "inference" else f", {mode} mode, input {settings['input_range']}"
    return f"{made['technique']}{where}{rest}"


def slices(result: Attribution) -> Figure:
    """For each volume two rows, at most :data:`MOST_SLICES` slices of it and of its map, on one scale each, which the
    titles state."""
    count, depth = len(result.values), result.values.shape[1]
    shown = np.unique(np.linspace(0, depth - 1, min(depth, MOST_SLICES)).round().astype(int))
    figure = new(1.5 * len(shown) + 1.2, 3.4 * count + 0.4)
    axes = figure.subplots(2 * count, len(shown), squeeze=False)
    tensor = result.batch.tensor.reshape(count, -1, *result.values.shape[1:])[:, 0]
    for i, (volume, values) in enumerate(zip(tensor, result.values, strict=True)):
        low, high, cmap = _scale(values, result.signed)
        for k, at in enumerate(shown):
            title = f"{result.batch.names[i]}, slice {at}" if k == 0 else f"slice {at}"
            panel(axes[2 * i, k], volume[at], title, cmap="gray", vmin=volume.min(), vmax=volume.max())
            panel(axes[2 * i + 1, k], values[at], cmap=cmap, vmin=low, vmax=high)
        axes[2 * i + 1, 0].set_title(_said(result, i, low, high), fontsize=8, loc="left")
    figure.suptitle(origin(result), fontsize=9, color=GRAY)
    return figure


def curves(result: Attribution) -> Figure:
    """For each signal its channels as lines, above the map as an area over the same samples."""
    count, samples = result.values.shape
    figure = new(8.4, 2.9 * count + 0.3)
    axes = figure.subplots(2 * count, 1, squeeze=False, sharex=True)[:, 0]
    tensor = result.batch.tensor.reshape(count, -1, samples)
    for i, (signal, values) in enumerate(zip(tensor, result.values, strict=True)):
        low, high, _ = _scale(values, result.signed)
        for c, channel in enumerate(signal):
            axes[2 * i].plot(channel, linewidth=0.9, label=f"channel {c}")
        axes[2 * i].set_title(result.batch.names[i], fontsize=9)
        axes[2 * i].legend(fontsize=7, loc="upper right", ncols=4, frameon=False)
        axes[2 * i + 1].fill_between(np.arange(samples), values, step="mid", linewidth=0, alpha=0.7, color="C3")
        axes[2 * i + 1].axhline(0, linewidth=0.6, color=GRAY)
        axes[2 * i + 1].set_ylim(low, high)
        axes[2 * i + 1].set_title(_said(result, i, low, high), fontsize=9)
    axes[-1].set_xlabel(f"sample; {origin(result)}", fontsize=8)
    return figure


def _scale(values: Array, signed: bool) -> tuple[float, float, str]:
    """Limits and colour map of one map: from zero, or both sides of it."""
    high = float(np.abs(values).max()) or 1.0
    return (-high, high, "RdBu_r") if signed else (min(0.0, float(values.min())), high, "viridis")


def _said(result: Attribution, i: int, low: float, high: float) -> str:
    return f"{result.provenance['technique']} for {result.labels[i]}, {low:.3g} to {high:.3g}"


def _wrap(text: str) -> str:
    return text.replace(", weights", "\nweights")


def filters(results: Sequence[Filters]) -> Figure:
    """One grid a result; colour filters each on their own scale, the rest on one common scale with its bar."""
    from .techniques.filters import pictures

    shown = [pictures(result) for result in results]
    figure = new(8.0, 6.2 * len(results))
    all_axes = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for axes, result, (grid, colour) in zip(all_axes, results, shown, strict=True):
        tiled = tile(grid, columns_for(len(grid), grid.shape[1:3], 1.2), fill=1.0 if colour else np.nan)
        total, inputs, *_ = result.values.shape
        rest = f", first {len(grid)} shown, {total - len(grid)} more" if len(grid) < total else ""
        kind = {"colour": "colour, each on its own scale", "mean": f"mean |w| over {inputs} input channels"}
        what = kind.get(str(result.channel), f"input channel {result.channel} of {inputs}")
        title = f"{origin(result)}\n{result.layer}: {total} filters {result.values.shape[2]}x{result.values.shape[3]}"
        if colour:
            panel(axes, np.clip(tiled, 0, 1), f"{title}, {what}{rest}")
        else:
            low = 0.0 if result.channel == "mean" else -float(np.abs(grid).max())
            cmap = "viridis" if result.channel == "mean" else "RdBu_r"
            drawn = panel(axes, tiled, f"{title}, {what}{rest}", cmap=cmap, vmin=low, vmax=float(np.abs(grid).max()))
            figure.colorbar(drawn, ax=axes, shrink=0.7)
    return figure


def feature_maps(results: Sequence[FeatureMaps], scale: str = "each") -> Figure:
    """All channels of every image of every result in one figure; blank channels stay dark and are counted."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    figure = new(11.0, 7.2 * len(rows))
    axes = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(1, 3.4))
    for (result, i), (left, right) in zip(rows, axes, strict=True):
        maps = result.values[i]
        maps = maps if maps.ndim == 3 else maps[:, None, None]
        flat = maps.reshape(len(maps), -1).astype(np.float64)
        low, high = flat.min(axis=1), flat.max(axis=1)
        blank = int((np.abs(flat).max(axis=1) == 0).sum())
        if scale == "common" or flat.shape[1] == 1:
            low, high = np.full_like(low, flat.min()), np.full_like(high, flat.max())
        span = np.where(high > low, high - low, 1.0)
        shown = (maps - low[:, None, None]) / span[:, None, None]
        tiled = tile(shown, columns_for(len(shown), maps.shape[1:], 1.15), gap=1 if maps.shape[1] > 1 else 0)
        panel(left, result.batch.pictures[i], result.batch.names[i])
        left.set_anchor("N")
        left.set_xlabel(origin(result).replace(", ", "\n").replace(" in ", "\nin "), fontsize=8, color=GRAY)
        stated = (
            f"one scale, {flat.min():.3g} to {flat.max():.3g}" if scale == "common" else "each map on its own scale"
        )
        size = f"{maps.shape[1]}x{maps.shape[2]}"
        title = f"{result.layer}: {len(maps)} channels {size}, {blank} blank; {stated}"
        panel(right, tiled, title, cmap="viridis", vmin=0, vmax=1)
        right.set_anchor("N")
    return figure


def activation_statistics(results: Sequence[ActivationStatistics]) -> Figure:
    """Shares of zeros and of blank channels by depth above, mean and maximum below; a line for each result."""
    longest = max(results, key=lambda result: len(result.layers))
    figure = new(max(7.0, min(18.0, 2.5 + 0.16 * len(longest.layers))), 6.5)
    above, below = figure.subplots(2, 1, sharex=True)
    below.set_yscale("symlog", linthresh=1e-2)
    curves = ((above, "zeros", "zero activations"), (above, "blank", "blank channels"), (below, "mean", "mean"))
    for k, result in enumerate(results):
        active = np.array(result.rectified)
        depth = np.arange(len(result.layers))
        style = ("-", "--", ":", "-.")[k % 4]
        for colour, (axes, name, what) in enumerate((*curves, (below, "max", "maximum"))):
            column = result.column(name)
            axes.plot(depth[active], column[active], style, color=f"C{colour}", label=f"{what}, {origin(result)}")
            axes.plot(depth[~active], column[~active], ".", color=f"C{colour}", alpha=0.3, markersize=4)
    above.set_title("lines: layers without negative activations; dots: the others", fontsize=9, color=GRAY)
    above.set_ylim(-0.02, 1.02)
    above.set_ylabel("share")
    below.set_ylabel("activation")
    every = max(1, len(longest.layers) // 60)
    below.set_xticks(np.arange(len(longest.layers))[::every], longest.layers[::every], rotation=90, fontsize=6)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure


def dream(results: Sequence[Dream]) -> Figure:
    """Six stages a row, a row for each unit of each result, with the size and the activation reached."""
    from .images import picture

    rows = [(result, i) for result in results for i in range(len(result.units))]
    width = max(len(result.strip) for result in results)
    figure = new(2.1 * width + 0.4, 2.5 * len(rows))
    axes = figure.subplots(len(rows), width, squeeze=False)
    for (result, i), row in zip(rows, axes, strict=True):
        for axis in row[len(result.strip) :]:
            axis.set_axis_off()
        for axis, stage in zip(row, result.strip, strict=False):
            title = f"stage {stage.index}: {stage.size} px\nactivation {stage.activation[i]:.3g}"
            panel(axis, picture(stage.pictures[i]), title)
        clipped = result.clipped()[i]
        label = f"{result.layer} unit {result.units[i]}, {clipped:.0%} clipped\n{_wrap(origin(result))}"
        row[0].set_ylabel(label, fontsize=7, color=GRAY)
    return figure


def rendering(results: Sequence[Rendering], columns: int = 6) -> Figure:
    """Pictures in a grid, a block of rows for each result, each under its title and over its evidence."""
    count = max(len(result.values) for result in results)
    columns = min(columns, count)
    block = -(-count // columns)
    figure = new(2.2 * columns + 0.4, 2.9 * block * len(results))
    grid = figure.subplots(block * len(results), columns, squeeze=False)
    for b, result in enumerate(results):
        part = grid[b * block : (b + 1) * block]
        for axis in part.ravel():
            axis.set_axis_off()
        titles = result.titles or [""] * len(result.values)
        for item, (axis, one) in enumerate(zip(part.ravel(), result.pictures(), strict=False)):
            axis.set_axis_on()
            panel(axis, one, titles[item])
            failed = bool(result.evidence.failed[item])
            axis.set_xlabel(result.evidence.text(item), fontsize=7, color="firebrick" if failed else GRAY)
            if failed:
                axis.images[0].set_alpha(0.25)
        part[0, 0].set_ylabel(_wrap(origin(result)), fontsize=7, color=GRAY)
    return figure


def inversion(results: Sequence[Inversion]) -> Figure:
    """The photo and, layer by layer, the pictures that a layer cannot tell from it; a row for each result."""
    columns = 1 + max(len(result.layers) for result in results)
    figure = new(2.0 * columns + 0.3, 2.7 * len(results))
    grid = figure.subplots(len(results), columns, squeeze=False)
    for row, result in zip(grid, results, strict=True):
        panel(row[0], result.photo, "photo")
        row[0].set_ylabel(_wrap(origin(result)), fontsize=7, color=GRAY)
        for axis, one, name, far in zip(row[1:], result.pictures(), result.layers, result.distance, strict=False):
            panel(axis, one, f"{name}\ndistance {far:.2g}")
        for axis in row[1 + len(result.layers) :]:
            axis.set_axis_off()
    return figure


def deepdream(results: Sequence[DeepDream]) -> Figure:
    """The photo and, beside it, what became of it in each result."""
    height, width = results[0].photo.shape[:2]
    columns = 1 + len(results)
    figure = new(4.5 * columns, 4.5 * height / width + 0.45)
    first, *others = figure.subplots(1, columns)
    panel(first, results[0].photo, "photo")
    for axis, result in zip(others, results, strict=True):
        panel(axis, result.pictures()[0], _wrap(origin(result)))
        axis.set_xlabel(
            f"{result.provenance['settings']['objective']}, reached {result.trace[-1]:.4g}", fontsize=8, color=GRAY
        )
    return figure
