"""Figures of concepts and factors, caricatures, sprites and atlases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..contract.backend import Array
from ..inputs.images import picture
from ..results.concepts import ActivationAtlas, Caricature, ConceptBank, ConceptMaps, SpriteMap, Tcav
from ..results.factorization import Factorization
from .base import GRAY, columns_for, folded, new, origin, panel, shortened, spaces, tile, wrapped
from .dreams import by_layer

COLOUR, PLAIN = "#1f77b4", "#b0b0b0"
PHOTO = 0.35
"""How much of a picture shows through where a concept is strongest."""
CROPS = 8
"""Crops of a concept that a figure shows at most."""


def tcav(results: Sequence[Tcav]) -> Figure:
    """A bar for each concept, its splits as dots, and beside them random concepts; gray where the test sees none."""
    figure = new(1.1 * max(len(one.concepts) for one in results) + 3.0, 3.4 * len(results) + 0.3)
    for axes, result in zip(figure.subplots(len(results), 1, squeeze=False)[:, 0], results, strict=True):
        rows = [*result.values, result.random]
        found = [*result.significant, False]
        axes.bar(range(len(rows)), [row.mean() for row in rows], color=[COLOUR if one else PLAIN for one in found])
        for k, row in enumerate(rows):
            axes.plot(np.linspace(k - 0.25, k + 0.25, len(row)), np.sort(row), ".", color="black", markersize=4)
        named = [
            f"{folded(name, 1.1, 8)}\np {p:.2g}, told {told.mean():.0%}"
            for name, p, told in zip(result.concepts, result.p_values, result.accuracy, strict=True)
        ]
        axes.set_xticks(range(len(rows)), [*named, "random"], fontsize=8)
        axes.axhline(0.5, color=GRAY, linewidth=0.8, linestyle=":")
        axes.set_ylim(0, 1.04)
        axes.set_ylabel("TCAV score")
        axes.set_title(f"{result.label}, {result.layer}: {wrapped(origin(result))}", fontsize=9, color=GRAY)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def concept_bank(results: Sequence[ConceptBank]) -> Figure:
    """A row for each concept, the most important first: its importance as a bar, and the crops with the most of it;
    of several results one below the other."""
    rows = [(result, k) for result in results for k in range(len(result.values))]
    wide = min(CROPS, max(result.crops.shape[1] for result in results))
    figure = new(1.25 * wide + 2.4, 1.35 * len(rows) + 0.7)
    grid = spaces(figure, len(rows), wide + 1, width_ratios=[1.5, *[1] * wide])
    for (result, k), line in zip(rows, grid, strict=True):
        high = float(result.importance.max()) or 1.0
        line[0].barh([0], [result.importance[k]], color=COLOUR, height=0.5)
        line[0].set_xlim(0, high)
        line[0].set_ylim(-1, 1)
        line[0].text(0, 0.5, f"concept {k}: {result.importance[k]:.3f}", fontsize=8)
        for axis, crop in zip(line[1:], result.crops[k], strict=False):
            panel(axis, crop, smooth=True)
    said = [f"{one.label}, {one.layer}: {wrapped(origin(one))}, {one.error:.0%} not explained" for one in results]
    figure.suptitle("\n".join(said), fontsize=9, color=GRAY)
    return figure


def concept_maps(results: Sequence[ConceptMaps]) -> Figure:
    """Each picture, and where each concept lies in it, all on one scale; a row for each picture of each result."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    wide = 1 + max(result.values.shape[1] for result in results)
    figure = new(1.7 * wide + 0.3, 2.0 * len(rows) + 0.4)
    for (result, i), line in zip(rows, spaces(figure, len(rows), wide), strict=True):
        photo = result.batch.pictures[i]
        panel(line[0], photo, shortened(result.batch.names[i], 1.6))
        if i == 0:
            line[0].set_ylabel(wrapped(origin(result)), fontsize=6, color=GRAY, loc="top")
        high = float(result.values[i].max()) or 1.0
        for k, (axis, one) in enumerate(zip(line[1:], result.values[i], strict=False)):
            panel(axis, photo, f"concept {k}: {result.importance[k]:.2f}" if i == 0 else "")
            share = np.clip(one / high, 0, 1)
            axis.imshow(one, cmap="inferno", vmin=0, vmax=high, alpha=0.85 * share)
    return figure


