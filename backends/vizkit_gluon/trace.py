"""Tracing a Gluon network, once, to its graph: every operator, and which of its results each block returns.

The graph shows what blocks hide: functional ReLUs, dropout called as a function, blocks inside hybridised ones. Nothing
of the user's network has to be changed later to observe it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np

from vizkit.contract.backend import OUTPUT
from vizkit.contract.errors import SettingError

from .call import Given
from .ops import first_line

Entry = tuple[int, int]
"""A result in the graph: node number, and which of the node's outputs."""
Made = tuple[str, Any, Any]
"""A block that ran: its path, what it got, and what it returned."""
NORMS = ("BatchNorm", "_contrib_SyncBatchNorm")
SAME: tuple[str, dict[str, str]] = ("_copy", {})
LOSSES: dict[str, tuple[str, dict[str, str]] | None] = {
    "SoftmaxOutput": None,
    "Softmax": None,
    "LogisticRegressionOutput": ("sigmoid", {}),
    "LinearRegressionOutput": SAME,
    "MAERegressionOutput": SAME,
    "SVMOutput": SAME,
    "MakeLoss": SAME,
    "make_loss": SAME,
    "IdentityAttachKLSparseReg": SAME,
}
"""Ends of networks that are trained by MXNet's older means, and what they give: whatever is asked of them, their own
gradient is that of the loss with the labels beside, which are of no account here."""
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
    in which blocks finish; ``entering`` to what goes in; ``reused`` are blocks that ran more than once, ``repeated``
    their results."""

    nodes: tuple[Node, ...]
    layers: dict[str, Entry]
    entering: dict[str, Entry]
    kinds: dict[str, str]
    reused: frozenset[str]
    repeated: frozenset[Entry]
    output: Entry
    symbol: Any
    heads: tuple[Entry, ...]

    def shapes(self, x: tuple[int, ...], further: Mapping[str, tuple[int, ...]]) -> dict[Entry, tuple[int, ...]]:
        """Shapes of all layers' results for an input of shape ``x``, and ``further`` ones, by inference; nothing is
        computed."""
        found = infer(self.symbol, {"data": x, **further})
        return dict(zip(self.heads, found, strict=True))


def infer(symbol: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Shapes of all that a symbol returns, from those of what it reads; it need not read all. MXNet's own function
    prints what it cannot infer."""
    read = set(symbol.list_inputs())
    _, found, _ = symbol._infer_shape_impl(False, **{name: shape for name, shape in shapes.items() if name in read})
    if found is None:
        raise SettingError("The network has results whose shape MXNet cannot infer.")
    return list(map(tuple, found))


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


def parts(root: Any) -> list[Any]:
    """A network's blocks: where they are others, its graph is no longer that which was traced."""
    found = [root]
    for block in found:  # which grows meanwhile
        found += block._children.values()
    return found


@contextmanager
def _watched(children: dict[str, Any], calls: list[Made]) -> Iterator[None]:
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


def trace(root: Any, size: tuple[int, ...], given: Given, choose: Callable[[Any], Any]) -> Graph:
    """The graph of a network for inputs of shape ``size``, and those ``given`` beside; ``choose`` picks its output from
    what it returns.

    Raises SettingError when the network cannot be written as a graph, that is, when it cannot be hybridised either.
    """
    calls: list[Made] = []
    children = blocks(root)
    try:
        with _watched(children, calls):
            returned = root.forward(mx.sym.var("data"), *given.symbols())
    except (AttributeError, TypeError, ValueError, LookupError, NotImplementedError, AssertionError,
            mx.base.MXNetError) as error:  # fmt: skip
        raise SettingError(
            f"{type(root).__name__} cannot be traced to a graph ({type(error).__name__}: {first_line(str(error))}). "
            "vizkit needs a network that can be hybridised: hybrid_forward with operators of F alone, not of shapes "
            "and values."
        ) from error
    output = _batched(choose(returned), size, given, type(root).__name__)
    calls = _with_operators(children or {"": root}, calls, output)
    single = [
        (path, source, result)
        for path, source, result in calls
        if isinstance(result, mx.sym.Symbol) and isinstance(source, mx.sym.Symbol) and len(result) == len(source) == 1
    ]
    counts = Counter(path for path, _, _ in calls)
    group = mx.sym.Group([output, *(result for _, _, result in single), *(source for _, source, _ in single)])
    graph = json.loads(group.tojson())
    heads = [(head[0], head[1]) for head in graph["heads"]]
    reused = frozenset(path for path, count in counts.items() if count > 1)
    made = list(zip([path for path, _, _ in single], heads[1:], strict=False))
    repeated = frozenset(head for path, head in made if path in reused)
    results = dict(zip([path for path, _, _ in single], heads[1 : 1 + len(single)], strict=True))
    sources = dict(zip([path for path, _, _ in single], heads[1 + len(single) :], strict=True))
    nodes = tuple(_node(raw) for raw in graph["nodes"])
    layers = {path: entry for path, entry in results.items() if path not in reused}
    kinds = {path: type(children[path]).__name__ if path in children else nodes[layers[path][0]].op for path in layers}
    return Graph(nodes, layers, sources, kinds, reused, repeated, heads[0], group, tuple(heads))


