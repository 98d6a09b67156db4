"""Figures of tables and of patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..evaluate.ranking import places
from ..evaluate.statistics import ranks
from .base import GRAY, new, origin, panel, spaces

if TYPE_CHECKING:
    from ..evaluate.ranking import Ranking
    from ..results.folders import TopPatches

SHOWN = 24
"""Units whose patches are shown, at most."""


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
        text = f"{layer}\nunit {unit}\n{result.values[row, 0]:.3g}"
        axes[row, 0].set_axis_on()
        axes[row, 0].set_ylabel(text, fontsize=7, rotation=0, ha="right", va="center", color=GRAY)
    more = f", the first {len(shown)} of {len(result.units)} units" if len(shown) < len(result.units) else ""
    figure.suptitle(f"{origin(result)}: patches of highest activation{more}", fontsize=9)
    return figure
