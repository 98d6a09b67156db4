"""Figures of optimised pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from ..inputs.images import picture
from ..results.dreams import DeepDream, Dream, Inversion, Rendering
from .base import GRAY, blocks, ending, new, origin, panel, shortened, spaces, wrapped


def dream(results: Sequence[Dream]) -> Figure:
    """Six stages a row, a row for each unit of each result, with the size and the activation reached."""
    rows = [(result, i) for result in results for i in range(len(result.units))]
    width = max(len(result.strip) for result in results)
    figure = new(2.1 * width + 0.4, 2.5 * len(rows))
    for (result, i), row in zip(rows, spaces(figure, len(rows), width), strict=True):
        for axis, stage in zip(row, result.strip, strict=False):
            title = f"stage {stage.index}: {stage.size} px\nactivation {stage.activation[i]:.3g}"
            panel(axis, picture(stage.pictures[i]), title, smooth=True)
        clipped = result.clipped()[i]
        of = f"{shortened(result.layer, 1.2, 7)} unit {result.units[i]}"
        label = f"{of}, {clipped:.0%} clipped\n{wrapped(origin(result))}"
        row[0].set_ylabel(label, fontsize=7, color=GRAY)
    return figure


def rendering(results: Sequence[Rendering], columns: int = 6) -> Figure:
    """Pictures in a grid, a block of rows for each result, each under its title and over its evidence."""
    count = max(len(result.values) for result in results)
    figure, parts = blocks(len(results), count, columns, (2.2, 2.9), 0.4)
    for part, result in zip(parts, results, strict=True):
        titles = result.titles or [""] * len(result.values)
        for item, (axis, one) in enumerate(zip(part.ravel(), result.pictures(), strict=False)):
            panel(axis, one, shortened(titles[item], 2.2), smooth=True)
            failed = bool(result.evidence.failed[item])
            axis.set_xlabel(result.evidence.text(item), fontsize=7, color="firebrick" if failed else GRAY)
            if failed:
                axis.images[0].set_alpha(0.25)
        part[0, 0].set_ylabel(wrapped(origin(result)), fontsize=7, color=GRAY)
    return figure


def inversion(results: Sequence[Inversion]) -> Figure:
    """The photo and, layer by layer, the pictures that a layer cannot tell from it; a row for each result."""
    return by_layer(results, 2.0, 2.7, lambda result, k: f"distance {result.distance[k]:.2g}")


def by_layer(results: Sequence[Any], width: float, height: float, said: Callable[[Any, int], str]) -> Figure:
    """The photo and a picture for each layer, under its name and what is ``said`` of it; a row for each result."""
    columns = 1 + max(len(result.layers) for result in results)
    figure = new(width * columns + 0.3, height * len(results))
    for row, result in zip(spaces(figure, len(results), columns), results, strict=True):
        for axis in row:
            axis.set_anchor("N")  # So that the layout counts all of a title.
        panel(row[0], result.photo, "photo")
        row[0].set_ylabel(wrapped(origin(result)), fontsize=7, color=GRAY)
        for k, (axis, one) in enumerate(zip(row[1:], result.pictures(), strict=False)):
            panel(axis, one, f"{ending(result.layers[k], width)}\n{said(result, k)}", smooth=True)
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
