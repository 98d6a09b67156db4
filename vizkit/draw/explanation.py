"""The figure of many methods: a grid that fits on a page, with the controls apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..contract.backend import Array
from ..results.attribution import Attribution
from ..results.explanation import Explanation
from ..techniques.controls import CONTROLS
from .base import GRAY, folded, new, panel, room, shortened, spaces
from .overlay import DIVERGING, PERCENTILE, blend, limits, meaning
from .overlay import end as end_of

COLUMNS = 6
"""Of methods in a row."""
SIDE = 1.85
"""Of a map, inches."""
LINE, BELOW = 0.16, 0.19
"""Of a line of text, and of what stands below a map: inches."""
LOWEST = 0.6
"""Height of a wide map's place, which a label stands beside, as a share of its width."""
HIDDEN = 0.85
"""How much of the photo the strongest places of a map hide."""


MADE = ("layer", "target", "completeness_error", "conservation_error")
"""What a result's settings hold that is no setting, or that a title says otherwise."""


def explanation(results: Sequence[Explanation]) -> Figure:
    """At most six methods side by side, beside the picture, in bands below one another; within a band a row for each
    picture, target and model. The controls have a band of their own. Of the first result alone."""
    shown = results[0]
    names = [result.provenance["technique"] for result in shown.results[0][0]]
    titles = _titles(shown.results[0][0])
    bands = _bands(names)
    rows = [(i, block) for i in range(shown.values.shape[3]) for target in shown.results for block in target]
    ends = [end_of(shown.values[:, :, k]) for k in range(len(names))]
    columns = 1 + max(len(methods) for methods, _ in bands)
    width = 0.5 + SIDE * columns
    legend = "\n".join(textwrap.fill(line, room(width, 8)) for line in _legend(shown).splitlines())
    above = [max(titles[k].count("\n") + 1 for k in methods) + (2 if heading else 0) for methods, heading in bands]
    heights = [LINE * lines + 0.1 + (_high(shown) + BELOW) * len(rows) for lines in above]
    figure = new(width, sum(heights) + LINE * (legend.count("\n") + 1) + 0.1)
    parts = figure.subfigures(len(bands), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (methods, heading) in zip(parts, bands, strict=True):
        axes = spaces(part, len(rows), columns)
        if heading:
            part.suptitle(heading, fontsize=10)
        for r, ((i, block), row) in enumerate(zip(rows, axes, strict=True)):
            _picture(row[0], shown, i, block, name=r % (len(rows) // shown.values.shape[3]) == 0)
            for k, axis in zip(methods, row[1:], strict=False):
                _map(axis, shown, block[k], i, ends[k], titles[k] if r == 0 else "")
            for axis in row:
                axis.set_anchor("N")  # What is above a panel is then outside its place, which the layout counts.
    figure.supxlabel(legend, fontsize=8, color=GRAY)
    return figure


def _high(shown: Explanation) -> float:
    """Of a panel, inches: as the pictures, as far as a label stands beside them."""
    return SIDE * min(1.0, max(LOWEST, shown.values.shape[-2] / shown.values.shape[-1]))


def _bands(names: Sequence[str]) -> list[tuple[Sequence[int], str]]:
    """Methods that stand side by side, by number, and a heading: rows of about equal length, then the controls."""
    methods = [k for k, name in enumerate(names) if name not in CONTROLS]
    controls = [k for k, name in enumerate(names) if name in CONTROLS]
    parts = np.array_split(methods, -(-len(methods) // COLUMNS)) if methods else []
    bands = [*((part.tolist(), "") for part in parts), (controls, "controls: maps that know nothing of the network")]
    return bands if controls else bands[:-1]


def _picture(axis: Any, shown: Explanation, i: int, block: Sequence[Any], name: bool) -> None:
    first = block[0]
    panel(axis, first.batch.pictures[i], shortened(first.batch.names[i], SIDE) if name else "")
    made = first.provenance
    dtype = "" if made["dtype"] == "float32" else f", {made['dtype']}"
    label, model = folded(first.labels[i], _high(shown), 8), shortened(made["model"], _high(shown), 8)
    axis.set_ylabel(f"{label}\n{model}\n{made['backend']}{dtype}", fontsize=8)


def _map(axis: Any, shown: Explanation, result: Any, i: int, common: float, title: str) -> None:
    values: Array = result.values[i]
    low, high = limits(values, result.signed, common if shown.scale == "common" else None)
    if shown.overlay:
        cmap = None if result.signed else shown.cmap
        photo = result.batch.pictures[i]
        gray = (photo @ np.array([0.299, 0.587, 0.114]))[..., None].repeat(3, axis=2)
        panel(axis, blend(gray, values, (low, high), signed=result.signed, alpha=HIDDEN, cmap=cmap), title)
    else:
        colours = DIVERGING if result.signed else shown.cmap
        panel(axis, values, title, cmap=colours, vmin=low, vmax=high)
    span = f"±{high:.2g}" if result.signed else f"{low:.2g} to {high:.2g}"
    axis.set_xlabel(span if np.any(values) else "0, blank", fontsize=7, color=GRAY, labelpad=2)


def _titles(results: Sequence[Attribution]) -> list[str]:
    """Of each method its name, the layer, and in what it differs from others of the same name."""
    titles = []
    for one in results:
        name, own = one.provenance["technique"], one.provenance["settings"]
        others = [other.provenance["settings"] for other in results if other.provenance["technique"] == name]
        differing = [key for key in own if key not in MADE and any(other.get(key) != own[key] for other in others)]
        lines = [name, *([one.layer] if one.layer else []), *(f"{k}={own[k]}" for k in differing)]
        titles.append("\n".join(shortened(line, SIDE) for line in lines))
    return titles


def _legend(shown: Explanation) -> str:
    words, blind = meaning([result for target in shown.results for block in target for result in block])
    scale = "each map on its own scale" if shown.scale == "each" else "one scale for each method"
    end = f"below it, from where to where its colours go: to the {PERCENTILE}th percentile of its size"
    return f"{'; '.join(words)}{blind}\n{scale}: {end}"
