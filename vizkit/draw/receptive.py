"""The figure of receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..results.fields import ReceptiveFields
from ..techniques.network.receptive_field import REACH
from .base import GRAY, new, origin, panel, shortened, spaces

COLUMNS = 4
WIDTH = 3.3
"""Of a panel, inches."""
FRAME = "#ffd21f"


def receptive_fields(results: Sequence[ReceptiveFields]) -> Figure:
    """A panel for each layer of each result: the photo, dark outside the theoretical field, which is framed; the
    effective field as a glow, with a line round the pixels that count."""
    rows = [-(-len(one.layers) // COLUMNS) for one in results]
    columns = max(min(COLUMNS, len(one.layers)) for one in results)
    figure = new(WIDTH * columns, 3.75 * sum(rows) + 0.5)
    axes = spaces(figure, sum(rows), columns)
    start = 0
    for result, count in zip(results, rows, strict=True):
        for k, axis in zip(range(len(result.layers)), axes[start : start + count].flat, strict=False):
            _panel(axis, result, k)
        for row in axes[start : start + count]:
            row[0].set_ylabel(result.provenance["backend"], fontsize=9)
        start += count
    names = "; ".join(origin(result) for result in results)
    at = results[0].provenance["settings"]["at"]
    seen = "the middle unit" if at is None else f"the unit at row {at[0]}, column {at[1]}"
    figure.suptitle(
        f"{names}\nframe: what {seen} can see; line: where its gradient is above {REACH:.2%} of the largest",
        fontsize=9,
        color=GRAY,
    )
    return figure


def _panel(axes: Any, result: ReceptiveFields, k: int) -> None:
    from matplotlib.patches import Rectangle

    picture = result.batch.pictures[0].astype(np.float64) / 255
    top, left, bottom, right = result.boxes[k]
    outside = np.full(picture.shape[:2], 0.42)
    outside[top:bottom, left:right] = 1.0
    values = result.values[k]
    glow = np.zeros((*values.shape, 4))
    glow[..., :3] = (0xE6 / 255, 0.0, 0x7E / 255)
    glow[..., 3] = 0.75 * np.sqrt(values)
    panel(axes, picture * outside[..., None], _title(result, k))
    axes.imshow(glow, interpolation="nearest")
    if (values > REACH).any() and result.sizes[k] > 6:
        axes.contour(_smooth(values), levels=[REACH], colors="white", linewidths=0.9)
    frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=FRAME, lw=1.6)
    axes.add_patch(frame)


def _smooth(values: Any) -> Any:
    """The mean over 3 x 3 pixels, so that the line has no specks."""
    padded = np.pad(values, 1, mode="edge")
    height, width = values.shape
    return sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9


def _title(result: ReceptiveFields, k: int) -> str:
    field = result.theoretical[k]
    size = field.text() if field.size is None else f"{field.text()} px"
    height, width = result.values.shape[1:]
    larger = field.size is not None and (field.size[0] > height or field.size[1] > width)
    beyond = ", larger than the picture" if larger else ""
    return f"{shortened(result.layers[k], WIDTH)}\n{size}{beyond}\neffective {result.sizes[k]:.0f} px"
