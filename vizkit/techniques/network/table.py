"""A network as a table: a row for every operation and every block, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...contract.backend import Model
from ...contract.graph import multiply_adds
from ...results.fields import Field
from ...support import columns
from .receptive import fields

BLOCK = "block"
HEAD = ("name", "kind", "output shape", "parameters", "multiply-adds", "receptive field", "stride")
NOTE = (
    "Multiply-adds: of convolutions, dense layers and matrix products, for one image. A block's row adds up the rows "
    "inside it. Names with / are operations that no technique can name as its layer."
)
MISSING = "?: operations are among them that nobody counts, such as recurrent layers and einsum."


@dataclass(frozen=True)
class Row:
    """One operation, or one block (kind "block") with the sums of what is inside it. ``shape`` for a batch of one;
    ``parameters`` trainable numbers, each counted once; ``multiply_adds`` None where they cannot be counted; ``field``
    of the result's units; ``observable`` says that it is among the model's layers."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int | None
    field: Field
    observable: bool

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        stride = "" if self.field.stride is None else " x ".join(f"{one:g}" for one in self.field.stride)
        shape = " x ".join(map(str, self.shape))
        counts = ("?" if n is None else f"{n:,}" if n else "" for n in (self.parameters, self.multiply_adds))
        return (self.name, self.kind, shape, *counts, self.field.text(), stride)

    def json(self) -> dict[str, Any]:
        """The row ready for JSON: sizes, strides and starts as [height, width], null where there are none."""
        field = self.field
        return {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "receptive_field": field.size,
            "whole_image": field.whole,
            "stride": field.stride,
            "start": field.start,
            "observable": self.observable,
        }


def rows(model: Model) -> list[Row]:
    """A row for every operation in order of computation, each block after the last operation inside it.

    >>> import vizkit
    >>> found = rows(vizkit.load("squeezenet1_1", weights="random:7"))
    >>> found[0].name, found[0].field.text(), sum(row.parameters for row in found if row.kind != BLOCK)
    ('features.0', '3 x 3', 1235496)
    """
    graph = model.graph()
    nodes, seen = graph.by_name, fields(graph)
    observable = set(model.layers)
    out = []
    for node in graph.nodes[1:]:
        counts = node.parameters, multiply_adds(node, nodes)
        out.append(Row(node.name, node.kind, node.shape, *counts, seen[node.name], node.name in observable))
    known = {row.name for row in out}
    order = {row.name: i for i, row in enumerate(out)}
    blocks: dict[int, list[Row]] = {}
    for name in sorted(observable - known, key=lambda name: -name.count(".")):
        result = graph.layers.get(name)
        inside = [row for row in out if row.name.startswith((f"{name}.", f"{name}/"))]
        last = max((order[row.name] for row in inside), default=order.get(result or "", 0))
        at = nodes[result] if result in nodes else graph.nodes[-1]
        row = Row(name, BLOCK, at.shape, *totals(inside), seen[at.name], True)
        blocks.setdefault(last, []).append(row)
    return [one for i, row in enumerate(out) for one in (row, *blocks.get(i, ()))]


def totals(found: Sequence[Row]) -> tuple[int, int | None]:
    """Parameters and multiply-adds of all these operations; None where some cannot be counted."""
    single = [row for row in found if row.kind != BLOCK]
    products = [row.multiply_adds for row in single]
    return sum(row.parameters for row in single), None if None in products else sum(one or 0 for one in products)


def text(model: Model, found: Sequence[Row], width: int | None = None) -> str:
    """The table in columns, with a head and the totals; several lines an operation where one is longer than
    ``width``."""
    parameters, products = totals(found)
    total = ("total", f"{len([row for row in found if row.kind != BLOCK])} operations", "")
    counted = f"{products:,}" if products is not None else "?"
    lines = [HEAD, *(row.cells() for row in found), (*total, f"{parameters:,}", counted, "", "")]
    drawn = columns.laid(lines, (3, 4), width, ruled=(0, len(found)))
    size = " x ".join(map(str, model.spec.shape))
    head = f"{model.name} in {model.backend}: {len(model.layers)} layers, input {size}"
    note = NOTE if products is not None else f"{NOTE} {MISSING}"
    return "\n".join([head, *drawn, columns.folded(note, width), *_attention(model, width)])


def _attention(model: Model, width: int | None) -> list[str]:
    """Where attention is seen, under the table: not every one is an operation's result."""
    found = [(name, " x ".join(map(str, layer.shape))) for name, layer in model.attention.items()]
    title = "Attention, for vizkit.attention, feature_maps and model.forward:"
    return ["", columns.folded(title, width), *columns.laid(found, width=width)] if found else []


def as_json(model: Model, found: Sequence[Row]) -> dict[str, Any]:
    """The table ready for JSON, with the totals."""
    parameters, products = totals(found)
    return {
        "model": model.name,
        "backend": model.backend,
        "input": [1, *model.spec.shape],
        "layers": [row.json() for row in found],
        "attention": [{"name": one.name, "shape": list(one.shape)} for one in model.attention.values()],
        "total": {"parameters": parameters, "multiply_adds": products},
    }
