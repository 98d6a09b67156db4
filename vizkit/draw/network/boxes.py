"""How one step looks: its colour, its words, its box."""

from __future__ import annotations

from collections.abc import Sequence

from ...contract.graph import ACTIVATIONS
from .scene import LINE, Path, Point, Polygon, Shape, Text, rectangle
from .steps import Step, label

WIDTH, HEIGHT = 128.0, 48.0
GRAY = "#4a525c"
COLOURS = {
    "conv": "#fbe2a6",
    "conv_transpose": "#fbe2a6",
    "linear": "#d3c6ef",
    "max_pool": "#f3b0a6",
    "avg_pool": "#f3b0a6",
    "add": "#b9dfc4",
    "concat": "#b9dfc4",
    "input": "#ffffff",
}
OTHER = "#d5dee8"
ACTIVE = "#e2832b"
WORDS = {
    "input": "input",
    "max_pool": "max pool",
    "avg_pool": "avg pool",
    "linear": "dense",
    "multi_head_attention_forward": "attention",
    "scaled_dot_product_attention": "attention",
}
ADDED = {"batch_norm": "norm", "dropout": "", "flatten": ""}
LEGEND = (
    ("convolution", COLOURS["conv"]),
    ("activation", ACTIVE),
    ("pooling", COLOURS["max_pool"]),
    ("dense", COLOURS["linear"]),
    ("sum, concatenation", COLOURS["add"]),
    ("other", OTHER),
)


def colour(step: Step) -> str:
    """The fill of a step's box."""
    return COLOURS.get(step.kind, OTHER)


def size_text(shape: Sequence[int]) -> str:
    """A result's extent: "28×28" of maps, "1000" of a row of numbers."""
    if len(shape) > 3:
        return "×".join(map(str, shape[-2:]))
    return "×".join(map(str, shape[1:]))


def active(step: Step) -> bool:
    """Whether an activation function is part of the step."""
    return any(node.kind in ACTIVATIONS for node in step.nodes[1:])


def added(step: Step) -> str:
    """What follows within the step, in words: "norm relu"."""
    words = (ADDED.get(node.kind, node.kind.replace("_", " ")) for node in step.nodes[1:])
    return " ".join(dict.fromkeys(word for word in words if word))


def tooltip(step: Step) -> str:
    """Every operation of a step, one a line."""
    return "\n".join(
        f"{node.name}: {node.kind}, {' x '.join(map(str, node.shape))}, {node.parameters:,} parameters"
        for node in step.nodes
    )


def box(step: Step, centre: Point, name: str) -> list[Shape]:
    """A step's box: what it does, its name within its block, what follows in it and the size of the result."""
    x, y = centre
    left, top = x - WIDTH / 2, y - HEIGHT / 2
    data = {"nodes": " ".join(node.name for node in step.nodes)}
    shapes: list[Shape] = [
        Polygon(rectangle(left, top, WIDTH, HEIGHT), colour(step), title=tooltip(step), data=data),
    ]
    if active(step):
        shapes.append(Polygon(rectangle(left + WIDTH - 5, top, 5, HEIGHT), ACTIVE, edge=LINE, width=0.6))
    if step.kind == "input":
        about = " × ".join(map(str, step.shape[1:]))
        return [*shapes, Text((x, y - 8), "input", 11.5), Text((x, y + 9), about, 9.5, colour=GRAY)]
    last = " · ".join(part for part in (added(step), size_text(step.shape)) if part)
    shown = name if len(name) <= 22 else f"…{name[-21:]}"
    if name == step.kind:
        return [*shapes, Text((x - 2, y - 9), label(step, WORDS), 11.5), Text((x - 2, y + 10), last, 9, colour=GRAY)]
    return [
        *shapes,
        Text((x - 2, y - 14), label(step, WORDS), 11.5),
        Text((x - 2, y + 2), shown, 9, colour=GRAY),
        Text((x - 2, y + 15), last, 9, colour=GRAY),
    ]


def legend(at: Point) -> list[Shape]:
    """The colours in words, in one line from a point."""
    x, y = at
    out: list[Shape] = []
    for words, fill in LEGEND:
        out += [Polygon(rectangle(x, y - 6, 12, 12), fill), Text((x + 18, y), words, 10, "start", GRAY)]
        x += 34 + 6.3 * len(words)
    return [*out, Text((x, y), "/2: stride 2", 10, "start", GRAY)]


def link(points: Sequence[Point], source: str, target: str) -> Path:
    """An arrow that stands for an edge of the graph."""
    return Path(tuple(points), data={"source": source, "target": target})
