"""One HTML file: a map of cells with their pictures, their classes, and real pictures that lie in them."""

from __future__ import annotations

import base64
import io
import json
import os
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from ...contract.errors import SettingError
from ...draw import concepts
from ...results.concepts import ActivationAtlas
from ...support.files import replacing
from ..page import Chapter, Table, render

GENERATOR = "vizkit atlas"
QUALITY = 88
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
    if target.exists() and not _own(target):
        raise SettingError(f"'{target}' was not written by `{GENERATOR}`, so it stays. Give another name.")
    text = page(found)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return target


def _own(target: Path) -> bool:
    if not target.is_file():
        return False
    with target.open(encoding="utf-8", errors="replace") as opened:
        return f'<meta name="generator" content="{GENERATOR} ' in opened.read(1000)


def page(found: ActivationAtlas) -> str:
    """The page as text."""
    made = found.provenance
    skipped = [f"{one['name']}: {one['reason']}" for one in made["images"]["skipped"]]
    facts = [
        ("network", f"{made['model']}, weights {Path(made['weights']['source']).name}"),
        ("backend", f"{made['backend']}, {made['dtype']}"),
        ("layer", found.layer),
        ("pictures", str(made["images"]["count"])),
        ("activations", str(len(found.cell))),
        ("layout", str(made["settings"]["method"])),
        *([("not read", "; ".join(skipped))] if skipped else []),
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
    stream = io.BytesIO()
    Image.fromarray(concepts.atlas_canvas(found)).save(stream, "WEBP", quality=QUALITY)
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
    inside = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    sheet = base64.b64encode(stream.getvalue()).decode("ascii")
    return _template().replace("__SHEET__", f"data:image/webp;base64,{sheet}").replace("__DATA__", inside)


@lru_cache(maxsize=1)
def _template() -> str:
    return (files("vizkit.reports.atlas") / "widget.html").read_text(encoding="utf-8")
