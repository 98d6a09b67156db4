"""One self-contained HTML page from chapters of pictures, tables and numbers: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from .. import __version__
from ..backend import Array

GENERATOR = "vizkit demo"
"""What the page's generator tag begins with, by which an earlier page is known."""


@dataclass(frozen=True)
class Difference:
    """How far a backend's numbers lie from the first backend's: the relative L2 norm, and the largest single difference
    as a share of the largest value. ``what`` names the numbers."""

    what: str
    against: str
    l2: float
    largest: float

    def text(self) -> str:
        """One line for the reader."""
        share = f"largest difference {self.largest:.1e} of the maximum"
        return f"{self.what}, {self.against}: relative L2 {self.l2:.1e}, {share}"


@dataclass(frozen=True)
class Picture:
    """A PNG with what it shows in words, and how it was made. ``wide`` pictures keep a legible size and scroll."""

    file: str
    alt: str
    png: bytes
    provenance: Mapping[str, Any]
    wide: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; ``folded`` tables open on request."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class Chapter:
    """One technique: what it shows in words for everybody, its picture, tables, differences, and what went wrong."""

    key: str
    title: str
    text: str
    picture: Picture | None = None
    tables: Sequence[Table] = ()
    differences: Sequence[Difference] = ()
    notes: Sequence[str] = ()


def difference(what: str, named: Sequence[tuple[str, Array]]) -> list[Difference]:
    """Every further array against the first, in float64.

    >>> difference("maps", [("torch", np.array([3.0, 4.0])), ("gluon", np.array([3.0, 4.5]))])
    [Difference(what='maps', against='gluon against torch', l2=0.1, largest=0.125)]
    """
    out = []
    for name, other in named[1:]:
        first, b = named[0][1].astype(np.float64), other.astype(np.float64)
        norm, high = float(np.linalg.norm(first)) or 1.0, float(np.abs(first).max()) or 1.0
        gap = first - b
        l2, largest = float(np.linalg.norm(gap)) / norm, float(np.abs(gap).max()) / high
        out.append(Difference(what, f"{name} against {named[0][0]}", l2, largest))
    return out


def render(title: str, lead: str, facts: Sequence[tuple[str, str]], chapters: Sequence[Chapter], command: str) -> str:
    """The page as text; the same chapters give the same bytes."""
    return _template().substitute(
        generator=escape(f"{GENERATOR} {__version__}"),
        title=escape(title),
        lead=escape(lead),
        facts="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts),
        contents="".join(f'<li><a href="#{one.key}">{escape(one.title)}</a></li>' for one in chapters),
        summary=_summary(chapters),
        chapters="\n".join(map(_chapter, chapters)),
        command=escape(command),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template((files("vizkit.demo") / "page.html").read_text(encoding="utf-8"))


def _summary(chapters: Sequence[Chapter]) -> str:
    rows = [
        (one.title, found.what, found.against, f"{found.l2:.1e}", f"{found.largest:.1e}")
        for one in chapters
        for found in one.differences
    ]
    if not rows:
        return "<p>Only one backend took part, so there is nothing to compare.</p>"
    head = ("technique", "numbers", "backends", "relative L2", "largest, of the maximum")
    return _table(Table("Differences between the backends", head, rows))


def _chapter(one: Chapter) -> str:
    parts = [f'<section class="card" id="{one.key}">', f"<h2>{escape(one.title)}</h2>", f"<p>{escape(one.text)}</p>"]
    parts += [f'<p class="note" role="note">{escape(note)}</p>' for note in one.notes]
    if one.picture is not None:
        parts.append(_picture(one, one.picture))
    parts += [_table(table) for table in one.tables]
    return "\n".join([*parts, "</section>"])


def _picture(one: Chapter, picture: Picture) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture.png).decode('ascii')}"
    width, height = struct.unpack(">II", picture.png[16:24])  # the PNG's own header
    agreed = "".join(f"<li>{escape(found.text())}</li>" for found in one.differences)
    return "\n".join(
        [
            "<figure>",
            f'<div class="scroller" role="region" tabindex="0" aria-label="{escape(one.title)}, scrolls sideways">',
            f'<a class="zoom{" wide" if picture.wide else ""}" href="{escape(picture.file)}" title="Enlarge">'
            f'<img src="{source}" alt="{escape(picture.alt)}" width="{width}" height="{height}" '
            f'style="max-width:{width}px"></a>',
            "</div>",
            "<figcaption>",
            f'<ul class="differences">{agreed}</ul>' if agreed else "",
            _settings(one, picture),
            "</figcaption>",
            "</figure>",
        ]
    )


def _settings(one: Chapter, picture: Picture) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in settings(picture.provenance)
    )
    whole = escape(json.dumps(picture.provenance, indent=1, ensure_ascii=False))
    return (
        f'<details><summary>Settings of “{escape(one.title)}”</summary><dl class="settings">{rows}</dl>'
        f"<details><summary>Complete provenance (JSON, also inside {escape(picture.file)})</summary>"
        f'<pre tabindex="0" class="provenance" data-file="{escape(picture.file)}">{whole}</pre></details></details>'
    )


def settings(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Technique, model, dtype and settings of a picture's first result, as text."""
    first = made["results"][0]
    fixed = [("technique", first["technique"]), ("model", first["model"]), ("dtype", first["dtype"])]
    backends = ", ".join(f"{one['backend']} on {one['device']}" for one in made["results"])
    shown = [(name, _value(value)) for name, value in first["settings"].items()]
    return [*fixed, ("backends", backends), ("pictures", str(made["subject"])), *shown]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(dict.fromkeys(map(_value, value)))
    if isinstance(value, dict) and set(value) == {"index", "label"}:
        return f"{value['label']} ({value['index']})"
    return "default" if value is None else str(value)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in table.rows
    )
    drawn = (
        f'<div class="scroller" role="region" tabindex="0" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return f"<details><summary>{escape(table.caption)}</summary>{drawn}</details>" if table.folded else drawn
