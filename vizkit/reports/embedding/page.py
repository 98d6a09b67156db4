"""The page of an embedding: a map of the pictures with thumbnails under the pointer and a search."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ... import draw as plotting
from ...contract.backend import Array
from ...draw import scatter
from ...results.folders import Embedding
from ...support.columns import deviation
from ...techniques.features.pooled import THUMBNAIL
from ..page import Chapter, Table, difference, drawn, inline, not_read, render
from ..page import widget as filled
from ..page.folder import check
from ..page.folder import write as write_folder

GENERATOR = "vizkit embed"
COLUMNS = 32
"""Thumbnails in a row and in a column of an atlas."""
QUALITY = 82
HELP = (
    "Every picture lies where its features put it: alike ones are neighbours. Point at one to see it, search for its "
    "name or label, or go from one to the next with the arrow keys. Distances between far groups mean little."
)


def write(found: list[Embedding], out: str | os.PathLike[str]) -> Path:
    """Write the folder ``out``: a self-contained ``index.html`` with a map, and the image scatter as PNG, for each of
    the embeddings (one for each backend), which are compared by their features. Returns the path of ``index.html``.

    Raises SettingError for a folder with files that an embedding did not write.
    """
    folder = Path(out)
    earlier = check(folder, GENERATOR)
    chapters = [Chapter("map", "Map", HELP, widget=widget(found[0]))]
    chapters += [_scatter(one, number) for number, one in enumerate(found)]
    if len(found) > 1:
        chapters.append(_agreement(found))
    first = found[0]
    made = first.provenance
    lead = (
        f"{len(first.names)} pictures by what layer {first.layer} of {made['model']} makes of them. {_measured(first)}"
    )
    facts = [
        ("network", f"{made['model']}, weights {Path(made['weights']['source']).name}"),
        ("backends", ", ".join(f"{one.provenance['backend']}, {one.provenance['dtype']}" for one in found)),
        ("layer", first.layer),
        ("pictures", str(len(first.names))),
        *not_read(made),
    ]
    title = f"Map of pictures: {made['model']}, {first.layer}"
    command = f"vizkit embed {made['model']} --layer {first.layer} --method {first.method}"
    text = render(title, lead, facts, chapters, command, generator=GENERATOR)
    return write_folder(folder, earlier, chapters, text)


def _measured(found: Embedding) -> str:
    text = found.text()
    return text[0].upper() + text[1:] + "."


def _scatter(found: Embedding, number: int) -> Chapter:
    backend = found.provenance["backend"]
    alt = f"Thumbnails of the pictures at their places, as {backend} computes them."
    figure, subject = plotting.embedding([found]), "the pictures of a folder"
    picture = drawn(f"scatter-{number + 1}.png", figure, alt, GENERATOR, subject, [found.provenance], dpi=150)
    return Chapter(f"scatter-{number + 1}", f"Image scatter, {backend}", _measured(found), [picture])


def _agreement(found: list[Embedding]) -> Chapter:
    named = [(str(one.provenance["backend"]), one.features) for one in found]
    rows = [(one.against, deviation(one.l2), deviation(one.largest)) for one in difference("features", named)]
    text = (
        "The features are compared, not the places: t-SNE takes hundreds of steps, each of which magnifies the "
        "rounding of the first, so that equal features give equal maps only as far as their last digits agree."
    )
    head = ("backends", "relative L2", "largest, of the maximum")
    return Chapter("agreement", "Do the backends agree?", text, tables=[Table("Features", head, rows)])


def widget(found: Embedding) -> str:
    """The map as HTML with its script, its thumbnails and nothing from anywhere else."""
    tones = scatter.colours(found.labels)
    names = list(tones)
    unit = scatter.spread(found.values).round(5)
    data = {
        "names": found.names,
        "labels": names,
        "label": [names.index(label) if label is not None else -1 for label in found.labels],
        "colours": list(tones.values()),
        "x": unit[:, 0].tolist(),
        "y": unit[:, 1].tolist(),
        "side": THUMBNAIL,
        "columns": COLUMNS,
    }
    sheets = "".join(f'<img hidden alt="" src="{one}">' for one in _atlases(found.thumbnails))
    return filled("embedding", data, sheets)


def _atlases(thumbnails: Array) -> list[str]:
    """Sheets of 32 by 32 thumbnails."""
    per, out = COLUMNS**2, []
    for start in range(0, len(thumbnails), per):
        part = thumbnails[start : start + per]
        rows = -(-len(part) // COLUMNS)
        sheet = plotting.tile(part, COLUMNS, gap=0, fill=255.0)
        whole = np.full((rows * THUMBNAIL, COLUMNS * THUMBNAIL, 3), 255, np.uint8)
        whole[:, : sheet.shape[1]] = sheet
        out.append(inline(Image.fromarray(whole), "jpeg", QUALITY))
    return out
