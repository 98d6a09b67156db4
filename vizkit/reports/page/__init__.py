"""One self-contained HTML page from chapters of pictures, tables and numbers: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...contract.backend import Array, Model
from ...contract.errors import MapWarning
from ...results.files import figure_bytes
from ...support.columns import deviation
from ...support.command import COMMAND
from ...support.version import VERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEBP_SIDE, QUALITY = 16383, 88
"""The largest side that the format knows, in pixels, and how well the pictures within a page are kept."""
WORDS: Mapping[str, Mapping[str, str]] = json.loads(
    (files("vizkit.reports.page") / "words.json").read_text(encoding="utf-8")
)
"""The page's own words; Chinese is that of Taiwan."""
SCIENTIFIC = re.compile(r"\b\d+(?:\.\d+)?e-\d+\b")
LISTED = 12
"""Values of one setting that are all listed; the whole provenance below has the others."""
LANGUAGES = {"en": "en", "zh": "zh-Hant-TW"}


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
        share = f"largest difference {deviation(self.largest)} of the maximum"
        return f"{self.what}, {self.against}: relative L2 {deviation(self.l2)}, {share}"


@dataclass(frozen=True)
class Picture:
    """A PNG with what it shows in words, and how it was made: the provenance of one result, or ``{"results": [several],
    "subject": what they were made of}``. ``wide`` pictures keep a legible size and scroll."""

    file: str
    alt: str
    png: bytes
    provenance: Mapping[str, Any]
    wide: bool = True
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; ``folded`` tables open on request."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class Chapter:
    """One part of the page: what it shows in words for everybody, its pictures, tables, differences, and what went
    wrong. ``key`` is its anchor, ``pre`` text in fixed width, ``widget`` HTML of its own that is put in as it is."""

    key: str
    title: str
    text: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    differences: Sequence[Difference] = ()
    notes: Sequence[str] = ()
    pre: str = ""
    widget: str = ""


def drawn(
    file: str,
    figure: Figure,
    alt: str,
    generator: str,
    subject: str,
    made: Sequence[Mapping[str, Any]],
    *,
    dpi: int = 120,
    wide: bool = True,
    title: str = "",
) -> Picture:
    """A figure as the picture of a page: ``generator`` is the command that makes the page, ``subject`` what the results
    were made of, ``made`` the results' provenances."""
    inside = {"page": generator, "subject": subject, "results": list(made)}
    return Picture(file, alt, figure_bytes(figure, inside, dpi), inside, wide, title)


@contextmanager
def heard(notes: list[str], before: str = "") -> Iterator[None]:
    """Warnings of maps become notes; others come through."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MapWarning)
        yield
    for one in caught:
        if issubclass(one.category, MapWarning):
            notes.append(f"{before}{one.message}")
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def difference(what: str, named: Sequence[tuple[str, Array]]) -> list[Difference]:
    """Every further array against the first, in float64; an infinity, as of a place for which there was no picture,
    equals itself.

    >>> difference("maps", [("torch", np.array([3.0, 4.0])), ("gluon", np.array([3.0, 4.5]))])
    [Difference(what='maps', against='gluon against torch', l2=0.1, largest=0.125)]
    """
    out = []
    for name, other in named[1:]:
        first, b = named[0][1].astype(np.float64), other.astype(np.float64)
        finite = first[np.isfinite(first)]
        norm, high = float(np.linalg.norm(finite)) or 1.0, float(np.abs(finite).max(initial=0.0)) or 1.0
        gap = np.subtract(first, b, where=first != b, out=np.zeros_like(first))
        l2, largest = float(np.linalg.norm(gap)) / norm, float(np.abs(gap).max()) / high
        out.append(Difference(what, f"{name} against {named[0][0]}", l2, largest))
    return out


def render(
    title: str,
    lead: str,
    facts: Sequence[tuple[str, str]],
    chapters: Sequence[Chapter],
    command: str,
    *,
    generator: str,
    language: str = "en",
) -> str:
    """The page as text; the same chapters give the same bytes. ``generator`` is the command that made it, by which an
    earlier page is known; the command line that is running, or else ``command``, is said to have made the page;
    ``language`` is "en" or "zh"."""
    words = WORDS[language]
    template = Template((files("vizkit.reports.page") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        {name: escape(text) for name, text in words.items() if "{" not in text},
        language=LANGUAGES[language],
        generator=escape(f"{generator} {VERSION}"),
        title=escape(title),
        lead=escape(lead),
        facts="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts),
        list="".join(f'<li><a href="#{one.key}">{escape(one.title)}</a></li>' for one in chapters),
        chapters="\n".join(_chapter(one, words) for one in chapters),
        made=words["made"].format(escape(COMMAND.get() or command)),
    )


def _chapter(one: Chapter, words: Mapping[str, str]) -> str:
    parts = [f'<section class="card" id="{one.key}">', f"<h2>{escape(one.title)}</h2>"]
    parts += [f"<p>{prose(paragraph)}</p>" for paragraph in one.text.split("\n\n") if paragraph]
    parts += [f'<p class="note" role="note">{escape(note)}</p>' for note in one.notes]
    if one.pre:
        parts.append(f'<pre tabindex="0">{escape(one.pre)}</pre>')
    if one.widget:
        parts.append(one.widget)
    for number, picture in enumerate(one.pictures):
        agreed = one.differences if number == len(one.pictures) - 1 else ()
        parts.append(_picture(one, picture, agreed, words))
    parts += [_table(table) for table in one.tables]
    return "\n".join([*parts, "</section>"])


def _picture(one: Chapter, picture: Picture, differences: Sequence[Difference], words: Mapping[str, str]) -> str:
    source = _embedded(picture.png)
    width, height = struct.unpack(">II", picture.png[16:24])  # the PNG's own header
    agreed = "".join(f"<li>{prose(found.text())}</li>" for found in differences)
    label = escape(words["scrolls"].format(picture.title or one.title))
    caption = f'<p class="caption">{escape(picture.title)}</p>' if picture.title else ""
    return "\n".join(
        [
            "<figure>",
            f'<div class="scroller" role="region" tabindex="0" aria-label="{label}">',
            f'<a class="zoom{" wide" if picture.wide else ""}" href="{escape(picture.file)}" '
            f'title="{escape(words["enlarge"])}">'
            f'<img src="{source}" alt="{escape(picture.alt)}" width="{width}" height="{height}" '
            f'style="max-width:{width}px"></a>',
            "</div>",
            "<figcaption>",
            caption,
            f'<ul class="differences">{agreed}</ul>' if agreed else "",
            _settings(picture.title or one.title, picture, words),
            "</figcaption>",
            "</figure>",
        ]
    )


def _embedded(png: bytes) -> str:
    """A picture within the page, a tenth as large as the PNG beside it, which the page links to."""
    with Image.open(io.BytesIO(png)) as opened:
        if max(opened.size) > WEBP_SIDE:
            return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        return inline(opened.convert("RGB"))


def inline(picture: Image.Image, form: str = "webp", quality: int = QUALITY) -> str:
    """An address that holds the picture itself."""
    stream = io.BytesIO()
    picture.save(stream, form, quality=quality)
    return f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def widget(package: str, data: Mapping[str, Any], pictures: str) -> str:
    """The ``widget.html`` of a package of reports, with its data and its pictures inside."""
    inside = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    text = (files(f"vizkit.reports.{package}") / "widget.html").read_text(encoding="utf-8")
    return text.replace("__PICTURES__", pictures).replace("__DATA__", inside)


def not_read(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fact of a page that names the pictures of a folder that could not be read, if any."""
    skipped = [f"{one['name']}: {one['reason']}" for one in made["images"]["skipped"]]
    return [("not read", "; ".join(skipped))] if skipped else []


