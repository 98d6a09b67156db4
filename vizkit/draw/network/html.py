"""A network as a page: every block opens and closes by click or keyboard, and shows the paths inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from ...support.version import VERSION
from .boxes import WORDS, added, colour, size_text
from .flow import block_title, drawing
from .scene import Scene, svg
from .steps import Item, Step, items, label

if TYPE_CHECKING:
    from ...techniques.network.table import Row


def page(
    steps: Sequence[Step], shown: Sequence[Item], scene: Scene, table: Sequence[Row], made: Mapping[str, Any]
) -> str:
    """The page of a drawn network as text; nothing in it is loaded from anywhere."""
    rows = {row.name: row for row in table}
    single = items(list(steps), collapse=False)
    by_name = {item.name: item for item in single}
    parts: list[str] = []
    for item in shown:
        copies = [by_name[name] for name in (item.name, *item.copies)] if item.is_block else []
        parts.append(_several(steps, item, copies, rows) if copies else _step(steps, item, rows))
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


def _several(found: Sequence[Step], item: Item, copies: Sequence[Item], rows: dict[str, Row]) -> str:
    """A block, or a group of equal blocks that holds each of them."""
    inner = [_block(found, one, rows) for one in copies]
    if len(inner) == 1:
        return inner[0]
    head = f"<b>{escape(item.name)} … {escape(item.copies[-1])}</b><span>{len(copies)} × the same block</span>"
    facts = _facts(found, copies[-1].steps, rows, each=True)
    body = f'<ul class="row">{"".join(inner)}</ul>'
    return f'<li><details class="group"><summary>{head}{facts}</summary>{body}</details></li>'


def _block(found: Sequence[Step], item: Item, rows: dict[str, Row]) -> str:
    kinds = ", ".join(dict.fromkeys(label(found[i], WORDS).split(",")[0].split(" /")[0] for i in item.steps))
    head = f"<b>{escape(block_title(item))}</b><span>{escape(kinds)}</span>{_facts(found, item.steps, rows)}"
    key = f"b{item.steps[0]}"
    inner = svg(drawing(found, item), key=key)
    return (
        f'<li><details class="block" id="{key}"><summary>{head}</summary><div class="scroller" tabindex="0" '
        f'role="region" aria-label="{escape(item.name)}">{inner}</div></details></li>'
    )


def _step(found: Sequence[Step], item: Item, rows: dict[str, Row]) -> str:
    step = found[item.steps[0]]
    follows = f" + {added(step)}" if added(step) else ""
    head = f"<b>{escape(label(step, WORDS))}{escape(follows)}</b><span>{escape(item.name)}</span>"
    body = _facts(found, item.steps, rows) if step.kind != "input" else f"<i>{size_text(step.shape)}</i>"
    return f'<li><div class="step" style="--fill:{colour(step)}">{head}{body}</div></li>'


def _facts(found: Sequence[Step], part: Sequence[int], rows: dict[str, Row], each: bool = False) -> str:
    """The result's shape, the parameters and the receptive field of a step or block."""
    nodes = [node for i in part for node in found[i].nodes]
    last = rows[nodes[-1].name]
    shape = found[part[-1]].shape
    count = sum(node.parameters for node in nodes)
    parameters = f"{count:,} parameters{' each' if each else ''}" if count else ""
    words = ["×".join(map(str, shape[1:])), parameters, f"{'the last ' if each else ''}sees {last.field.text()}"]
    return f"<i>{escape(' · '.join(word for word in words if word))}</i>"
