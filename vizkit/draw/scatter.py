"""The image scatter: thumbnails at their places, dots where there is no room."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from ..contract.backend import Array
from ..results.folders import Embedding
from .base import new, origin, panel

SIDE = 1800
"""Pixels of the scatter."""
SIDES = (24, 72)
"""Least and greatest side of a thumbnail."""
REACH = 3
"""Thumbnails' widths that a picture may be moved from its place to find room."""
FRAME = 2
COLOURS = (
    "#1f77b4", "#e6550d", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#393b79",
    "#637939", "#843c39", "#7b4173", "#3182bd", "#fd8d3c", "#74c476", "#9e9ac8", "#e7ba52", "#ad494a", "#5254a3",
)  # fmt: skip
"""Colours of the classes, in order; from the twenty-first on they repeat."""
GRAY = "#707070"


def colours(labels: Sequence[str | None]) -> dict[str, str]:
    """A colour for each label, in alphabetical order."""
    names = sorted({label for label in labels if label is not None})
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}


def spread(values: Array) -> Array:
    """(N, 2) places to 0..1, both axes on one scale, y downwards."""
    low, high = values.min(axis=0), values.max(axis=0)
    span = float((high - low).max()) or 1.0
    unit = (values - (low + high) / 2) / span + 0.5
    return np.column_stack([unit[:, 0], 1 - unit[:, 1]])


def place(values: Array, side: int, canvas: int) -> tuple[Array, Array]:
    """Top left corners (N, 2), row and column, of thumbnails of ``side`` pixels on a grid on which none covers another,
    and which of them (N,) are drawn: in order, each in the free cell nearest to its place, at most :data:`REACH` cells
    away."""
    cells = canvas // side
    exact = spread(values)[:, ::-1] * (cells - 1)
    near = np.arange(-REACH, REACH + 1)
    offsets = np.stack(np.meshgrid(near, near, indexing="ij"), axis=-1).reshape(-1, 2)
    taken = np.ones((cells + 2 * REACH, cells + 2 * REACH), bool)
    taken[REACH:-REACH, REACH:-REACH] = False
    corners = (exact * side).round().astype(int)
    drawn = np.zeros(len(values), bool)
    for i, at in enumerate(exact):
        around = at.round().astype(int) + offsets
        free = around[~taken[tuple((around + REACH).T)]]
        if len(free):
            row, column = free[np.argmin(((free - at) ** 2).sum(axis=1))]
            taken[row + REACH, column + REACH] = drawn[i] = True
            corners[i] = row * side, column * side
    return corners, drawn


def canvas(found: Embedding, size: int = SIDE) -> tuple[Array, int, int]:
    """The scatter as uint8 (size, size, 3), the side of a thumbnail, and how many are drawn."""
    count = len(found.values)
    side = int(np.clip(size * math.sqrt(0.55 / count), *SIDES))
    corners, drawn = place(found.values, side, size)
    tones = colours(found.labels)
    out = np.full((size, size, 3), 255, np.uint8)
    for i in np.flatnonzero(~drawn):
        y, x = corners[i] + side // 2
        out[y - 2 : y + 3, x - 2 : x + 3] = ImageColor.getrgb(tones.get(found.labels[i] or "", GRAY))
    for i in np.flatnonzero(drawn):
        y, x = corners[i]
        inner = side - 2 * FRAME
        out[y : y + side, x : x + side] = ImageColor.getrgb(tones.get(found.labels[i] or "", GRAY))
        small = Image.fromarray(found.thumbnails[i]).resize((inner, inner), Image.Resampling.LANCZOS)
        out[y + FRAME : y + side - FRAME, x + FRAME : x + side - FRAME] = np.asarray(small)
    return out, side, int(drawn.sum())


def embedding(results: Sequence[Embedding]) -> Figure:
    """The scatter under a title that says what it is of, with a legend of the labels; of the first result alone."""
    found = results[0]
    drawn, _, shown = canvas(found)
    tones = colours(found.labels)
    made = found.provenance["settings"]
    figure = new(9.6 if tones else 8.0, 8.7)
    axes = figure.subplots()
    panel(axes, drawn)
    rest = f"{shown} pictures, {len(found.values) - shown} more as dots" if shown < len(found.values) else ""
    moved = f"none covers another: moved by up to {REACH} widths from their places"
    method = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}[found.method]
    pooled = {"mean": "averaged over positions", "max": "greatest over positions", "none": "all positions"}
    features = f"{method} of {found.layer} ({pooled[made['pool']]}, {made['components']} components)"
    lines = [origin(found), features, ", ".join(filter(None, [rest, moved])), found.text()]
    axes.set_title("\n".join(lines), fontsize=8.5, loc="left")
    if tones:
        from matplotlib.patches import Patch

        patches = [Patch(color=tone, label=name[:28]) for name, tone in list(tones.items())[:40]]
        more = f"{len(tones) - 40} more" if len(tones) > 40 else None
        figure.legend(handles=patches, loc="outside right upper", fontsize=8, frameon=False, title=more)
    return figure
