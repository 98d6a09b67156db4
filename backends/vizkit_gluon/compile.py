"""A part of a graph as one compiled operator."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import mxnet as mx

from .execute import settings
from .trace import Entry, Graph

NDArray = Any
Slot = tuple[str, Any]
"""Where an input of the operator comes from: ("x", None), ("add", layer), ("parameter", name), or ("weight" or "bias",
convolution), the folded ones."""

VERSION = {"mxnet_version": ["int", 10901]}
"""Of the format; without it MXNet takes the graph for an old one and says so."""
FEW = 8
"""Results beyond which compiling loses: a compiled operator brings each of them to plain memory, read or not."""


class Program:
    """A compiled part. ``results`` are the positions of the kept layers among what the operator returns."""

    def __init__(self, symbol: Any, slots: Mapping[str, Slot], results: Mapping[str, int]) -> None:
        self._operator = mx.nd.CachedOp(symbol)
        self._slots = [slots[name] for name in symbol.list_inputs()]
        self._results = results

    def run(
        self,
        x: NDArray,
        add: Mapping[str, NDArray],
        parameter: Callable[[str], NDArray],
        folded: Mapping[int, tuple[NDArray, NDArray]],
    ) -> dict[str, NDArray]:
        """The kept layers by name."""
        inputs = []
        for kind, key in self._slots:
            if kind == "x":
                inputs.append(x)
            elif kind == "add":
                inputs.append(add[key])
            elif kind == "parameter":
                inputs.append(parameter(key).detach())
            else:
                inputs.append(folded[key][kind == "bias"])
        found = self._operator(*inputs)
        values = found if isinstance(found, list | tuple) else [found]
        return {name: values[at] for name, at in self._results.items()}


class _Writer:
    """Writes the graph's nodes anew. ``reach`` are the leaves (the input, and what is added) behind each node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[dict[str, Any]] = []
        self.reach: list[frozenset[str]] = []
        self.slots: dict[str, Slot] = {}
        self.variables: dict[str, Entry] = {}
        self.numbers: dict[int, int] = {}
        self.replaced: dict[Entry, Entry] = {}

    def write(self, op: str, name: str, attrs: Mapping[str, str], inputs: Sequence[Entry]) -> int:
        self.nodes.append({"op": op, "name": name, "attrs": dict(attrs), "inputs": [[i, k, 0] for i, k in inputs]})
        self.reach.append(frozenset[str]().union(*(self.reach[i] for i, _ in inputs)))
        return len(self.nodes) - 1

    def variable(self, slot: Slot) -> Entry:
        name = f"{slot[0]}:{slot[1]}"
        if name not in self.variables:
            self.slots[name] = slot
            self.variables[name] = (self.write("null", name, {}, ()), 0)
            if slot[0] in ("x", "add"):
                self.reach[-1] = frozenset((name,))
        return self.variables[name]

    def read(self, entry: Entry) -> Entry:
        """Where a result of the graph is found here."""
        if entry in self.replaced:
            return self.replaced[entry]
        i, k = entry
        node = self.graph.nodes[i]
        if node.op == "null":
            return self.variable(("x", None) if node.name == "data" else ("parameter", node.name))
        return self.numbers[i], k

    def node(self, i: int, folded: bool) -> None:
        """One operator; a folded convolution reads its folded weights."""
        node = self.graph.nodes[i]
        op, attrs = settings(node)
        if folded:
            inputs = [self.read(node.inputs[0]), self.variable(("weight", i)), self.variable(("bias", i))]
            attrs = attrs | {"no_bias": "False"}
        else:
            inputs = [self.read(entry) for entry in node.inputs]
        self.numbers[i] = self.write(op, node.name, attrs, inputs)

    def symbol(self, heads: Sequence[Entry]) -> Any:
        variables = [i for i, node in enumerate(self.nodes) if node["op"] == "null"]
        found = {"nodes": self.nodes, "arg_nodes": variables, "heads": [[i, k, 0] for i, k in heads]}
        found["attrs"] = VERSION
        return mx.sym.load_json(json.dumps(found))


def compiled(
    graph: Graph,
    plan: Sequence[int],
    keep: Mapping[str, Entry],
    add: Collection[str],
    at: Sequence[tuple[str, Entry]],
    pairs: Mapping[int, int],
) -> Program | None:
    """The nodes of ``plan`` as one operator, batch norms in ``pairs`` folded unless their convolution is in ``at``;
    ``keep``, ``add`` and ``at`` as :meth:`Executor.run` takes them.

    None where the operator would hide that a kept layer does not depend on a leaf, or where nothing is gained.
    """
    writer, points = _Writer(graph), {entry for _, entry in at}
    folds = {norm: conv for norm, conv in pairs.items() if (conv, 0) not in points}
    convs = set(folds.values())
    kept: dict[str, Entry] = {}
    for i in plan:
        node = graph.nodes[i]
        if node.op == "BlockGrad":
            return None
        if node.op == "Dropout" or i in folds:
            writer.replaced[i, 0] = writer.read(node.inputs[0])
        elif node.op != "null":
            writer.node(i, i in convs)
        for name, entry in (point for point in at if point[1][0] == i):
            value = writer.read(entry)
            if name in add:
                term = writer.variable(("add", name))
                value = writer.replaced[entry] = (writer.write("elemwise_add", f"add:{name}:sum", {}, [value, term]), 0)
            if name in keep:
                kept[name] = value
    leaves = frozenset(name for name, slot in writer.slots.items() if slot[0] in ("x", "add"))
    computed = all(writer.nodes[i]["op"] != "null" and writer.reach[i] == leaves for i, _ in kept.values())
    if not computed or len(leaves) != len(add) + 1:
        return None
    heads = list(dict.fromkeys(kept.values()))
    if len(heads) > FEW:
        return None
    results = {name: heads.index(entry) for name, entry in kept.items()}
    return Program(writer.symbol(heads), writer.slots, results)