def caricature(results: Sequence[Caricature]) -> Figure:
    """The photo and, layer by layer, what is made of it; a row for each result."""
    return by_layer(results, 2.4, 3.0, lambda result, k: f"cosine {result.cosine[k]:.2f}")


def spritemap(results: Sequence[SpriteMap]) -> Figure:
    """The sprites of each result under their units' numbers; those of units that never responded are pale."""
    wide = max(columns_for(len(one.units), one.values.shape[2:]) for one in results)
    high = [-(-len(one.units) // wide) for one in results]
    figure = new(0.95 * wide + 0.3, 1.12 * sum(high) + 0.5)
    grid = spaces(figure, sum(high), wide)
    for start, result in zip(np.cumsum([0, *high]), results, strict=False):
        for axis, one, unit, failed in zip(
            grid[start:].flat, picture(result.values), result.units, result.failed, strict=False
        ):
            panel(axis, one, smooth=True, alpha=0.25 if failed else None)
            axis.set_title(str(unit), fontsize=7, pad=2)
    said = [f"{one.layer}: {wrapped(origin(one))}" for one in results]
    figure.suptitle("\n".join(said), fontsize=9, color=GRAY)
    return figure


def atlas_canvas(result: ActivationAtlas) -> Array:
    """All cells at their places, uint8 (grid * S, grid * S, 3), white where there is none."""
    side = result.icons.shape[-1]
    every = np.full((result.grid**2, side, side, 3), 255, np.uint8)
    every[result.cells[:, 0] * result.grid + result.cells[:, 1]] = result.pictures()
    return tile(every, result.grid, gap=0, fill=255.0).astype(np.uint8)


def activation_atlas(results: Sequence[ActivationAtlas]) -> Figure:
    """The map of each result, one beside the other."""
    figure = new(8.0 * len(results), 8.6)
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        panel(axes, atlas_canvas(result), smooth=True)
        made = result.provenance["settings"]
        text = f"{result.layer}, {len(result.cell)} activations of {len(result.names)} pictures, {made['method']}"
        axes.set_title(f"{wrapped(origin(result))}\n{text}", fontsize=9, color=GRAY)
    return figure


def factorization(results: Sequence[Factorization]) -> Figure:
    """Two panels a row, the picture and the regions of its concepts, each in its colour, paler where there is less of
    it; beside them what the network takes each concept for. A row for every picture of every result."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    figure = new(10.6, 3.3 * len(rows) + 0.3)
    axes = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(1, 1, 1.15))
    large = {id(result): result.enlarged() for result in results}
    for (result, i), (left, middle, right) in zip(rows, axes, strict=True):
        panel(left, result.batch.pictures[i], shortened(result.batch.names[i], 3.0))
        left.set_ylabel(wrapped(origin(result)), fontsize=8, color=GRAY)
        colours = palette(len(result.tops))
        title = shortened(f"{len(colours)} concepts of {result.layer}", 3.0)
        panel(middle, coloured(result.batch.pictures[i], large[id(result)][i], colours), title)
        right.set_axis_off()
        named = [Patch(color=one, label=f"{k}: {result.label(k)}") for k, one in enumerate(colours)]
        right.legend(handles=named, loc="center left", fontsize=8, frameon=False, borderaxespad=0.0)
    said = "a colour is where its concept is the first; named is what the network sees in the concept alone"
    figure.supxlabel(said, fontsize=8, color=GRAY)
    return figure


def palette(count: int) -> Array:
    """(count, 3) colours that can be told apart, as long as there are not many."""
    some = colormaps["tab10"](np.arange(10))[:, :3]
    return np.asarray(some[:count] if count <= 10 else colormaps["hsv"](np.arange(count) / count)[:, :3])


def coloured(picture: Array, maps: Array, colours: Array) -> Array:
    """A picture (H, W, 3) uint8 in gray under the colour of the first of its maps (K, H, W), as strong as that is."""
    gray = picture.mean(axis=2, keepdims=True) / 255.0 + np.zeros(3)
    share = np.clip(maps.max(axis=0), 0.0, 1.0)[..., None] * (1.0 - PHOTO)
    return np.asarray((1.0 - share) * gray + share * colours[maps.argmax(axis=0)])
