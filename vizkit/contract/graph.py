"""A network's graph as its framework computes it, in words that are the same in every framework.

The words, each with its settings; pairs are (height, width), and what stands in brackets may be left out:

* ``conv`` and ``conv_transpose`` over pictures: kernel, stride, padding (before, in pixels), dilation, groups.
* ``max_pool``: kernel, stride, padding, ceil_mode, dilation; ``avg_pool`` the same without dilation. A global or
  adaptive pool is the plain one that it is for this size; where its windows differ, it has ``adaptive`` alone.
* ``linear``, a dense layer, without settings.
* ``batch_norm``, ``layer_norm`` (axes), ``group_norm``, ``instance_norm``, ``local_response_norm``.
* :data:`ACTIVATIONS`; ``softmax`` and ``log_softmax`` (axes).
* ``add``, ``sub``, ``mul``, ``div``, ``pow``, ``sqrt``, ``exp``, ``log``, ``abs``, ``neg``, ``maximum``, ``minimum``,
  ``where``, ``matmul``; ``mean`` and ``sum`` ([axes], all but the first where they are left out).
* ``concat``, ``slice``, ``split``, ``flatten``, ``reshape``, ``transpose`` (axes, the new order), ``pad`` (padding),
  ``upsample``; ``dropout`` and ``identity``, which change no value.

Any other operation keeps the framework's own name: its diagram is right, and behind it receptive fields are unknown.
Where kind and shape do not tell, settings say more: ``channels``, the axis in which an operation puts the channels, or
None; ``products``, its multiply-adds for one image, or None where nobody can count them; ``turned``, which of the two
factors of a matmul are transposed first; ``fixed``, of a matmul and of attention, whether the first factor, or
the queries, do not depend on the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

INPUT = "input"
AFFINE = ("conv", "conv_transpose", "linear")
POOLS = ("max_pool", "avg_pool")
COMMUTATIVE = ("add", "mul", "maximum", "minimum")
ACTIVATIONS = frozenset(
    (
        *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh"),
        *("softplus", "softsign", "hardswish", "hardsigmoid", "hardtanh", "clip"),
    )
)
SILENT = ("dropout", "flatten", "identity")
"""Kinds that change no value in inference and that a framework may or may not write down."""

NONNEGATIVE = frozenset(("relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "exp", "abs", "sqrt"))
"""Kinds whose results have no negative values."""
KEEPS_SIGNS = frozenset((*SILENT, *POOLS, "mean", "concat", "slice", "split", "reshape", "transpose"))
"""Kinds of which that holds where it holds of all that they read."""


def nonnegative(kind: str, sources: Iterable[bool]) -> bool:
    """Whether an operation's results have no negative values, given of each tensor that it reads whether that has
    none."""
    return kind in NONNEGATIVE or (kind in KEEPS_SIGNS and all(sources))


@dataclass(frozen=True)
class Node:
    """One operation. ``name`` is the layer's name where the operation is a layer's result, and otherwise the innermost
    block with the kind, ``layer1.0/add``. ``kind`` is one of vizkit's words (conv, batch_norm, relu, max_pool, concat),
    or the framework's own name of an operation that vizkit has no word for. ``inputs`` are names of nodes, in the
    operation's order. ``shape`` is that of the result for a batch of one. ``settings`` holds pairs (height, width):
    kernel, stride, padding (before, in pixels) and dilation; groups, ceil_mode; axes. ``parameters`` counts the
    trainable numbers that this node is the first to use; ``scope`` is the innermost block that holds it."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    scope: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in order of computation, the first of them the input; ``layers`` maps every observable layer, blocks
    too, and "output" to the node that computes its result."""

    nodes: tuple[Node, ...]
    layers: Mapping[str, str]

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Pairs (from, to), in order of computation."""
        return [(source, node.name) for node in self.nodes for source in node.inputs]

    def bottlenecks(self) -> set[str]:
        """Nodes through which everything passes on its way from the input to the output: none inside a branch, such
        as a residual block's, and none that looks at parameters alone."""
        fed, places = {INPUT}, {node.name: i for i, node in enumerate(self.nodes)}
        for node in self.nodes:
            fed |= {node.name} if fed.intersection(node.inputs) else set()
        last = self.layers["output"]
        needed = {last}
        for node in reversed(self.nodes):
            needed |= set(node.inputs) if node.name in needed else set()
        way = [node for node in self.nodes if node.name in fed & needed]
        reach = {node.name: places[node.name] for node in way}
        for node in way:
            reach |= {name: places[node.name] for name in node.inputs if name in reach}
        found, furthest = set(), 0
        for node in way:
            if furthest <= places[node.name]:
                found.add(node.name)
            furthest = max(furthest, reach[node.name])
        return found


