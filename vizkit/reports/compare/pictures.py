"""Figures of a study: maps side by side with their difference, and how differences grow with depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import draw as plotting
from ...contract.backend import Array
from ...draw.overlay import DIVERGING, end

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 1.7
"""Inches of a panel."""
ZERO = 1e-10
"""Where the depth chart draws a difference of exactly zero."""
MAPS = "viridis"


@dataclass(frozen=True)
class Strip:
    """One row: the picture the network saw, its title, and a map (H, W) for each side, the first being what the others
    are held against."""

    picture: Array
    title: str
    maps: Sequence[Array]


def beside(strips: Sequence[Strip], names: Sequence[str], signed: bool) -> Figure:
    """Each picture, the maps of all sides on one scale, and, for every side but the first, its difference from the
    first on that same scale and again magnified by a power of ten that is common to the figure."""
    others = names[1:]
    magnified = _magnification(strips)
    titles = ["what the network saw", *names]
    for name in others:
        titles += [f"{name} − {names[0]},\nthe same scale", f"{name} − {names[0]},\n{_times(magnified)} magnified"]
    figure, grid = _frame(strips, titles)
    for strip, axes in zip(strips, grid, strict=True):
        high = max(map(end, strip.maps)) or 1.0
        for axis, values in zip(axes[1:], strip.maps, strict=False):
            _map(axis, values, high, signed)
        first = strip.maps[0].astype(np.float64)
        for k, values in enumerate(strip.maps[1:]):
            gap = values.astype(np.float64) - first
            for axis, factor in zip(axes[1 + len(names) + 2 * k :], (1.0, magnified), strict=False):
                _map(axis, gap * factor, high, True, f"±{high / factor:.2g}")
    return figure


def _frame(strips: Sequence[Strip], titles: Sequence[str]) -> tuple[Figure, Any]:
    """A figure, and its axes: a row for each strip, begun with its picture, under these titles."""
    figure = plotting.new(SIDE * len(titles) + 0.4, (SIDE + 0.25) * len(strips) + 0.7)
    grid = figure.subplots(len(strips), len(titles), squeeze=False)
    for strip, axes in zip(strips, grid, strict=True):
        plotting.panel(axes[0], strip.picture)
        axes[0].set_ylabel(strip.title, fontsize=7, color=plotting.GRAY)
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    return figure, grid


def _map(axis: Any, values: Array, high: float, signed: bool, stated: str = "") -> None:
    """A map on a scale that ends at ``high``, which is ``stated`` below it."""
    plotting.panel(axis, values, cmap=DIVERGING if signed else MAPS, vmin=-high if signed else 0.0, vmax=high)
    stated = stated or (f"±{high:.2g}" if signed else f"0 to {high:.2g}")
    axis.set_xlabel(stated, fontsize=7, color=plotting.GRAY)


def _magnification(strips: Sequence[Strip]) -> float:
    """The largest power of ten by which no row's differences leave the scale, but for single pixels."""
    powers = []
    for strip in strips:
        high = max(map(end, strip.maps))
        gaps = max(end(values.astype(np.float64) - strip.maps[0]) for values in strip.maps[1:])
        if high and gaps:
            powers.append(int(np.floor(np.log10(high / gaps))))
    return 10.0 ** max(0, min(powers, default=0))


def _times(factor: float) -> str:
    return f"{factor:g} times" if factor < 1e4 else f"1e{round(np.log10(factor))} times"


def networks(strips: Sequence[Strip], names: Sequence[str], signed: bool) -> Figure:
    """Each picture and the maps of several networks, whose units differ: each on its own scale, which is stated, and
    the difference from the first, each divided by its own end, on the one scale of -1 to 1."""
    titles = ["what the network saw", *names, *(f"{name} − {names[0]},\neach over its end" for name in names[1:])]
    figure, grid = _frame(strips, titles)
    for strip, axes in zip(strips, grid, strict=True):
        scaled = []
        for axis, values in zip(axes[1:], strip.maps, strict=False):
            high = end(values) or 1.0
            scaled.append(values.astype(np.float64) / high)
            _map(axis, values, high, signed)
        for axis, values in zip(axes[1 + len(names) :], scaled[1:], strict=True):
            _map(axis, values - scaled[0], 1.0, True)
    return figure


def depth(layers: Sequence[str], curves: Mapping[str, Sequence[float | None]], tolerance: float) -> Figure:
    """Relative L2 by layer, in the order of computation, on a logarithmic scale; a line for each curve."""
    figure = plotting.new(max(6.5, min(13.0, 2.5 + 0.14 * len(layers))), 4.2)
    axes = figure.subplots()
    at = np.arange(len(layers))
    for k, (name, values) in enumerate(curves.items()):
        drawn = np.array([np.nan if value is None else max(value, ZERO) for value in values])
        axes.plot(at, drawn, ("o-", "s--", "^:")[k % 3], markersize=2.5, linewidth=1, label=name)
    axes.axhline(tolerance, color=plotting.GRAY, linewidth=1, linestyle="-.", label=f"tolerance {tolerance:g}")
    axes.set_yscale("log")
    equal = any(value is not None and value < ZERO for values in curves.values() for value in values)
    axes.set_ylabel("relative L2, largest of all images" + f"\n(no difference: drawn at {ZERO:g})" * equal)
    every = max(1, -(-len(layers) // 60))
    axes.set_xticks(at[::every], layers[::every], rotation=90, fontsize=6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure
