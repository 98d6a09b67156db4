"""Tracing a Gluon network, once, to its graph: every operator, and which of its results each block returns.

The graph shows what blocks hide: functional ReLUs, dropout called as a function, blocks inside hybridised ones. Nothing
of the user's network has to be changed later to observe it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mxnet as mx

from vizkit.backend import OUTPUT
from vizkit.errors import SettingError

Entry = tuple[int, int]
"""A result in the graph: node number, and which of the node's outputs."""
PRIVATE = ("forward", "_forward_hooks", "_forward_pre_hooks")


@dataclass(frozen=True)
class Node:
    """One operator, or one variable when ``op`` is "null"."""

    op: str
    name: str
    attrs: dict[str, str]
    inputs: tuple[Entry, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in order of computation; ``layers`` maps a block's path to its result, ``kinds`` to its class, in the order
    in which blocks finish; ``entering`` to what goes in; ``reused`` are blocks that ran more than once."""

    nodes: tuple[Node, ...]
    layers: dict[str, Entry]
    entering: dict[str, Entry]
    kinds: dict[str, str]
    reused: frozenset[str]
    output: Entry
    symbol: Any
    heads: tuple[Entry, ...]

    def shapes(self, x: tuple[int, ...], further: Mapping[str, tuple[int, ...]]) -> dict[Entry, tuple[int, ...]]:
        """Shapes of all layers' results for an input of shape ``x``, and ``further`` ones, by inference; nothing is
        computed."""
        _, found, _ = self.symbol.infer_shape(data=x, **further)
        return dict(zip(self.heads, found, strict=True))


def blocks(root: Any) -> dict[str, Any]:
    """Every block inside ``root`` by structural path, each block once."""
    found: dict[str, Any] = {}
    seen = {id(root)}

    def walk(block: Any, prefix: str) -> None:
        for name, child in block._children.items():
            if id(child) not in seen:
                seen.add(id(child))
                found[f"{prefix}{name}"] = child
                walk(child, f"{prefix}{name}.")

    walk(root, "")
    return found


@contextmanager
def _watched(children: dict[str, Any], calls: list[tuple[str, Any, Any]]) -> Iterator[None]:
    """Note what each block gets and returns. The user's own hooks, which expect arrays, rest meanwhile."""

    def watch(path: str, forward: Any) -> Any:
        def call(*inputs: Any) -> Any:
            result = forward(*inputs)
            calls.append((path, inputs[0], result))
            return result

        return call

    before = {
        path: {key: child.__dict__[key] for key in PRIVATE if key in child.__dict__} for path, child in children.items()
    }
    try:
        for path, child in children.items():
            child.__dict__.update(forward=watch(path, child.forward), _forward_hooks={}, _forward_pre_hooks={})
        yield
    finally:
        for path, child in children.items():
            for key in PRIVATE:
                child.__dict__.pop(key, None)
            child.__dict__.update(before[path])


def trace(
    root: Any, size: tuple[int, ...], further: Mapping[str, tuple[int, ...]], choose: Callable[[Any], Any]
) -> Graph:
    """The graph of a network for inputs of shape ``size``, and ``further`` ones; ``choose`` picks its output from what
    it returns.

    Raises SettingError when the network cannot be written as a graph, that is, when it cannot be hybridised either.
    """
    calls: list[tuple[str, Any, Any]] = []
    children = blocks(root)
    try:
        with _watched(children, calls):
            returned = root.forward(mx.sym.var("data"), *map(mx.sym.var, further))
    except (AttributeError, TypeError, ValueError, NotImplementedError, AssertionError, mx.base.MXNetError) as error:
        raise SettingError(
            f"{type(root).__name__} cannot be traced to a graph ({type(error).__name__}: {error}). vizkit needs a "
            "network that can be hybridised: hybrid_forward with operators of F alone, not of shapes and values."
        ) from error
    output = choose(returned)
    with suppress(mx.base.MXNetError):  # of an input that it cannot take, which whoever runs it is told
        if len(output.infer_shape(data=size, **further)[1][0]) == 1:
            output = mx.sym.expand_dims(output, axis=1)
    if not children:
        inner = output.get_internals()
        calls = [
            (name.removesuffix("_output"), output, inner[name])
            for name in inner.list_outputs()
            if name not in ("data", *further)
        ]
        calls = [call for call in calls if call[0] not in root.collect_params()]
    single = [
        (path, source, result)
        for path, source, result in calls
        if isinstance(result, mx.sym.Symbol) and isinstance(source, mx.sym.Symbol) and len(result) == len(source) == 1
    ]
    counts: dict[str, int] = {}
    for path, _, _ in calls:
        counts[path] = counts.get(path, 0) + 1
    group = mx.sym.Group([output, *(result for _, _, result in single), *(source for _, source, _ in single)])
    graph = json.loads(group.tojson())
    heads = [(head[0], head[1]) for head in graph["heads"]]
    reused = frozenset(path for path, count in counts.items() if count > 1)
    results = dict(zip([path for path, _, _ in single], heads[1 : 1 + len(single)], strict=True))
    sources = dict(zip([path for path, _, _ in single], heads[1 + len(single) :], strict=True))
    nodes = tuple(_node(raw) for raw in graph["nodes"])
    layers = {path: entry for path, entry in results.items() if path not in reused}
    kinds = {path: type(children[path]).__name__ if children else nodes[layers[path][0]].op for path in layers}
    return Graph(nodes, layers, sources, kinds, reused, heads[0], group, tuple(heads))


def _node(raw: dict[str, Any]) -> Node:
    if raw.get("subgraphs"):
        raise SettingError(f"The network holds {raw['op']} ({raw['name']}), a loop or branch that no graph can show.")
    attrs = {key: value for key, value in raw.get("attrs", {}).items() if not key.startswith("__")}
    return Node(raw["op"], raw["name"], attrs, tuple((i, k) for i, k, *_ in raw["inputs"]))


def resolve(graph: Graph, path: str) -> Entry:
    """The result that a structural path, ``path:input`` or "output" names."""
    if path == OUTPUT:
        return graph.output
    if path.endswith(":input"):
        return graph.entering[path.removesuffix(":input")]
    return graph.layers[path]
