"""Sizes against torchinfo and fvcore, and the table on the command line."""

from __future__ import annotations

import doctest
import json
import math
from functools import lru_cache
from typing import Any

import pytest
from conftest import INSTALLED, both, call
from kits import blank

import vizkit
from vizkit.network import diagram as drawing
from vizkit.network.graph import AFFINE
from vizkit.techniques.network import table

NETWORKS = ("squeezenet1_1", "resnet18", "googlenet", "shapes")
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="torchinfo and fvcore read PyTorch's networks")


@lru_cache(maxsize=4)
def loaded(model: str) -> Any:
    return blank.load(model, "torch")


@torch_only
@pytest.mark.parametrize("model", NETWORKS)
def test_shapes_and_parameters_are_torchinfos(model: str) -> None:
    torchinfo = pytest.importorskip("torchinfo")
    own = loaded(model)
    size = (1, 3, *own.spec.size)
    summary = torchinfo.summary(own.native.cpu().requires_grad_(True), input_size=size, verbose=0, depth=9)
    own.native.requires_grad_(False)
    theirs = {info.module: info for info in summary.summary_list}
    rows = {row.name: row for row in table.rows(own)}
    compared = 0
    for name, module in own.native.named_modules():
        if name in rows and module in theirs:
            assert list(rows[name].shape) == theirs[module].output_size, name
            assert rows[name].parameters == sum(p.numel() for p in module.parameters()), name
            compared += 1
    assert compared >= len(own.layers)
    assert table.totals(list(rows.values()))[0] == summary.total_params
    # torchinfo counts biases and norms as products too: a convolution's once a place, the rest once an image.
    biases = 0
    for row in rows.values():
        if row.kind == "conv" and f"{row.name}.bias" in own.parameter_shapes():
            biases += math.prod(row.shape)
        elif row.kind == "linear":
            biases += row.shape[1]
        elif row.kind == "batch_norm":
            biases += row.parameters
    assert table.totals(list(rows.values()))[1] + biases == summary.total_mult_adds


@torch_only
@pytest.mark.parametrize("model", NETWORKS)
def test_multiply_adds_are_fvcores(model: str) -> None:
    """Layer by layer, of convolutions and dense layers."""
    import torch

    fvcore = pytest.importorskip("fvcore.nn")
    own = loaded(model)
    counted = fvcore.FlopCountAnalysis(own.native.cpu(), torch.zeros(1, 3, *own.spec.size))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    theirs = counted.by_module()
    rows = [row for row in table.rows(own) if row.kind in AFFINE]
    assert {row.name: row.multiply_adds for row in rows} == {row.name: theirs[row.name] for row in rows}
    by_operator = counted.by_operator()
    assert sum(row.multiply_adds for row in rows) == by_operator["conv"] + by_operator["linear"]


@pytest.mark.quick
def test_by_hand(kit: Any) -> None:
    layers = [("conv", 3, 4, 3, 1), ("norm", 4), ("pool",), ("flatten",), ("dense", 4 * 4 * 6, 5)]
    model = vizkit.wrap(kit.sequential(layers), input_size=(8, 12), mean=(0.5,) * 3, std=(0.5,) * 3)
    rows = table.rows(model)
    assert [(row.parameters, row.multiply_adds) for row in rows] == [
        (3 * 4 * 9 + 4, 8 * 12 * 4 * 27),
        (8, 0),
        (0, 0),
        (0, 0),
        (96 * 5 + 5, 96 * 5),
    ]
    assert [row.field.text() for row in rows] == ["3 x 3", "3 x 3", "4 x 4", "whole image", "whole image"]
    assert (rows[2].field.start, rows[2].field.stride) == ((-1, -1), (2, 2))


