"""The drawing of a network, in the style that suits it, as a picture or as a page whose blocks open and close."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ...contract.backend import Model
from ...contract.errors import SettingError, one_of
from ...results.fields import Field
from ...results.files import provenance, save_figure
from ...support.files import write_text
from ...support.version import VERSION
from ...techniques.network import table
from .boxes import WORDS, added, colour, size_text
from .flow import block_title, drawing, flow
from .scene import Scene, figure, svg
from .steps import Item, Step, copies, items, label, steps
from .volumes import is_sequential, volumes

STYLES = ("auto", "volumes", "flow")
SUFFIXES = (".svg", ".png", ".pdf", ".html")
DPI = 200
"""Two pixels of a PNG for each pixel of the drawing, so that small words stay sharp."""


@dataclass(frozen=True)
class Diagram:
    """A drawn network: ``steps`` of the graph, ``items`` of the drawing, the ``scene`` and how it was made."""

    steps: list[Step]
    items: list[Item]
    scene: Scene
    rows: list[table.Row]
    provenance: dict[str, Any]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``.svg``, ``.png``, ``.pdf``, or a self-contained ``.html`` whose blocks open and close, with the
        provenance inside. The file appears whole or not at all. Raises SettingError for another suffix."""
        target = Path(path)
        if target.suffix not in SUFFIXES:
            raise SettingError(f"Cannot save {str(target)!r}: the suffix must be one of {', '.join(SUFFIXES)}.")
        if target.suffix in (".png", ".pdf"):
            save_figure(figure(self.scene), target, self.provenance, dpi=DPI)
            return target
        write_text(target, svg(self.scene, self.provenance) if target.suffix == ".svg" else page(self))
        return target


def diagram(model: Model, *, style: str = "auto", collapse: bool = True) -> Diagram:
    """The network as papers draw it, from the graph that the framework computes.

    Args:
        model: a network; one of your own from :func:`vizkit.wrap` as well.
        style: "volumes", boxes in perspective in a row, for networks without branches (Krizhevsky et al. 2012);
            "flow", blocks with the paths inside them; "auto" takes what fits.
        collapse: draw parts that are the same but for their weights, and follow each other, once, and as a closed box,
            which the HTML opens, blocks of more than 40 boxes or wider than a row.

    Returns:
        :class:`Diagram`; its ``save`` writes SVG, PNG, PDF or HTML.

    Raises:
        SettingError: another style, or volumes of a network with branches.

    Example:
        >>> import vizkit
        >>> drawn = diagram(vizkit.load("squeezenet1_1", weights="random:7"))
        >>> [item.name for item in drawn.items][:4]
        ['input', 'features.0', 'features.2', 'features.3']
    """
    one_of("style", style, STYLES)
    found = steps(model.graph())
    row = items(found, collapse)
    sequential = is_sequential(found)
    if style == "volumes" and not sequential:
        raise SettingError(f"{model.name} has branches, which a row of volumes cannot show; take style='flow'.")
    rows = table.rows(model)
    parameters, products = table.totals(rows)
    operations = sum(one.kind != table.BLOCK for one in rows)
    counted = "uncounted" if products is None else _short(products)
    title = f"{model.name}: {operations} operations, {_short(parameters)} parameters, {counted} multiply-adds"
    draw = volumes(found, title) if sequential and style != "flow" else flow(found, row, title, collapse)
    made = provenance(model, "diagram", {"style": style, "collapse": collapse})
    return Diagram(found, row, draw, rows, made)


def _short(count: int) -> str:
    """A count in millions or billions, where it is that large: "60.2 M"."""
    for unit, word in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{word}"
    return str(count)


def page(drawn: Diagram) -> str:
    """The page of a drawn network as text; nothing in it is loaded from anywhere."""
    steps, shown, scene, made = drawn.steps, drawn.items, drawn.scene, drawn.provenance
    rows = {row.name: row for row in drawn.rows}
    parts: list[str] = []
    for item in shown:
        parts.append(_several(steps, item, copies(item), rows) if item.is_block else _step(steps, item, rows))
    sequential = not any(item.is_block for item in shown)
    overview = f'<div class="scroller" tabindex="0" role="region" aria-label="Overview">{svg(scene)}</div>'
    template = Template((files("vizkit.draw.network") / "diagram.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(scene.title),
        generator=escape(f"vizkit {VERSION}"),
        lead=escape(
            f"In {made['backend']}, weights {made['weights']['source']}. "
            + ("" if sequential else "Open a block to see the paths inside it: click it, or Tab to it and press Enter.")
        ),
        overview=f"<details{' open' if sequential else ''}><summary>The whole network at once</summary>{overview}"
        "</details>",
        items="\n".join(parts),
        provenance=json.dumps(made).replace("</", "<\\/"),
        shown=escape(json.dumps(made, indent=1)),
        buttons="hidden" if sequential else "",
    )


def _several(found: Sequence[Step], item: Item, copies: Sequence[Item], rows: dict[str, table.Row]) -> str:
    """A block, or a group of equal blocks that holds each of them."""
    inner = [_block(found, one, rows) for one in copies]
    if len(inner) == 1:
        return inner[0]
    head = f"<b>{escape(item.name)} … {escape(item.copies[-1])}</b><span>{len(copies)} × the same block</span>"
    facts = _facts(found, copies[-1].steps, rows, each=True)
    body = f'<ul class="row">{"".join(inner)}</ul>'
    return f'<li><details class="group"><summary>{head}{facts}</summary>{body}</details></li>'


def _block(found: Sequence[Step], item: Item, rows: dict[str, table.Row]) -> str:
    kinds = ", ".join(dict.fromkeys(label(found[i], WORDS).split(",")[0].split(" /")[0] for i in item.steps))
    head = f"<b>{escape(block_title(item))}</b><span>{escape(kinds)}</span>{_facts(found, item.steps, rows)}"
    key = f"b{item.steps[0]}"
    inner = svg(drawing(found, item), key=key)
    return (
        f'<li><details class="block" id="{key}"><summary>{head}</summary><div class="scroller" tabindex="0" '
        f'role="region" aria-label="{escape(item.name)}">{inner}</div></details></li>'
    )


def _step(found: Sequence[Step], item: Item, rows: dict[str, table.Row]) -> str:
    step = found[item.steps[0]]
    follows = f" + {added(step)}" if added(step) else ""
    head = f"<b>{escape(label(step, WORDS))}{escape(follows)}</b><span>{escape(item.name)}</span>"
    body = _facts(found, item.steps, rows) if step.kind != "input" else f"<i>{size_text(step.shape)}</i>"
    return f'<li><div class="step" style="--fill:{colour(step)}">{head}{body}</div></li>'


def _seen(field: Field) -> str:
    return {"whole image": "the whole image", "unknown": "an unknown part"}.get(field.text(), field.text())


def _facts(found: Sequence[Step], part: Sequence[int], rows: dict[str, table.Row], each: bool = False) -> str:
    """The result's shape, the parameters and the receptive field of a step or block."""
    nodes = [node for i in part for node in found[i].nodes]
    last = rows[nodes[-1].name]
    shape = found[part[-1]].shape
    count = sum(node.parameters for node in nodes)
    parameters = f"{count:,} parameters{' each' if each else ''}" if count else ""
    words = ["×".join(map(str, shape[1:])), parameters, f"{'the last ' if each else ''}sees {_seen(last.field)}"]
    return f"<i>{escape(' · '.join(word for word in words if word))}</i>"
