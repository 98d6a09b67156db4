"""One HTML file: a map of cells with their pictures, their classes, and real pictures that lie in them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from ...contract.errors import SettingError
from ...draw import concepts
from ...results.concepts import ActivationAtlas
from ...support.files import write_text
from ..page import Chapter, Table, inline, not_read, render
from ..page import widget as filled
from ..page.folder import is_page

GENERATOR = "vizkit atlas"
EXAMPLES = 5
"""Names of pictures that a cell shows at most."""
HELP = (
    "Every cell is what the layer sees in the activations that fall there: a picture rendered for their mean. Alike "
    "activations are neighbours. Zoom in with the buttons, the wheel or plus and minus, and drag; point at a cell, or "
    "go from one to the next with the arrow keys, for the classes that its activations speak for. Distances between "
    "far groups mean little."
)


def write(found: ActivationAtlas, out: str | os.PathLike[str]) -> Path:
    """Write ``out``, an ``.html`` with everything inside; an earlier atlas is replaced. Returns its path.

    Raises SettingError for another suffix, or a file that is no atlas's page.
    """
    target = Path(out)
    if target.suffix != ".html":
        raise SettingError(f"'{target}': the page of an atlas is one file; give a name that ends in .html.")
    if target.exists() and not (target.is_file() and is_page(target, GENERATOR)):
        raise SettingError(f"'{target}' was not written by `{GENERATOR}`, so it stays. Give another name.")
    write_text(target, page(found))
    return target


def page(found: ActivationAtlas) -> str:
    """The page as text."""
    made = found.provenance
    facts = [
        ("network", f"{made['model']}, weights {Path(made['weights']['source']).name}"),
        ("backend", f"{made['backend']}, {made['dtype']}"),
        ("layer", found.layer),
        ("pictures", str(made["images"]["count"])),
        ("activations", str(len(found.cell))),
        ("layout", str(made["settings"]["method"])),
        *not_read(made),
    ]
    said = [", ".join(f"{label} {share:.0%}" for label, share in classes) or "—" for classes in found.classes]
    rows = [
        (f"row {row}, column {column}", str(count), classes)
        for (row, column), count, classes in zip(found.cells.tolist(), found.counts, said, strict=True)
    ]
    table = Table("All cells", ("cell", "activations", "classes"), rows, folded=True)
    chapters = [
        Chapter("atlas", "Atlas", HELP, widget=widget(found)),
        Chapter("cells", "Cells", "", tables=[table]),
        Chapter("made", "How it was made", "", pre=json.dumps(made, indent=1, ensure_ascii=False)),
    ]
    lead = (
        f"What layer {found.layer} of {made['model']} sees in {made['images']['count']} pictures: {len(found.cell)} "
        f"activations, averaged in {len(found.cells)} cells."
    )
    command = f"{GENERATOR} {made['model']} FOLDER --layer {found.layer}"
    title = f"Activation atlas: {made['model']}, {found.layer}"
    return render(title, lead, facts, chapters, command, generator=GENERATOR)


def widget(found: ActivationAtlas) -> str:
    """The map as HTML with its script and its pictures."""
    names = np.array(found.names, dtype=object)
    data = {
        "grid": found.grid,
        "side": found.icons.shape[-1],
        "cells": found.cells.tolist(),
        "counts": found.counts.tolist(),
        "classes": [[[label, round(share, 3)] for label, share in classes] for classes in found.classes],
        "names": [
            list(dict.fromkeys(names[found.picture[found.cell == k]]))[:EXAMPLES] for k in range(len(found.cells))
        ],
    }
    return filled("atlas", data, inline(Image.fromarray(concepts.atlas_canvas(found))))