@torch_only
def test_multiply_adds_are_pytorchs_own() -> None:
    """Of convolutions with any number of axes, either way round, of products of matrices and of attention."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    w = torch.zeros
    ways: dict[str, Any] = {
        "conv1d": (nn.Conv1d(2, 6, 3, stride=2, groups=2), (2, 15)),
        "conv3d": (nn.Conv3d(2, 6, 3, groups=2), (2, 5, 6, 7)),
        "conv_transpose1d": (nn.ConvTranspose1d(2, 6, 3, stride=2, groups=2), (2, 15)),
        "conv_transpose2d": (nn.ConvTranspose2d(2, 6, 3, stride=2), (2, 5, 6)),
        "conv_transpose3d": (nn.ConvTranspose3d(2, 6, 3), (2, 5, 6, 7)),
        "first": (lambda x: x @ w(15, 4), (2, 15)),
        "second": (lambda x: torch.matmul(w(7, 2), x), (2, 15)),
        "bmm": (lambda x: torch.bmm(w(1, 7, 2), x), (2, 15)),
        "addmm": (lambda x: torch.addmm(w(7), x[0], w(15, 7)), (2, 15)),
        "baddbmm": (lambda x: torch.baddbmm(x[:, :1], x.transpose(1, 2), x), (2, 15)),
        "fused": (lambda x: F.scaled_dot_product_attention(x, w(1, 9, 15), w(1, 9, 4)), (2, 15)),
        "attention": (nn.MultiheadAttention(15, 3, batch_first=True), (2, 15)),
    }
    for name, (way, shape) in ways.items():

        class Network(nn.Module):
            def __init__(self, way: Any) -> None:
                super().__init__()
                self.way, self.own = way, nn.Parameter(torch.zeros(1))

            def forward(self, x: Any) -> Any:
                found = self.way(x, x, x)[0] if isinstance(self.way, nn.MultiheadAttention) else self.way(x)
                return found.sum().reshape(1, 1)

        network = Network(way).eval()
        model = vizkit.wrap(network, input_size=shape[1:], mean=(0,) * shape[0], std=(1,) * shape[0])
        counter = FlopCounterMode(display=False)
        with counter:
            network(torch.zeros(1, *shape))
        assert 2 * (table.totals(table.rows(model))[1] or 0) == counter.get_total_flops() > 0, name


@torch_only
@pytest.mark.parametrize("kind", ["gru", "einsum"])
def test_what_cannot_be_counted_is_not_nothing(kind: str) -> None:
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Conv1d(2, 4, 3))
            self.mix, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            y = self.inner(x).transpose(1, 2)
            y = self.mix(y)[0] if kind == "gru" else torch.einsum("ntc,cd->ntd", y, torch.ones(4, 5))
            return self.head(y.mean(1))

    model = vizkit.wrap(Network(), input_size=(12,), mean=(0,) * 2, std=(1,) * 2)
    rows = {row.kind: row for row in table.rows(model)}
    assert (rows[kind].multiply_adds, rows["block"].multiply_adds) == (None, 10 * 4 * 2 * 3)
    assert rows[kind].cells()[4] == "?"
    lines = table.text(model, table.rows(model)).splitlines()
    assert lines[-2].split()[-1] == "?"
    assert table.MISSING in lines[-1]
    assert table.as_json(model, table.rows(model))["total"]["multiply_adds"] is None
    assert "uncounted multiply-adds" in drawing.diagram(model).scene.title


@pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's operators")
def test_multiply_adds_of_gluons_operators() -> None:
    from mxnet.gluon import nn as gluon
    from mxnet.gluon import rnn

    def of(*layers: Any) -> Any:
        network = gluon.HybridSequential()
        network.add(*layers)
        network.initialize()
        return table.rows(vizkit.wrap(network, input_size=(15,), mean=(0,) * 2, std=(1,) * 2))

    def mixed(F: Any, x: Any) -> Any:
        return F.batch_dot(x, F.batch_dot(x, x, transpose_a=True))

    conv, back = gluon.Conv1D(6, 3, groups=2), gluon.Conv1DTranspose(4, 3, strides=2)
    assert [row.multiply_adds for row in of(conv, back)] == [13 * 6 * 1 * 3, 13 * 6 * 4 * 3]
    rows = of(gluon.HybridLambda(mixed), gluon.Dense(3))
    assert [row.multiply_adds for row in rows if row.kind == "matmul"] == [15 * 15 * 2, 2 * 15 * 15]
    assert table.totals(of(rnn.GRU(4, layout="NTC", input_size=15)))[1] is None


@both()
def test_the_command_prints_equal_numbers(capsys: Any) -> None:
    code, out, err = call(capsys, "layers", "squeezenet1_1", "--json", "-b", "torch", "-b", "gluon")
    assert code == 0, err
    first, second = (json.loads(line) for line in out.splitlines())
    assert first | {"backend": ""} == second | {"backend": ""}
    assert first["total"] == {"parameters": 1235496, "multiply_adds": 349151936}


def test_the_table(capsys: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # a line of any length
    code, out, _ = call(capsys, "layers", "squeezenet1_1", "-b", name)
    lines = out.splitlines()
    assert code == 0
    assert " ".join(lines[1].split()) == "name kind output shape parameters multiply-adds receptive field stride"
    line = next(line for line in lines if line.startswith("features.3.expand3x3 "))
    assert " ".join(line.split()) == "features.3.expand3x3 conv 1 x 64 x 55 x 55 9,280 27,878,400 15 x 15 4 x 4"
    assert lines[-2].split() == ["total", "66", "operations", "1,235,496", "349,151,936"]


@pytest.mark.parametrize("module", [table, drawing])
def test_docstring_examples_run(module: Any) -> None:
    assert doctest.testmod(module) == (0, 3)