@dataclass(frozen=True)
class Operation:
    """What a backend says of one operation: as :class:`Node`, with ``inputs`` as positions in the list."""

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    scope: str = ""


def build(operations: Sequence[Operation], layers: Mapping[str, int]) -> Graph:
    """The graph of what feeds the output, and names for its nodes.

    ``layers`` maps names, "output" among them, to positions. A layer without layers inside it gives its name to the
    operation in its own scope that computes its result, unless the input has that name; every other operation is called
    by its scope and kind, with a number where that name is taken.
    """
    inner = {name.rpartition(".")[0] for name in layers}
    names = {0: INPUT}
    for name, at in layers.items():
        if name not in (*inner, INPUT) and operations[at].scope == name:
            names[at] = name
    taken = {INPUT, *layers}
    for i, operation in enumerate(operations):
        if i in names:
            continue
        stem = f"{operation.scope}/{operation.kind}" if operation.scope else operation.kind
        numbered = (f"{stem}.{number}" for number in count(2))
        names[i] = next(name for name in chain((stem,), numbered) if name not in taken)
        taken.add(names[i])
    needed = {0, *layers.values()}  # what some layer's result depends on
    for i in range(len(operations) - 1, -1, -1):
        if i in needed:
            needed.update(operations[i].inputs)
    nodes = []
    for i in sorted(needed):
        one = operations[i]
        inputs = tuple(names[k] for k in one.inputs)
        nodes.append(Node(names[i], one.kind, inputs, one.shape, one.settings, one.parameters, one.scope))
    return Graph(tuple(nodes), {name: names[at] for name, at in layers.items()})


def canonical(graph: Graph) -> Graph:
    """The graph without what changes no value (dropout, flatten, a pool of single pixels), each silent node's
    successors joined to what feeds it, and the inputs of sums and products sorted: equal for one network in two
    frameworks. Parameters are counted as before; scopes and layers are left out."""
    stands: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(stands.get(name, name) for name in node.inputs)
        if silent(node):
            stands[node.name] = inputs[0]
            continue
        inputs = tuple(sorted(inputs)) if node.kind in COMMUTATIVE else inputs
        nodes.append(replace(node, inputs=inputs, scope=""))
    return Graph(tuple(sorted(nodes, key=lambda node: node.name)), {})


def silent(node: Node) -> bool:
    """Whether a node changes no value in inference: one of :data:`SILENT`, or a pool of single pixels."""
    pool = node.kind in POOLS and "kernel" in node.settings
    single = pool and math.prod(node.settings["kernel"]) == 1 == math.prod(node.settings["stride"])
    return node.kind in SILENT or single


def multiply_adds(node: Node, graph: Mapping[str, Node]) -> int | None:
    """Products that convolutions, dense layers and matrix products of one image add up, None where they cannot be
    counted; biases, norms, activations and pools are not. A padded pixel counts as any other, as is usual."""
    if "products" in node.settings:
        return None if node.settings["products"] is None else int(node.settings["products"])
    if not node.inputs:
        return 0
    source = graph[node.inputs[0]].shape
    if node.kind in ("conv", "conv_transpose"):
        if "kernel" not in node.settings:
            return None
        channels, places = (source[1], node.shape) if node.kind == "conv" else (node.shape[1], source)
        return math.prod((*places, *node.settings["kernel"])) * channels // int(node.settings["groups"])
    if node.kind in ("linear", "matmul"):
        return math.prod(node.shape) * source[-1]
    return 0
