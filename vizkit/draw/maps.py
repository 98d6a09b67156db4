"""Figures of attribution maps, and of how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..contract.backend import Array
from ..evaluate.ranking import Ranking, places
from ..evaluate.statistics import ranks
from ..results.attribution import Attribution
from ..results.overlay import COLOURS
from . import overlay
from .base import GRAY, captioned, new, origin, panel, shortened, wrapped

WIDTH = 2.75
"""Of a picture beside its map, inches."""
MOST_CHANNELS = 8
"""Of a signal, whose lines have a colour and a name each."""
MOST_SLICES = 6
"""Of a volume in a figure."""


def maps(results: Sequence[Attribution]) -> Figure:
    """Maps of pictures as :func:`attributions`; of the first result alone, those of volumes as :func:`slices`, of
    signals as :func:`curves`."""
    axes = results[0].values.ndim
    if axes == 3:
        return attributions(results)
    return slices(results[0]) if axes == 4 else curves(results[0])


def attributions(results: Sequence[Attribution]) -> Figure:
    """Three panels a row: the picture, its map, and the map laid over it; a row for every image of every result. Each
    map on its own scale, which its bar shows; what colour means stands below, in words."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    legend = overlay.legend(results)
    titles = [
        (captioned(result.batch.names[i], result.labels[i], WIDTH), _technique(result.provenance, result.layer))
        for result, i in rows
    ]
    # A panel stands in the middle of its place, so that a line more above it needs as much again below.
    more = max(text.count("\n") for both in titles for text in both)
    figure = new(9.4, (3.05 + 0.36 * more) * len(rows) + 0.5 + 0.16 * legend.count("\n"))
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for (result, i), (name, method), (left, middle, right) in zip(rows, titles, axes, strict=True):
        values, picture = result.values[i], result.batch.pictures[i]
        low, high = overlay.limits(values, result.signed)
        cmap = overlay.DIVERGING if result.signed else COLOURS
        panel(left, picture, name)
        drawn = panel(middle, values, method, cmap=cmap, vmin=low, vmax=high)
        extend = overlay.beyond(values, (low, high))
        bar = figure.colorbar(drawn, ax=middle, shrink=0.82, pad=0.02, extend=extend, extendfrac=0.03)
        bar.ax.tick_params(labelsize=7)
        bar.ax.yaxis.get_offset_text().set_fontsize(7)
        panel(
            right, overlay.blend(picture, values, (low, high), signed=result.signed, alpha=0.8), "laid over the picture"
        )
        left.set_ylabel(wrapped(origin(result)), fontsize=8, color=GRAY)
    figure.supxlabel(legend, fontsize=8, color=GRAY)
    return figure


def _technique(made: Mapping[str, Any], layer: str | None) -> str:
    settings = made["settings"]
    where = f" at {layer}" if layer else ""
    mode = settings.get("mode", "inference")
    rest = "" if mode == "inference" else f"{mode} mode, input {settings['input_range']}"
    parts = [f"{made['technique']}{where}", *([rest] if rest else [])]
    whole = ", ".join(parts)
    if shortened(whole, WIDTH) == whole:
        return whole
    lines = [f"{made['technique']} at", layer, rest] if layer else parts
    return "\n".join(shortened(one, WIDTH) for one in lines if one)


def slices(result: Attribution) -> Figure:
    """For each volume two rows, at most :data:`MOST_SLICES` slices of it and of its map, on one scale each, which the
    titles state."""
    count, depth = len(result.values), result.values.shape[1]
    shown = np.unique(np.linspace(0, depth - 1, min(depth, MOST_SLICES)).round().astype(int))
    figure = new(1.5 * len(shown) + 1.2, 3.4 * count + 0.4)
    axes = figure.subplots(2 * count, len(shown), squeeze=False)
    tensor = result.batch.tensor.reshape(count, -1, *result.values.shape[1:])
    some = f", channel 0 of {tensor.shape[1]}" if tensor.shape[1] > 1 else ""
    for i, (volume, values) in enumerate(zip(tensor[:, 0], result.values, strict=True)):
        low, high, cmap = _scale(values, result.signed)
        for k, at in enumerate(shown):
            panel(axes[2 * i, k], volume[at], f"slice {at}", cmap="gray", vmin=volume.min(), vmax=volume.max())
            panel(axes[2 * i + 1, k], values[at], cmap=cmap, vmin=low, vmax=high)
        name = shortened(f"{result.batch.names[i]}{some}", 1.5 * len(shown), 8)
        axes[2 * i, 0].set_title(f"{name}\nslice {shown[0]}", fontsize=8, loc="left")
        axes[2 * i, 0].set_title("")
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
        name = result.batch.names[i]
        if len(signal) <= MOST_CHANNELS:
            for c, channel in enumerate(signal):
                axes[2 * i].plot(channel, linewidth=0.9, label=f"channel {c}")
            axes[2 * i].legend(fontsize=7, loc="upper right", ncols=4, frameon=False)
        else:
            axes[2 * i].plot(signal.T, linewidth=0.4, alpha=0.4, color="C0")
            name = f"{name}, {len(signal)} channels"
        axes[2 * i].set_title(shortened(name, 8.0), fontsize=9)
        axes[2 * i + 1].fill_between(np.arange(samples), values, step="mid", linewidth=0, alpha=0.7, color="C3")
        axes[2 * i + 1].axhline(0, linewidth=0.6, color=GRAY)
        axes[2 * i + 1].set_ylim(low, high)
        axes[2 * i + 1].set_title(_said(result, i, low, high), fontsize=9)
    axes[-1].set_xlabel(f"sample; {origin(result)}", fontsize=8)
    return figure


def _scale(values: Array, signed: bool) -> tuple[float, float, str]:
    """Limits and colour map of one map: from zero, or both sides of it."""
    high = float(np.abs(values).max()) or 1.0
    return (-high, high, overlay.DIVERGING) if signed else (min(0.0, float(values.min())), high, "viridis")


def _said(result: Attribution, i: int, low: float, high: float) -> str:
    return f"{result.provenance['technique']} for {result.labels[i]}, {low:.3g} to {high:.3g}"


def ranking(results: Sequence[Ranking]) -> Figure:
    """The table of the first; shades show the rank within each column, dark the best."""
    shown = results[0]
    rows = shown.rows()
    figure = new(1.6 + 1.15 * len(rows[0]), 0.8 + 0.35 * len(rows))
    axes = figure.subplots()
    shades = np.stack([places(shown.values[:, k], name) for k, name in enumerate(shown.metrics)], axis=1)
    shades = np.column_stack([ranks(shown.mean_rank), shades])
    panel(axes, shades, cmap="Blues_r", vmin=0, vmax=1.4 * len(shown.methods), aspect="auto")
    for (y, x), shade in np.ndenumerate(shades):
        dark = shade < 0.55 * len(shown.methods)
        axes.text(x, y, rows[y + 1][x + 1], ha="center", va="center", fontsize=8, color="w" if dark else "k")
    axes.set_yticks(range(len(shown.methods)), shown.methods, fontsize=8)
    axes.set_xticks(range(len(rows[0]) - 1), rows[0][1:], rotation=35, ha="left", fontsize=8)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_title(f"{origin(shown)}; {shown.per_image.shape[2]} images", fontsize=9)
    return figure
