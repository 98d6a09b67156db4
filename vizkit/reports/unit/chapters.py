"""The chapters of a unit's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...contract.backend import Array, Model
from ...draw import unit as figures
from ...results.dreams import Rendering
from ...results.folders import TopPatches
from ...techniques.network.window import window
from ...techniques.units.filter import Filter
from ...techniques.units.histogram import Histogram
from ...techniques.units.votes import Votes
from ..page import Chapter, Difference, Picture, difference, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Seen:
    """All that one backend says of the unit. What it cannot say is None, and the reason is in ``notes`` under the
    part's name."""

    model: Model
    patches: TopPatches
    histogram: Histogram
    maps: dict[str, Array]
    filter: Filter | None = None
    votes: Votes | None = None
    dream: Rendering | None = None
    notes: dict[str, str] = field(default_factory=dict)


DPI = 130
FIRST = 5
"""Steps of the optimisation that are compared: later ones magnify rounding."""


def all_of(seen: Sequence[Seen], layer: str, unit: int) -> list[Chapter]:
    """Every chapter, in the order of the page."""
    return [_patches(seen), _field(seen, layer), _weights(seen), _histogram(seen), _dream(seen), _votes(seen, unit)]


def _pictures(key: str, seen: Sequence[Seen], draw: Callable[[Any], Figure], alt: str, wide: bool) -> list[Picture]:
    out = []
    for one in seen:
        title = one.model.backend if len(seen) > 1 else ""
        name = f"{key}-{one.model.backend}.png" if len(seen) > 1 else f"{key}.png"
        said, made = f"{alt}{f', {title}' if title else ''}.", [one.patches.provenance]
        out.append(
            drawn(
                name, draw(one), said, "vizkit unit", "the pictures of a folder", made, dpi=DPI, wide=wide, title=title
            )
        )
    return out


def _compared(what: str, seen: Sequence[Seen], numbers: Callable[[Any], Array | None]) -> list[Difference]:
    found = [(one.model.backend, numbers(one)) for one in seen]
    arrays = [(name, array) for name, array in found if array is not None]
    if len(arrays) < 2 or any(array.shape != arrays[0][1].shape for _, array in arrays):
        return []
    return difference(what, arrays)


def _same_places(seen: Sequence[Seen]) -> bool:
    """Whether all backends chose the same patches, so that their maps can be compared."""
    first = seen[0].patches
    return all(
        np.array_equal(one.patches.places, first.places) and np.array_equal(one.patches.positions, first.positions)
        for one in seen
    )


def _patches(seen: Sequence[Seen]) -> Chapter:
    count = len(seen[0].patches.names(0))
    maps = list(seen[0].maps)
    driving = (
        "guided backpropagation keeps what raises it through every layer, the deconvnet projects its response back"
        if maps != ["gradient"]
        else "the gradient of its response; this network has no ReLU that another rule could follow"
    )
    text = (
        f"The {count} patches at which the unit responds most, one a picture, best first, with its activation. Under "
        f"each, what in the patch drives the unit: {driving}. Middle gray is zero; gray borders of a patch lie outside "
        "the picture.\n\nThey come from: " + ", ".join(seen[0].patches.names(0)) + "."
    )
    found = _compared("activations", seen, lambda one: one.patches.values)
    notes = []
    if _same_places(seen):
        for rule in maps:
            found += _compared(f"{rule} maps", seen, lambda one, rule=rule: one.maps.get(rule))  # type: ignore[misc]
    else:
        notes.append("The backends rank patches of all but equal activation differently; their maps are not compared.")
    pictures = _pictures(
        "patches", seen, lambda one: figures.patches_picture(one.patches, 0, one.maps), "Patches and their maps", True
    )
    return Chapter("patches", "What makes it fire", text, pictures, differences=found, notes=notes)


