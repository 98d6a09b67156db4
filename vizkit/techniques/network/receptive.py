"""Theoretical receptive fields: which pixels can reach a unit, by propagation through the graph.

One axis at a time, unit ``i`` of a layer sees the pixels ``low + i * stride`` to ``high + i * stride``, both included;
pixels outside the picture are padding. A convolution or pool with kernel k, dilation d, stride s and padding p takes
(low, high, stride) to (low - p * stride, high + ((k - 1) * d - p) * stride, stride * s); where branches meet, the field
is the smallest interval that holds those of all branches (Araujo, Norris and Sim 2019, Distill,
doi:10.23915/distill.00021).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ...contract.graph import ACTIVATIONS, INPUT, POOLS, Graph, Node
from ...results.fields import UNKNOWN, WHOLE, Axis, Field

LEAVES_PLACES = ACTIVATIONS | {
    *("batch_norm", "local_response_norm", "dropout", "identity", "concat", "slice", "split", "where"),
    *("add", "sub", "mul", "div", "pow", "sqrt", "exp", "log", "abs", "neg", "maximum", "minimum"),
}
"""Kinds whose result at a place depends on the same place of their inputs alone."""


def fields(graph: Graph) -> dict[str, Field]:
    """The receptive field of every node, by name; those of signals and volumes are not followed."""
    first = Axis(Fraction(0), Fraction(0), Fraction(1))
    nodes = graph.by_name
    found: dict[str, Field] = {INPUT: Field((first, first)) if len(nodes[INPUT].shape) == 4 else UNKNOWN}
    for node in graph.nodes[1:]:
        sources = [(found[name], nodes[name]) for name in node.inputs]
        found[node.name] = _field(node, sources)
    return found


def _field(node: Node, sources: list[tuple[Field, Node]]) -> Field:
    if any(not one.known for one, _ in sources):
        return UNKNOWN
    if any(one.whole for one, _ in sources):
        return WHOLE
    field, source = sources[0]
    if field.axes is None:
        return WHOLE
    if node.kind in LEAVES_PLACES:
        return _join(node, sources)
    if node.kind in ("conv", *POOLS):
        return _window(node, field, source)
    rule = RULES.get(node.kind)
    return UNKNOWN if rule is None else rule(node, field, source)


def _join(node: Node, sources: list[tuple[Field, Node]]) -> Field:
    """The union of fields that meet place by place; a source that is spread over all places is the whole picture."""
    fields = [one for one, _ in sources]
    extents = [_extent(source, one) for one, source in sources]
    if node.kind == "slice" and extents[0] != tuple(node.shape[-2:]):
        return UNKNOWN
    if len(set(extents)) > 1 or len({one.places for one in fields}) > 1:
        return WHOLE if any(extent == (1, 1) for extent in extents) else UNKNOWN
    axes = []
    for k in (0, 1):
        found = [one.axes[k] for one in fields if one.axes is not None]
        if len({one.stride for one in found}) > 1 and extents[0][k] > 1:
            return UNKNOWN
        axes.append(Axis(min(one.low for one in found), max(one.high for one in found), found[0].stride))
    return Field((axes[0], axes[1]), places=fields[0].places)


def _extent(node: Node, field: Field) -> tuple[int, int]:
    down, right = field.places
    return (node.shape[down], node.shape[right]) if max(down, right) < len(node.shape) else (1, 1)


def _window(node: Node, field: Field, source: Node) -> Field:
    if field.axes is None or field.places != (2, 3) or len(node.shape) != 4:
        return UNKNOWN
    settings = node.settings
    if "kernel" not in settings:
        return _adaptive(node, field, source)
    kernel, dilation = settings["kernel"], settings.get("dilation", (1, 1))
    if tuple(node.shape[2:]) == (1, 1) and all(settings["kernel"][k] >= source.shape[2 + k] > 1 for k in (0, 1)):
        return WHOLE
    stride, padding = settings["stride"], settings["padding"]
    return _each(field, lambda axis, k: axis.through(kernel[k], stride[k], padding[k], dilation[k]))


def _each(field: Field, change: Callable[[Axis, int], Axis]) -> Field:
    """The field after a change of both axes of pictures."""
    return UNKNOWN if field.axes is None else Field((change(field.axes[0], 0), change(field.axes[1], 1)))


def _adaptive(node: Node, field: Field, source: Node) -> Field:
    """Windows of unequal size: each within its share of the axis, widened to whole units."""

    def scaled(axis: Axis, k: int) -> Axis:
        count = node.shape[2 + k]
        share, slack = Fraction(source.shape[2 + k], count), Fraction(count - 1, count)
        return axis.scaled(slack, share + slack - 1, share)

    return _each(field, scaled)


def _pad(node: Node, field: Field, _source: Node) -> Field:
    return _each(field, lambda axis, k: axis.through(1, 1, node.settings["padding"][k], 1))


def _transposed(node: Node, field: Field, _source: Node) -> Field:
    def scaled(axis: Axis, k: int) -> Axis:
        settings = node.settings
        kernel, stride, padding = (settings[key][k] for key in ("kernel", "stride", "padding"))
        reach = (kernel - 1) * settings["dilation"][k]
        return axis.scaled(Fraction(reach - padding, stride), Fraction(padding, stride), Fraction(1, stride))

    return _each(field, scaled)


def _upsampled(node: Node, field: Field, source: Node) -> Field:
    """Nearest or bilinear interpolation reads at most one unit to either side of a place."""
    one = Fraction(1)
    return _each(field, lambda axis, k: axis.scaled(one, one, Fraction(source.shape[2 + k], node.shape[2 + k])))


def _reshaped(node: Node, field: Field, source: Node) -> Field:
    """A new shape that keeps the two last axes keeps places; a row of all numbers has no places."""
    ends = tuple(node.shape[-2:])
    if field.places == (len(source.shape) - 2, len(source.shape) - 1) and ends == tuple(source.shape[-2:]):
        return Field(field.axes, places=(len(node.shape) - 2, len(node.shape) - 1))
    return WHOLE if len(node.shape) == 2 else UNKNOWN


def _transposed_axes(node: Node, field: Field, _source: Node) -> Field:
    order = list(node.settings["axes"])
    return Field(field.axes, places=(order.index(field.places[0]), order.index(field.places[1])))


def _over(node: Node, field: Field, source: Node) -> Field:
    """Norms, softmax and means mix the axes they run over: the whole picture where a place is among them."""
    count = len(source.shape)
    axes = {axis % count for axis in node.settings.get("axes", range(1, count))}
    if axes & set(field.places):
        return WHOLE
    kept = len(node.shape) == count
    return Field(field.axes, places=field.places) if kept else UNKNOWN


def _linear(_node: Node, field: Field, source: Node) -> Field:
    return WHOLE if len(source.shape) == 2 or len(source.shape) - 1 in field.places else field


RULES: dict[str, Any] = {
    "conv_transpose": _transposed,
    "pad": _pad,
    "upsample": _upsampled,
    "reshape": _reshaped,
    "flatten": _reshaped,
    "transpose": _transposed_axes,
    "softmax": _over,
    "log_softmax": _over,
    "mean": _over,
    "sum": _over,
    "layer_norm": _over,
    "group_norm": _over,
    "instance_norm": _over,
    "linear": _linear,
}
