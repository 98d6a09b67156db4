"""A Gluon network's graph in vizkit's words, from the symbol to which it was traced."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vizkit.contract.backend import OUTPUT
from vizkit.contract.graph import Graph, Operation, build

from .operations import describe, products
from .trace import NORMS, Entry, infer, resolve
from .trace import Graph as Trace

STATISTICS = 3
"""The first input of a batch norm that is a stored statistic and no parameter."""

VALUES_READ = {"zeros_like": 0, "ones_like": 0, "broadcast_like": 1, "reshape_like": 1}
"""How many inputs give their values to operators that read the shape alone of the others."""


def graph(
    trace: Trace,
    paths: Mapping[str, str],
    size: tuple[int, ...],
    parameters: Mapping[str, Any],
    further: Mapping[str, tuple[int, ...]],
) -> Graph:
    """The graph for an input of shape ``size``, and ``further`` ones, of which it does not tell. ``paths`` maps layer
    names to structural paths; ``parameters`` are the shapes of variables by their names in the symbol."""
    shapes = _shapes(trace, size, further)
    scopes = _scopes(trace, paths)
    at: dict[int, int] = {}
    operations: list[Operation] = []
    charged: set[int] = set()
    owed: dict[int, int] = {}
    """Parameters of what does not depend on the picture, until something that does reads it."""
    for i, node in enumerate(trace.nodes):
        if node.op == "null":
            if node.name == "data":
                at[i] = len(operations)
                operations.append(Operation("input", (), size))
            continue
        read = VALUES_READ.get(node.op, len(node.inputs))
        sources = [(k, entry) for k, entry in enumerate(node.inputs[:read]) if entry[0] in at]
        own = [source for k, (source, _) in enumerate(node.inputs) if k < STATISTICS or node.op not in NORMS]
        fresh = {k for k in own if trace.nodes[k].op == "null" and trace.nodes[k].name in parameters} - charged
        charged |= fresh
        count = sum(math.prod(parameters[trace.nodes[k].name]) for k in fresh)
        count += sum(owed.pop(k, 0) for k in {source for source, _ in node.inputs})
        if not sources:
            owed[i] = count
            continue
        inputs = tuple(at[entry[0]] for _, entry in sources)
        source = shapes[sources[0][1]]
        kind, settings = describe(node.op, node.attrs, source)
        if kind == "matmul":
            settings["fixed"] = sources[0][0] > 0
        settings |= products(node.op, node.attrs, [shapes[entry] for entry in node.inputs], shapes[i, 0])
        if node.op == "FullyConnected" and len(source) > 2 and node.attrs.get("flatten", "True") == "True":
            # MXNet's dense layer flattens on its own.
            operations.append(Operation("flatten", inputs, (source[0], math.prod(source[1:]))))
            inputs = (len(operations) - 1,)
        at[i] = len(operations)
        operations.append(Operation(kind, inputs, shapes[i, 0], settings, count, scopes.get(i, "")))
    entries = {name: resolve(trace, path) for name, path in {**paths, OUTPUT: OUTPUT}.items()}
    return build(operations, {name: at[entry[0]] for name, entry in entries.items() if entry[0] in at})


def _shapes(
    trace: Trace, size: tuple[int, ...], further: Mapping[str, tuple[int, ...]]
) -> dict[Entry, tuple[int, ...]]:
    """The shape of every result, by inference; nothing is computed. Internals come in the trace's own order."""
    inner = trace.symbol.get_internals()
    found = infer(inner, {"data": size, **further})
    heads = [(node, k) for node, k, *_ in json.loads(inner.tojson())["heads"]]
    return dict(zip(heads, found, strict=True))


def _scopes(trace: Trace, paths: Mapping[str, str]) -> dict[int, str]:
    """For each operator the innermost layer within which it runs: between what enters the layer and its result."""
    readers: dict[int, list[int]] = {}
    for i, node in enumerate(trace.nodes):
        for source, _ in node.inputs:
            readers.setdefault(source, []).append(i)
    scopes: dict[int, str] = {}
    for name, path in sorted(paths.items(), key=lambda item: item[0].count(".")):
        if path in trace.entering and path in trace.layers:
            end = trace.layers[path][0]
            after = _reached(trace.entering[path][0], lambda i: readers.get(i, ()))
            before = {end} | _reached(end, lambda i: [source for source, _ in trace.nodes[i].inputs])
            scopes |= dict.fromkeys(after & before or {end}, name)
    direct = {resolve(trace, path)[0]: name for name, path in paths.items() if path.endswith(":input") and name != path}
    return scopes | direct


def _reached(start: int, following: Callable[[int], Iterable[int]]) -> set[int]:
    """All that follows a node, itself not included."""
    found: set[int] = set()
    waiting = [start]
    while waiting:
        for one in following(waiting.pop()):
            if one not in found:
                found.add(one)
                waiting.append(one)
    return found