def backends(models: Sequence[Model]) -> tuple[str, str]:
    """The fact of a page that says what computed it."""
    return "backends", ", ".join(f"{one.backend} on {one.device}, {one.dtype}" for one in models)


def loading(models: Sequence[Model]) -> list[str]:
    """The options of a command line that load these networks."""
    source = models[0].weights.source
    own = source in ("bundled", "imagenet") or models[0].file_sha256
    weights = [] if own else [f"--weights {Path(source).name}"]
    return [*(f"--backend {one.backend}" for one in models), *weights]


def prose(text: str) -> str:
    """Words of a page, whose numbers such as 1e-05 do not end a line after their hyphen."""
    return SCIENTIFIC.sub(r'<span class="whole">\g<0></span>', escape(text))


def _settings(title: str, picture: Picture, words: Mapping[str, str]) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in settings(picture.provenance)
    )
    whole = escape(json.dumps(picture.provenance, indent=1, ensure_ascii=False))
    file = escape(picture.file)
    return (
        f'<details><summary>{escape(words["settings"].format(title))}</summary><dl class="settings">{rows}</dl>'
        f"<details><summary>{words['whole'].format(file)}</summary>"
        f'<pre tabindex="0" class="provenance" data-file="{file}">{whole}</pre></details></details>'
    )


def settings(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Technique, model, dtype and settings of a picture's results, as text: one value where all have the same, else
    each."""
    several = made.get("results") or [made]
    fixed = [(name, _each(one[name] for one in several)) for name in ("technique", "model", "dtype")]
    mixed = len({one["dtype"] for one in several}) > 1
    backends = [f"{one['backend']} on {one['device']}" + (f" in {one['dtype']}" if mixed else "") for one in several]
    names = dict.fromkeys(name for one in several for name in one["settings"])
    shown = [(name, _each(one["settings"][name] for one in several if name in one["settings"])) for name in names]
    pictures = [("pictures", str(made["subject"]))] if "subject" in made else []
    return [*fixed, ("backends", ", ".join(dict.fromkeys(backends))), *pictures, *shown]


def _each(values: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(map(_value, values)))


def _value(value: Any) -> str:
    if isinstance(value, list):
        parts = list(dict.fromkeys(map(_value, value)))
        return ", ".join(parts if len(parts) <= LISTED else [*parts[:3], "…", f"{parts[-1]} ({len(parts)} in all)"])
    if isinstance(value, dict) and set(value) == {"index", "label"}:
        return f"{value['label']} ({value['index']})"
    return "default" if value is None else str(value)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{prose(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in table.rows
    )
    drawn = (
        f'<div class="scroller" role="region" tabindex="0" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return f"<details><summary>{escape(table.caption)}</summary>{drawn}</details>" if table.folded else drawn