def _field(seen: Sequence[Seen], layer: str) -> Chapter:
    one = window(seen[0].model, layer)
    if not one.known:
        text = (
            "Which part of the picture a position of this layer sees, the network's graph does not tell: patches are "
            "the whole picture."
        )
    elif one.whole:
        text = "Every position of this layer sees the whole picture."
    else:
        (height, width), (down, right) = one.size, one.stride
        text = (
            f"A position of this layer sees {width} by {height} pixels, and its neighbour the field {right:g} pixels "
            f"further ({down:g} below). The first begins at row {one.start[0]:g}, column {one.start[1]:g}; what lies "
            "outside the picture is padding."
        )
    picture = _pictures("field", seen[:1], lambda found: figures.field_picture(found.patches, 0), "The field", False)
    return Chapter("field", "Where it looks", text, picture)


def _weights(seen: Sequence[Seen]) -> Chapter:
    first = seen[0].filter
    if first is None:
        reason = seen[0].notes.get(
            "filter", "It adds up the results of several filters, so that it has none of its own."
        )
        return Chapter("weights", "Its weights", "", notes=[reason])
    shape = " by ".join(map(str, first.weight.shape))
    text = f"Filter {first.channel} of {first.layer} computes it: {shape} weights."
    differences = _compared("weights", [one for one in seen if one.filter is not None], lambda one: one.filter.weight)
    pictures = _pictures(
        "weights", seen[:1], lambda one: figures.filter_picture(one.filter), "The filter's weights",
        len(first.weight) > 3,
    )  # fmt: skip
    return Chapter("weights", "Its weights", text, pictures, differences=differences)


def _histogram(seen: Sequence[Seen]) -> Chapter:
    text = "How often each activation occurs, over all positions of all pictures; a step on the scale is tenfold."
    pictures = _pictures(
        "histogram", seen, lambda one: figures.histogram_picture(one.histogram, float(one.patches.values[0, 0])),
        "A histogram of activations", False,
    )  # fmt: skip
    found = _compared("counts", seen, lambda one: one.histogram.counts.astype(np.float64))
    found += _compared("share of zero", seen, lambda one: np.array([one.histogram.share_of_zero]))
    return Chapter("histogram", "How often it fires", text, pictures, differences=found)


def _dream(seen: Sequence[Seen]) -> Chapter:
    found = [one for one in seen if one.dream is not None]
    notes = [f"{one.model.backend}: {one.notes['dream']}" for one in seen if "dream" in one.notes]
    if any(one.dream is not None and one.dream.evidence.failed[0] for one in found):
        notes.append("The optimisation never activated this unit: the picture shows nothing of it.")
    text = (
        "A picture made from noise to raise the unit's mean activation. Under it: what it reached, and what is left of "
        "that when the picture is shifted by four pixels."
    )
    differences = _compared("activation of the first steps", found, lambda one: one.dream.trace[:FIRST])
    pictures = _pictures(
        "dream", found, lambda one: figures.dream_picture(one.dream.pictures()[0], one.dream.evidence.text(0)),
        "The optimised picture", False,
    )  # fmt: skip
    return Chapter("dream", "What it would like to see", text, pictures, differences=differences, notes=notes)


def _votes(seen: Sequence[Seen], unit: int) -> Chapter:
    found = [one for one in seen if one.votes is not None]
    notes = [f"{one.model.backend}: {one.notes['votes']}" for one in seen if "votes" in one.notes]
    if not found or found[0].votes is None:
        return Chapter("votes", "Which classes it votes for", "", notes=notes)
    text = f"Classes whose scores rise (above) or fall (below) with unit {unit}. {found[0].votes.formula}."

    def draw(one: Any) -> Figure:
        return figures.votes_picture(one.votes, [one.model.spec.label(int(c)) for c in one.votes.classes])

    same = all(np.array_equal(one.votes.classes, found[0].votes.classes) for one in found if one.votes is not None)
    if not same:
        notes.append("The backends choose other classes among votes of all but equal size; they are not compared.")
    differences = _compared("votes", found, lambda one: one.votes.values) if same else []
    pictures = _pictures("votes", found, draw, "A bar for each class", False)
    return Chapter("votes", "Which classes it votes for", text, pictures, differences=differences, notes=notes)
