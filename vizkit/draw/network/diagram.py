"""The drawing of a network, in the style that suits it, as a picture or as a page whose blocks open and close."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contract.errors import SettingError
from ...results.files import provenance, save_figure
from ...support.files import write_text
from ...techniques.network import table
from .flow import flow
from .html import page
from .scene import Scene, figure, svg
from .steps import Item, Step, items, steps
from .volumes import is_sequential, volumes

if TYPE_CHECKING:
    from ...contract.backend import Model

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
        if target.suffix == ".svg":
            write_text(target, svg(self.scene, self.provenance))
        else:
            write_text(target, page(self.steps, self.items, self.scene, self.rows, self.provenance))
        return target


def diagram(model: Model, *, style: str = "auto", collapse: bool = True) -> Diagram:
    """The network as papers draw it, from the graph that the framework computes.

    Args:
        model: a network; one of your own from :func:`vizkit.wrap` as well.
        style: "volumes", boxes in perspective in a row, for networks without branches (Krizhevsky et al. 2012);
            "flow", blocks with the paths inside them; "auto" takes what fits.
        collapse: draw blocks that are the same but for their weights, and follow each other, once.

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
    if style not in STYLES:
        raise SettingError(f"style={style!r}: expected {', '.join(map(repr, STYLES))}.")
    found = steps(model.graph())
    row = items(found, collapse)
    sequential = is_sequential(found)
    if style == "volumes" and not sequential:
        raise SettingError(f"{model.name} has branches, which a row of volumes cannot show; take style='flow'.")
    rows = table.rows(model)
    parameters, products = table.totals(rows)
    operations = sum(one.kind != table.BLOCK for one in rows)
    title = f"{model.name}: {operations} operations, {_short(parameters)} parameters, {_short(products)} multiply-adds"
    draw = volumes(found, title) if sequential and style != "flow" else flow(found, row, title)
    made = provenance(model, "diagram", {"style": style, "collapse": collapse})
    return Diagram(found, row, draw, rows, made)


def _short(count: int) -> str:
    """A count in millions or billions, where it is that large: "60.2 M"."""
    for unit, word in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{word}"
    return str(count)