def _batched(output: Any, size: tuple[int, ...], given: Given, name: str) -> Any:
    """A network's output, (N,) as (N, 1)."""
    if given.whole:
        _check_types(output, given, name)

    def shape(count: int) -> tuple[int, ...] | None:
        with suppress(mx.base.MXNetError):  # of an input that it cannot take, which whoever runs it is told
            return infer(output, {"data": (count, *size[1:]), **given.shapes(count)})[0]
        return None

    found = shape(1)
    if found is None or len(found) != 1:
        return output
    if shape(2) == found:
        raise SettingError(
            f"{name} returns an array of shape {found} for any number of pictures; expected one value, or more, for "
            "each: (N, ...)."
        )
    return mx.sym.expand_dims(output, axis=1)


def _check_types(output: Any, given: Given, name: str) -> None:
    """MXNet's operators convert no numbers, where PyTorch's do."""
    types = {"data": np.dtype(given.dtype).type} | {key: one.dtype for key, one in given.arrays.items()}
    read = set(output.list_inputs())
    try:
        output._infer_type_impl(False, **{key: one for key, one in types.items() if key in read})
    except mx.base.MXNetError as error:
        raise SettingError(
            f"{name} cannot take {' and '.join(given.whole)} beside pictures of {given.dtype}: "
            f"{first_line(str(error))}. Whole numbers are handed on as they are; give as floating-point numbers what "
            "the network computes with."
        ) from None


def _with_operators(found: Mapping[str, Any], calls: list[Made], output: Any) -> list[Made]:
    """``calls``, and before that of each block that is a graph itself its operators, by the graph's names. ``found``
    are blocks by path; a root without children has "" as its own, and is such a block."""
    inner = output.get_internals()
    counts, variables = Counter(inner.list_outputs()), set(inner.list_inputs())
    ran = Counter(path for path, _, _ in calls)
    made: list[Made] = []
    for path, source, result in [*calls, *([("", output, output)] if "" in found else [])]:
        if path == "":
            own = set(counts)
        elif isinstance(found[path], mx.gluon.SymbolBlock) and ran[path] == 1:
            own = set(found[path]._cached_graph[1].get_internals().list_outputs())
        else:
            own = set()
        made += [
            (f"{path}.{name}".removeprefix(".").removesuffix("_output"), output, inner[name])
            for name in counts
            if name in own - variables and counts[name] == 1
        ]
        if path:
            made.append((path, source, result))
    return made


def _node(raw: dict[str, Any]) -> Node:
    if raw.get("subgraphs"):
        raise SettingError(f"The network holds {raw['op']} ({raw['name']}), a loop or branch that no graph can show.")
    attrs = {key: value for key, value in raw.get("attrs", {}).items() if not key.startswith("__")}
    op, inputs = raw["op"], tuple((i, k) for i, k, *_ in raw["inputs"])
    if op in LOSSES:
        (op, attrs), inputs = LOSSES[op] or _softmax(attrs), inputs[:1]
    return Node(op, raw["name"], attrs, inputs)


def _softmax(attrs: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """What a SoftmaxOutput gives: over all values of a picture, unless it is told another axis."""
    if attrs.get("multi_output") in ("True", "1", "true"):
        return "softmax", {"axis": "1"}
    if attrs.get("preserve_shape") in ("True", "1", "true"):
        return "softmax", {"axis": "-1"}
    return "softmax", {"axis": "-1", "over": "all"}


def resolve(graph: Graph, path: str) -> Entry:
    """The result that a structural path, ``path:input`` or "output" names."""
    if path == OUTPUT:
        return graph.output
    if path.endswith(":input"):
        return graph.entering[path.removesuffix(":input")]
    return graph.layers[path]
