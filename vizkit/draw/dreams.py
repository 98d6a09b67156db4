"""Figures of optimised pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from .base import GRAY, new, origin, panel, wrapped

if TYPE_CHECKING:
    from ..results.dreams import DeepDream, Dream, Inversion, Rendering


def dream(results: Sequence[Dream]) -> Figure:
    """Six stages a row, a row for each unit of each result, with the size and the activation reached."""
    from ..inputs.images import picture

    rows = [(result, i) for result in results for i in range(len(result.units))]
    width = max(len(result.strip) for result in results)
    figure = new(2.1 * width + 0.4, 2.5 * len(rows))
    axes = figure.subplots(len(rows), width, squeeze=False)
    for (result, i), row in zip(rows, axes, strict=True):
        for axis in row[len(result.strip) :]:
            axis.set_axis_off()
        for axis, stage in zip(row, result.strip, strict=False):
            title = f"stage {stage.index}: {stage.size} px\nactivation {stage.activation[i]:.3g}"
            panel(axis, picture(stage.pictures[i]), title, smooth=True)
        clipped = result.clipped()[i]
        label = f"{result.layer} unit {result.units[i]}, {clipped:.0%} clipped\n{wrapped(origin(result))}"
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
            panel(axis, one, titles[item], smooth=True)
            failed = bool(result.evidence.failed[item])
            axis.set_xlabel(result.evidence.text(item), fontsize=7, color="firebrick" if failed else GRAY)
            if failed:
                axis.images[0].set_alpha(0.25)
        part[0, 0].set_ylabel(wrapped(origin(result)), fontsize=7, color=GRAY)
    return figure


def inversion(results: Sequence[Inversion]) -> Figure:
    """The photo and, layer by layer, the pictures that a layer cannot tell from it; a row for each result."""
    columns = 1 + max(len(result.layers) for result in results)
    figure = new(2.0 * columns + 0.3, 2.7 * len(results))
    grid = figure.subplots(len(results), columns, squeeze=False)
    for row, result in zip(grid, results, strict=True):
        panel(row[0], result.photo, "photo")
        row[0].set_ylabel(wrapped(origin(result)), fontsize=7, color=GRAY)
        for axis, one, name, far in zip(row[1:], result.pictures(), result.layers, result.distance, strict=False):
            panel(axis, one, f"{name}\ndistance {far:.2g}", smooth=True)
        for axis in row[1 + len(result.layers) :]:
            axis.set_axis_off()
    return figure


def deepdream(results: Sequence[DeepDream]) -> Figure:
    """The photo and, beside it, what became of it in each result."""
    height, width = results[0].photo.shape[:2]
    columns = 1 + len(results)
    figure = new(4.5 * columns, 4.5 * height / width + 0.75)
    first, *others = figure.subplots(1, columns)
    panel(first, results[0].photo, "photo")
    for axis, result in zip(others, results, strict=True):
        panel(axis, result.pictures()[0], wrapped(origin(result)), smooth=True)
        axis.set_xlabel(f"{result.aim}: {result.trace[0]:.3g} to {result.trace[-1]:.3g}", fontsize=8, color=GRAY)
    return figure
