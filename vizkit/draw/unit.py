"""Figures of a unit's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..contract.backend import Array
from ..results.folders import TopPatches, crop
from .base import new, panel, shortened, spaces, tile
from .overlay import DIVERGING

if TYPE_CHECKING:
    from ..techniques.units.filter import Filter
    from ..techniques.units.histogram import Histogram
    from ..techniques.units.votes import Votes

STRONGEST = 16
"""Input channels whose kernels are drawn."""


def _bare(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def filter_picture(found: Filter) -> Figure:
    """The filter in colour where it reads three channels; else its norm at every input channel, and the kernels of the
    strongest, all on one scale, strongest first."""
    weight = found.weight
    if weight.ndim == 3 and len(weight) == 3:
        figure = new(7.2, 2.1)
        axes = figure.subplots(1, 4)
        span = float(np.ptp(weight)) or 1.0
        panel(axes[0], np.moveaxis((weight - weight.min()) / span, 0, -1), "in colour")
        high = float(np.abs(weight).max()) or 1.0
        for axis, one, name in zip(axes[1:], weight, ("red", "green", "blue"), strict=True):
            drawn = panel(axis, one, name, cmap=DIVERGING, vmin=-high, vmax=high)
        figure.colorbar(drawn, ax=list(axes), shrink=0.8)
        return figure
    norms = found.norms()
    order = np.argsort(-norms, kind="stable")[:STRONGEST]
    kernels = weight.ndim == 3 and weight.shape[1] * weight.shape[2] > 1
    figure = new(8.6, 3.1 if kernels else 2.4)
    parts = figure.subplots(2, 1, height_ratios=(2.4, 1)) if kernels else [figure.subplots()]
    above = parts[0]
    heights = norms if kernels else weight.reshape(-1)
    some = len(order) < len(norms)
    marked = np.isin(np.arange(len(norms)), order) & some
    above.bar(np.arange(len(norms)), heights, width=1.0, color=np.where(marked, "#b2182b", "#9aa4b5"))
    above.set_xlim(-0.5, len(norms) - 0.5)
    what = "norm of the weights" if kernels else "weight"
    red = f", the {len(order)} strongest in red"
    above.set_title(f"{what} at each of {len(norms)} inputs{red if some else ''}", fontsize=9)
    above.set_xlabel("input channel", fontsize=8)
    _bare(above)
    if kernels:
        high = float(np.abs(weight[order]).max()) or 1.0
        tiled = tile(weight[order], len(order), gap=1)
        drawn = panel(parts[1], tiled, cmap=DIVERGING, vmin=-high, vmax=high)
        step = weight.shape[2] + 1
        parts[1].set_xticks(
            (np.arange(len(order)) * step + (step - 2) / 2).tolist(), [str(i) for i in order], fontsize=8
        )
        parts[1].tick_params(length=0)
        figure.colorbar(drawn, ax=parts[1], ticks=[-high, 0, high], format="%.2g").ax.tick_params(labelsize=7)
    return figure


def field_picture(found: TopPatches, row: int) -> Figure:
    """The receptive field at the unit's best position, drawn on the picture it comes from, and cut out of it."""
    picture = found.batch(row).pictures[0]
    top, left, bottom, right = (int(side) for side in found.boxes[row, 0])
    figure = new(6.6, 3.3)
    whole, part = figure.subplots(1, 2)
    panel(whole, picture, f"{shortened(found.names(row)[0], 2.0)}, {picture.shape[1]} x {picture.shape[0]} px")
    box = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor="#e11d48", linewidth=2)
    box.set_clip_on(False)
    whole.add_patch(box)
    panel(part, crop(picture, found.boxes[row, 0]), f"the field, {right - left} x {bottom - top} px")
    return figure


def patches_picture(found: TopPatches, row: int, maps: dict[str, Array], columns: int = 9) -> Figure:
    """The patches, best first, and under each the maps of its neuron, cut out alike; each map from minus to plus its
    own largest magnitude, gray being zero."""
    patches = found.patches(row)
    shown = min(columns, len(patches))
    kinds = list(maps)
    blocks = -(-len(patches) // shown)
    rows = blocks * (1 + len(kinds))
    figure = new(1.12 * shown + 0.5, 1.12 * rows + 0.24 * blocks + 0.2)
    axes = spaces(figure, rows, shown)
    for i, patch in enumerate(patches):
        at, column = divmod(i, shown)
        first = at * (1 + len(kinds))
        panel(axes[first, column], patch, f"{found.values[row, i]:.4g}")
        for k, kind in enumerate(kinds):
            cut = crop(np.moveaxis(maps[kind][i], 0, -1), found.boxes[row, i], 0.0)
            panel(axes[first + 1 + k, column], _signed(cut))
    for at in range(blocks):
        for k, kind in enumerate(["patch", *kinds]):
            axes[at * (1 + len(kinds)) + k, 0].set_ylabel(kind, fontsize=8)
    return figure


def _signed(gradient: Array) -> Array:
    """(h, w, 1 or 3) with both signs to 0..1 about middle gray."""
    high = float(np.abs(gradient).max()) or 1.0
    shown = 0.5 + gradient.astype(np.float64) / (2 * high)
    return np.asarray(np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown)


def histogram_picture(found: Histogram, best: float) -> Figure:
    """How often each activation occurs, on a logarithmic scale; zeros are stated, and have no bar."""
    figure = new(7.2, 2.7)
    axes = figure.subplots()
    used = np.flatnonzero(found.counts)
    edges = found.edges()
    if len(used):
        first, last = used[0], used[-1] + 1
        join = max(1, (last - first) // 64)
        starts = np.arange(first - first % join, last, join)
        heights = [found.counts[start : start + join].sum() for start in starts]
        axes.bar(edges[starts], heights, width=edges[join] - edges[0], align="edge", color="#3b6fb6")
        axes.set_yscale("log")
        axes.axvline(best, color="#e11d48", linewidth=1)
    share = f"{found.share_of_zero:.1%} of {found.total:,} positions are exactly zero"
    axes.set_title(f"{share}; the line is the highest", fontsize=9)
    axes.set_xlabel("activation, without the zeros", fontsize=8)
    axes.set_ylabel("positions", fontsize=8)
    _bare(axes)
    return figure


def votes_picture(found: Votes, labels: Sequence[str]) -> Figure:
    """A bar for each class, those spoken for above."""
    figure = new(7.2, 0.26 * len(found.values) + 0.7)
    axes = figure.subplots()
    colours = np.where(found.values >= 0, "#1a7f5a", "#b2182b")
    axes.barh(np.arange(len(found.values)), found.values, color=colours)
    names = [shortened(label, 2.3, 8, start=True) for label in labels]
    axes.set_yticks(np.arange(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("vote", fontsize=8)
    _bare(axes)
    return figure


def dream_picture(picture: Array, evidence: str) -> Figure:
    """The optimised picture over what it is worth."""
    figure = new(2.6, 3.0)
    axis = figure.subplots()
    panel(axis, picture, smooth=True)
    axis.set_xlabel(evidence, fontsize=8)
    return figure
