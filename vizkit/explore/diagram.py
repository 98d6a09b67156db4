"""A network's graph as the page draws it: nodes in blocks that open and close."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..contract.backend import Model
from ..contract.errors import SettingError
from ..contract.graph import INPUT
from ..draw.network.boxes import WORDS
from ..draw.network.steps import Step, joined_size, label
from .passes import observed


def diagram(model: Model) -> dict[str, Any]:
    """``nodes`` with the layer that each computes, ``edges`` between their ids, and ``blocks``; ``depth`` counts the
    longest way from the input. Where the framework shows no graph, the layers in a row."""
    try:
        graph = model.graph()
    except SettingError:
        return _row(model)
    layers = observed(model)
    nodes: list[dict[str, Any]] = []
    depth, shapes = {INPUT: 0}, {node.name: node.shape for node in graph.nodes}
    for node in graph.nodes:
        depth[node.name] = max((depth[one] + 1 for one in node.inputs), default=0)
        scope = node.scope.rpartition(".")[0] if node.scope == node.name else node.scope
        layer = INPUT if node.name == INPUT else layers.get(node.name)
        said = label(Step((node,), (), joined_size(node, shapes)), WORDS)
        nodes.append(_node(node.name, layer, said, node.kind, node.shape, scope, depth[node.name]))
    return {"nodes": nodes, "edges": [list(one) for one in graph.edges], "blocks": _blocks(model, nodes)}


def _row(model: Model) -> dict[str, Any]:
    inner = {name.rpartition(".")[0] for name in model.layers}
    leaves = [INPUT, *(name for name in model.layers if name not in inner)]
    kinds = {INPUT: ("input", (1, *model.spec.shape))}
    kinds |= {name: (layer.kind, layer.shape) for name, layer in model.layers.items()}
    nodes = [
        _node(name, name, kinds[name][0], *kinds[name], name.rpartition(".")[0], k) for k, name in enumerate(leaves)
    ]
    edges = [[a, b] for a, b in pairwise(leaves)]
    return {"nodes": nodes, "edges": edges, "blocks": _blocks(model, nodes)}


def _node(
    name: str, layer: str | None, label: str, kind: str, shape: Sequence[int], block: str, depth: int
) -> dict[str, Any]:
    return {
        "id": name, "layer": layer, "label": label, "kind": kind, "shape": list(shape), "block": block or None,
        "depth": depth,
    }  # fmt: skip


def _blocks(model: Model, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every block that holds a node, and those around it, in order of computation."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        parts = (node["block"] or "").split(".")
        for k in range(1, len(parts) + 1):
            name = ".".join(parts[:k])
            if not name:
                continue
            parent = name.rpartition(".")[0] or None
            kind = model.layers[name].kind if name in model.layers else ""
            block = found.setdefault(name, {"id": name, "parent": parent, "label": kind, "layer": None, "layers": []})
            if name in model.layers:
                block["layer"] = name
            if node["layer"] and node["layer"] != name:
                block["layers"].append(node["layer"])
    return list(found.values())
