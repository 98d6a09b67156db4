"""Pictures in the colours of their concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..contract.backend import Array
from .base import GRAY, new, origin, panel, wrapped

if TYPE_CHECKING:
    from ..results.factorization import Factorization

PHOTO = 0.35
"""How much of a picture shows through where a concept is strongest."""


def factorization(results: Sequence[Factorization]) -> Figure:
    """Two panels a row, the picture and the regions of its concepts, each in its colour, paler where there is less of
    it; beside them what the network takes each concept for. A row for every picture of every result."""
    rows = [(result, i) for result in results for i in range(len(result.values))]
    figure = new(10.6, 3.3 * len(rows) + 0.3)
    axes = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(1, 1, 1.15))
    large = {id(result): result.enlarged() for result in results}
    for (result, i), (left, middle, right) in zip(rows, axes, strict=True):
        panel(left, result.batch.pictures[i], result.batch.names[i])
        left.set_ylabel(wrapped(origin(result)), fontsize=8, color=GRAY)
        colours = palette(len(result.tops))
        title = f"{len(colours)} concepts of {result.layer}"
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
