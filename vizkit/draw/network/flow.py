"""A network in rows, from left to right: steps as boxes, blocks as frames around the paths inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .boxes import GRAY, HEIGHT, WIDTH, box, legend, link, size_text
from .layout import PORT, Layout, layout
from .scene import Path, Point, Polygon, Scene, Shape, Text, rectangle
from .steps import Item, Step

ROW = 1700.0
"""Pixels of a row, unless a single block is wider."""
GAP = 30.0
RANK, LANE = WIDTH + 30, HEIGHT + 14
INSET, HEAD, FOOT = 24.0, 30.0, 12.0
MARGIN = 28.0
TOP = 64.0
BETWEEN = 40.0


MOST = 40
"""Boxes of a block that is drawn open in a drawing that collapses."""
CLOSED = "Closed: blocks too large to be read here. The HTML page opens them; without collapse they are drawn."


@dataclass(frozen=True)
class Placed:
    """An item with its layout and its size in pixels; ``closed`` is a block that is drawn as a box."""

    item: Item
    layout: Layout
    width: float
    height: float
    closed: bool = False

    @property
    def open(self) -> bool:
        """Whether it is a frame with paths inside."""
        return self.item.is_block and not self.closed


def place(found: Sequence[Step], item: Item, collapse: bool = False) -> Placed:
    """An item's size: that of its box, or of the frame around its paths. ``collapse`` closes blocks of more than
    :data:`MOST` boxes, and those wider than a row."""
    plan = layout(found, item)
    if not item.is_block:
        return Placed(item, plan, WIDTH, HEIGHT)
    width = plan.ranks * RANK - 30 + 2 * INSET
    if collapse and (len(item.steps) > MOST or width > ROW):
        return Placed(item, plan, max(2 * WIDTH, 7.0 * len(block_title(item)) + 2 * 12), HEIGHT, closed=True)
    return Placed(item, plan, width, plan.lanes * LANE - 14 + HEAD + FOOT)


def block_title(item: Item) -> str:
    """A block's name, or those of the first and the last of several."""
    if not item.copies:
        return item.name
    return f"{item.name} … {item.copies[-1]}: {len(item.copies) + 1} × this block"


def _middle(one: Placed) -> float:
    """Pixels from an item's top to the line on which it is entered and left."""
    return HEAD + (one.layout.lanes * LANE - 14) / 2 if one.open else HEIGHT / 2


def draw_item(found: Sequence[Step], one: Placed, left: float, middle: float) -> list[Shape]:
    """The shapes of an item whose entrance lies at (left, middle)."""
    if not one.item.is_block:
        return box(found[one.item.steps[0]], (left + WIDTH / 2, middle), one.item.name)
    if one.closed:
        return _closed(found, one, left, middle)
    frame = rectangle(left, middle - _middle(one), one.width, one.height)
    shapes: list[Shape] = [Polygon(frame, "#f6f8fa", edge="#98a2ae", dash=bool(one.item.copies))]
    shapes.append(Text((left + 8, middle - _middle(one) + 14), block_title(one.item), 11.5, "start", bold=True))

    def at(place: tuple[int, float]) -> Point:
        return left + INSET + WIDTH / 2 + place[0] * RANK, middle + place[1] * LANE

    for (source, target), bends in one.layout.paths.items():
        end = at(one.layout.at[target])
        if source == PORT:
            start = (left, middle)
            name = next(found[k].nodes[-1].name for k in found[target].inputs if k not in one.item.steps)
        else:
            x, y = at(one.layout.at[source])
            start, name = (x + WIDTH / 2, y), found[source].nodes[-1].name
        through: list[Point] = []
        for bend in bends:
            x, y = at(bend)
            through += [(x - WIDTH / 2 + 4, y), (x + WIDTH / 2 - 4, y)]
        shapes.append(link((start, *through, (end[0] - WIDTH / 2, end[1])), name, found[target].nodes[0].name))
    for i in one.item.steps:
        step_name = found[i].nodes[0].name.removeprefix(one.item.name).lstrip("./")
        shapes += box(found[i], at(one.layout.at[i]), step_name)
    last = at(one.layout.at[one.item.steps[-1]])
    shapes.append(Path(((last[0] + WIDTH / 2, last[1]), (left + one.width, middle)), arrow=False))
    return shapes


def _closed(found: Sequence[Step], one: Placed, left: float, middle: float) -> list[Shape]:
    """A block as a box: its name, how much is inside, and its result's size."""
    data = {"nodes": " ".join(node.name for i in one.item.steps for node in found[i].nodes)}
    frame = rectangle(left, middle - HEIGHT / 2, one.width, HEIGHT)
    inside = f"{len(one.item.steps)} boxes inside · {size_text(found[one.item.steps[-1]].shape)}"
    return [
        Polygon(frame, "#f6f8fa", edge="#98a2ae", width=2, dash=bool(one.item.copies), data=data),
        Text((left + one.width / 2, middle - 8), block_title(one.item), 11.5, bold=True),
        Text((left + one.width / 2, middle + 10), inside, 9, colour=GRAY),
    ]


def _rows(placed: Sequence[Placed]) -> list[list[Placed]]:
    rows: list[list[Placed]] = [[]]
    used = 0.0
    for one in placed:
        if rows[-1] and used + one.width > ROW:
            rows.append([])
            used = 0.0
        rows[-1].append(one)
        used += one.width + GAP
    return rows


def flow(found: Sequence[Step], row: Sequence[Item], title: str, collapse: bool = False) -> Scene:
    """The whole network, its largest blocks closed where it is to ``collapse``; arrows between steps carry the edge
    they stand for."""
    rows = _rows([place(found, item, collapse) for item in row])
    width = max(sum(one.width + GAP for one in line) for line in rows) + 2 * MARGIN
    shapes: list[Shape] = [Text((MARGIN, 24), title, 15, "start", bold=True)]
    y = TOP
    before: tuple[Point, Item] | None = None
    for line in rows:
        above = max(_middle(one) for one in line)
        middle = y + above
        x = MARGIN
        for k, one in enumerate(line):
            if before is not None:
                shapes.append(_join(found, before, one.item, (x, middle), None if k else (width - 12, y - 18)))
            shapes += draw_item(found, one, x, middle)
            before = ((x + one.width, middle), one.item)
            x += one.width + GAP
        y = middle + max(one.height - _middle(one) for one in line) + BETWEEN
    closed = any(one.closed for line in rows for one in line)
    said = [Text((MARGIN, y + 6), CLOSED, 10, "start", GRAY)] if closed else []
    return Scene(width, y + 8 + 20 * len(said), [*shapes, *legend((MARGIN, y - 14)), *said], title)


def _join(found: Sequence[Step], before: tuple[Point, Item], item: Item, end: Point, turn: Point | None) -> Path:
    """The line to an item's entrance, round the end of the row where ``turn`` gives its corner."""
    start, source = before
    points = [start, end]
    if turn is not None:
        points = [start, (turn[0], start[1]), turn, (12.0, turn[1]), (12.0, end[1]), end]
    data = {}
    if not item.is_block:
        data = {"source": found[source.last].nodes[-1].name, "target": found[item.steps[0]].nodes[0].name}
    return Path(tuple(points), arrow=not item.is_block, round=False, data=data)


def drawing(found: Sequence[Step], item: Item) -> Scene:
    """One block on its own."""
    one = place(found, item)
    shapes = draw_item(found, one, 6, 6 + _middle(one))
    return Scene(one.width + 12, one.height + 12, shapes, block_title(item))
