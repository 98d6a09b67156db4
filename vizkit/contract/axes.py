"""Which axis holds the channels, and whether tokens are places of the picture, followed through a network's graph from
its input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from .graph import INPUT, Graph, Node

Source = tuple[tuple[int, ...], int | None]
"""A tensor that an operation reads: its shape, and the axis of its channels."""


def channel_axes(graph: Graph) -> dict[str, int | None]:
    """By layer the axis of its result's channels; None where an operation before it does not tell."""
    found: dict[str, int | None] = {INPUT: 1}
    nodes = graph.by_name
    for node in graph.nodes[1:]:
        found[node.name] = _after(node, [(nodes[name].shape, found[name]) for name in node.inputs])
    return {layer: found[name] for layer, name in graph.layers.items()}


def query_layers(graph: Graph) -> frozenset[str]:
    """Layers whose tokens are no places of the picture, but questions that it is asked, however many there are: what
    comes of attention whose queries do not depend on it, as in a decoder, or what is taken out of tokens to which
    others were joined and is not as many as they were before. A single one, as a class token, is not meant."""
    found: dict[str, str | int] = {INPUT: ""}
    nodes = graph.by_name
    for node in graph.nodes[1:]:
        found[node.name] = _asked(node, [(nodes[name].shape, found[name]) for name in node.inputs])
    several = {name for name, node in nodes.items() if len(node.shape) == 3 and node.shape[1] > 1}
    return frozenset(layer for layer, name in graph.layers.items() if found[name] == "queries" and name in several)


def _asked(node: Node, given: Sequence[tuple[tuple[int, ...], str | int]]) -> str | int:
    """What the rows of a node's result are: "scores" of queries, the "weights" that these become, "queries"; a number
    where so many of the picture and others were joined; else ""."""
    fixed, (shape, first) = node.settings.get("fixed"), given[0]
    if node.kind == "matmul":
        return "scores" if fixed else "queries" if first == "weights" else first
    if fixed is not None:
        return "queries" if fixed else first
    if node.kind == "softmax" and first == "scores":
        return "weights"
    if len({known for _, known in given}) > 1:
        return ""
    tokens = len(shape) == len(node.shape) == 3
    if tokens and node.kind == "concat" and len(given) == 1 and first == "" and node.shape[1] > shape[1]:
        return shape[1]
    if tokens and node.kind in ("slice", "split") and isinstance(first, int) and node.shape[1] <= first:
        return "" if node.shape[1] == first else "queries"
    return first


def _after(node: Node, sources: Sequence[Source]) -> int | None:
    """The axis in a node's result. A convolution takes channels first and a dense layer last; a product of matrices
    mixes the rows of its second factor, or the columns of its first; what is left keeps them where they were."""
    rank, axes = len(node.shape), node.settings.get("axes", ())
    if "channels" in node.settings:
        return None if node.settings["channels"] is None else int(node.settings["channels"]) % rank
    if node.kind in ("conv", "conv_transpose"):
        return 1
    if node.kind == "linear":
        return rank - 1
    if node.kind == "layer_norm" and len(axes) == 1:
        return int(axes[0])
    if node.kind == "matmul":
        return _product(rank, sources, node.settings.get("turned", (False, False)))
    shape, axis = sources[0]
    if node.kind == "transpose":
        return None if axis is None else list(axes).index(axis)
    if node.kind in ("reshape", "flatten"):
        return None if axis is None else _reshaped(shape, axis, node.shape)
    same = {axis for shape, axis in sources if axis is not None and _keeps(shape, axis, node.shape)}
    if same:
        return same.pop() if len(same) == 1 else None
    if axis is not None and axis == len(shape) - 1 and node.shape[-1:] == shape[-1:]:
        return rank - 1
    return axis if axis is not None and node.shape[: axis + 1] == shape[: axis + 1] else None


def _keeps(before: tuple[int, ...], axis: int, after: tuple[int, ...]) -> bool:
    """Whether an operation that is not known leaves the axes in their order: where it changes this one, or others, but
    not both."""
    others = (*before[:axis], *before[axis + 1 :]) == (*after[:axis], *after[axis + 1 :])
    return len(before) == len(after) and (before[axis] == after[axis] or others)


def _product(rank: int, sources: Sequence[Source], turned: tuple[bool, bool]) -> int | None:
    """Of matrices, each perhaps ``turned`` before. Which factor the only one that depends on the picture is does not
    matter: if its channels are added up, others come in their place."""
    if len(sources) == 1 and any(turned):
        return None
    ends = [None if axis is None else axis - len(shape) for shape, axis in sources]
    known = {
        {-1: -2, -2: -1}.get(end, end) if turn else end
        for end, turn in zip(ends, turned, strict=False)
        if end is not None
    }
    return rank + known.pop() if len(known) == 1 else None


def _reshaped(before: tuple[int, ...], axis: int, after: tuple[int, ...]) -> int | None:
    """The axis among those that hold the same numbers; the last of several, as where channels are parted into heads.
    None where they became one with an axis behind them, or where there were no places."""
    reached, ends = list(accumulate(before, mul)), list(accumulate(after, mul))
    single = before[axis] == 1
    found = [k for k in range(1, len(after)) if ends[k] == reached[axis] and (after[k] == 1 or not single)]
    return min(found, key=lambda k: (after[k] == 1, -k)) if found and len(before) > 2 else None
