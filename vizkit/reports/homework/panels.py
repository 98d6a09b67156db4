"""The homework's figures. They hold names and numbers but no words, so that they serve every language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ... import draw as plotting
from ...contract.backend import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...results.attribution import Attribution
    from ...results.dreams import Dream
    from ...results.features import FeatureMaps, Filters

SHOWN = 64
"""Feature maps that the notebook shows."""


def side_by_side(pictures: Sequence[Array]) -> Figure:
    """Pictures (H, W, 3) of any size in a row, each under its size in pixels."""
    figure = plotting.new(3.4 * len(pictures), 3.4)
    for axis, one in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        plotting.panel(axis, one, f"{one.shape[1]} × {one.shape[0]}")
    return figure


def three(result: Attribution) -> Figure:
    """The published three panels: picture, map in gray, map in jet, both from zero to the map's maximum."""
    values = result.values[0]
    high = float(values.max()) or 1.0
    figure = plotting.new(8.4, 3.0)
    left, middle, right = figure.subplots(1, 3)
    plotting.panel(left, result.batch.pictures[0], result.provenance["model"])
    for axis, colours in ((middle, "gray"), (right, "jet")):
        plotting.panel(axis, values, f"0 … {high:.3g}", cmap=colours, vmin=0, vmax=high)
    return figure


def first_filters(result: Filters) -> Figure:
    """Filters of three input channels in colour, each on its own scale."""
    from ...techniques.features.filters import pictures

    grid, colour = pictures(result)
    tiled = plotting.tile(grid, plotting.columns_for(len(grid), grid.shape[1:3], 1.6), fill=1.0 if colour else np.nan)
    figure = plotting.new(7.0, 7.0 * tiled.shape[0] / tiled.shape[1] + 0.3)
    plotting.panel(figure.subplots(), np.clip(tiled, 0, 1) if colour else tiled, result.layer)
    return figure


def one_filter(weight: Array, title: str) -> Figure:
    """All input channels (C, kH, kW) of one filter on one scale, zero in the middle."""
    high = float(np.abs(weight).max()) or 1.0
    tiled = plotting.tile(weight, plotting.columns_for(len(weight), weight.shape[1:], 2.0))
    figure = plotting.new(8.4, 8.4 * tiled.shape[0] / tiled.shape[1] + 0.3)
    axis = figure.subplots()
    drawn = plotting.panel(axis, tiled, title, cmap="RdBu_r", vmin=-high, vmax=high)
    figure.colorbar(drawn, ax=axis, shrink=0.8, pad=0.01)
    return figure


def feature_maps(result: FeatureMaps) -> Figure:
    """The picture, and beside it the first 64 maps, each from its own minimum to its own maximum."""
    maps = result.values[0][:SHOWN].astype(np.float64)
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    tiled = plotting.tile((maps - low) / np.where(span > 0, span, 1.0), int(np.ceil(np.sqrt(len(maps)))), gap=2)
    figure = plotting.new(10.2, 7.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 3.2))
    plotting.panel(left, result.batch.pictures[0], result.provenance["model"])
    left.set_anchor("N")
    title = f"{result.layer}: {len(maps)} × {maps.shape[1]} × {maps.shape[2]}"
    plotting.panel(right, tiled, title, cmap="viridis", vmin=0, vmax=1)
    right.set_anchor("N")
    return figure


def strip(result: Dream) -> Figure:
    """The stages of a dream's first unit, each under its size and the activation reached."""
    from ...inputs.images import picture

    figure = plotting.new(1.9 * len(result.strip), 2.3)
    for axis, stage in zip(figure.subplots(1, len(result.strip), squeeze=False)[0], result.strip, strict=True):
        plotting.panel(axis, picture(stage.pictures[0]), f"{stage.size} px: {stage.activation[0]:.3g}")
    return figure
