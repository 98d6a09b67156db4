"""The graph: PyTorch's against torch.fx, Gluon's against PyTorch's, and networks of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE, blank

import vizkit
from vizkit.network.graph import canonical
from vizkit.techniques.network import table
from vizkit.techniques.network.receptive import fields

SPEC: dict[str, Any] = {"input_size": TRAPS_SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3}
SMALL = ("shapes", "squeezenet1_1", "resnet18", "googlenet")
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch's own forms of a network")


def same_in_both(model: str) -> None:
    """Graph, sizes and receptive fields of one network in both backends, number by number."""
    torch, gluon = (blank.load(model, name) for name in ("torch", "gluon"))
    one, other = canonical(torch.graph()), canonical(gluon.graph())
    assert [node.name for node in one.nodes] == [node.name for node in other.nodes]
    for mine, theirs in zip(one.nodes, other.nodes, strict=True):
        assert mine == theirs
    assert one.edges == other.edges
    rows, others = ({row.name: row for row in table.rows(model)} for model in (torch, gluon))
    shared = set(rows) & set(others)
    assert {name for name in (*rows, *others) if name not in shared} <= {"avgpool", "flatten", "features"}
    assert len(shared) >= len(torch.layers) - 2
    for name in shared:
        assert rows[name].json() | {"observable": 0} == others[name].json() | {"observable": 0}
    assert table.totals(list(rows.values())) == table.totals(list(others.values()))


@both()
@pytest.mark.parametrize("model", SMALL)
def test_both_backends_show_the_same_graph(model: str) -> None:
    same_in_both(model)


@both()
@pytest.mark.full_size
@pytest.mark.parametrize("model", ["vgg19", "resnet152"])
def test_both_backends_show_the_same_graph_of_large_networks(model: str) -> None:
    same_in_both(model)


@torch_only
@pytest.mark.parametrize("model", ["googlenet", "resnet18", "squeezenet1_1"])
def test_edges_are_those_of_torch_fx(model: str) -> None:
    """Operation by operation in order of execution: the same modules, and the same operations that each reads."""
    from torch import fx

    loaded = blank.load(model, "torch")
    graph = loaded.graph()
    theirs = [node for node in fx.symbolic_trace(loaded.native).graph.nodes if node.op != "output"]
    place = {node: i for i, node in enumerate(theirs)}
    mine = {node.name: i for i, node in enumerate(graph.nodes)}
    assert len(theirs) == len(graph.nodes)
    for node, own in zip(theirs, graph.nodes, strict=True):
        assert {place[source] for source in node.all_input_nodes} == {mine[name] for name in own.inputs}, own.name
        if own.name in loaded.layers:
            assert node.target == own.name
        else:
            assert node.op in ("call_function", "placeholder") or own.kind == "relu"


@pytest.mark.quick
def test_every_layer_has_its_place(kit: Any) -> None:
    native = kit.sequential(TRAPS)
    before = kit.snapshot(native)
    model = vizkit.wrap(native, **SPEC)
    graph = model.graph()
    assert kit.snapshot(native) == before
    assert [node.name for node in graph.nodes] == ["input", *map(str, range(len(TRAPS)))]
    kinds = {"norm": "batch_norm", "pool": "max_pool", "dense": "linear"}
    assert [node.kind for node in graph.nodes[1:]] == [kinds.get(kind, kind) for kind, *_ in TRAPS]
    assert graph.layers == {name: name for name in model.layers} | {"output": str(len(TRAPS) - 1)}
    assert all(graph[name].shape == layer.shape for name, layer in model.layers.items())


@pytest.mark.quick
def test_what_runs_twice_and_what_is_thrown_away(kit: Any) -> None:
    """A block used twice is two operations of the scope around it; what nobody reads is shown as a layer's result."""
    options = SPEC | {"input_size": 6}
    graph = canonical(vizkit.wrap(kit.reuse(), **options).graph())
    assert graph.edges == [
        ("input", "conv"),
        ("relu.2", "last"),
        ("conv", "relu"),
        ("sub", "relu.2"),
        ("relu", "sub"),
    ]
    side = vizkit.wrap(kit.side(), **options).graph()
    assert ("conv", "side") in side.edges
    assert set(side["add"].inputs) == {"conv", "sum"}
    assert not [edge for edge in side.edges if edge[0] == "side"]
    field = fields(side)
    assert (field["side"].text(), field["add"].text(), field["last"].text()) == ("5 x 5", "3 x 3", "whole image")


@pytest.mark.quick
@torch_only
def test_torch_networks_that_symbolic_tracing_refuses() -> None:
    """Control flow over values, in-place writing, one's own function, shared weights, arithmetic among parameters."""
    import torch
    from torch import fx, nn
    from torch.nn import functional

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            return 2 * x + bias

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(4, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Twice.apply(x, self.bias)

    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding="same")
            self.gain = nn.Parameter(torch.ones(4, 1, 1, 1))
            self.own = Own()
            self.grouped = nn.Conv2d(4, 8, 3, groups=2, bias=False, padding_mode="reflect", padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if float(x.sum()) > 1e9:
                return x
            y = functional.conv2d(self.conv(x), self.gain * 2, groups=4)
            y += 1
            y.relu_()
            y = self.own(y)
            parts = self.grouped(y).chunk(2, dim=1)
            return functional.conv2d(torch.cat(parts[::-1], 1)[:, :4], self.gain, groups=4).mean((2, 3))

    network = Free()
    with pytest.raises((fx.proxy.TraceError, TypeError)):
        fx.symbolic_trace(network)
    graph = vizkit.wrap(network, input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3).graph()
    assert [(node.name, node.parameters) for node in graph.nodes] == [
        ("input", 0),
        ("conv", 112),
        ("conv.2", 4),
        ("add", 0),
        ("relu", 0),
        ("own/mul", 0),
        ("own", 4),
        ("grouped/pad", 0),
        ("grouped", 144),
        ("split", 0),
        ("concat", 0),
        ("slice", 0),
        ("conv.3", 0),
        ("mean", 0),
    ]
    assert graph["concat"].inputs == ("split", "split")
    assert graph["grouped"].settings["groups"] == 2
    assert sum(node.parameters for node in graph.nodes) == sum(p.numel() for p in network.parameters())
    found = fields(graph)
    assert [found[name].text() for name in ("own", "slice", "conv.3", "mean")] == [
        *("3 x 3", "5 x 5", "5 x 5", "whole image"),
    ]


@pytest.mark.quick
@pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's own forms of a network")
def test_gluon_networks_with_activations_inside_layers() -> None:
    import mxnet as mx
    from mxnet.gluon import nn

    network = nn.HybridSequential()
    network.add(nn.Conv2D(4, 3, activation="relu"), nn.GlobalMaxPool2D(), nn.Dense(5, activation="sigmoid"))
    network.initialize(mx.init.Xavier())
    graph = vizkit.wrap(network, **SPEC).graph()
    assert [(node.name, node.kind) for node in graph.nodes] == [
        ("input", "input"),
        ("0/conv", "conv"),
        ("0.act", "relu"),
        ("1", "max_pool"),
        ("flatten", "flatten"),
        ("2/linear", "linear"),
        ("2.act", "sigmoid"),
    ]
    assert graph.layers["0"] == "0.act"
    assert np.prod(graph["1"].settings["kernel"]) == 14 * 14
