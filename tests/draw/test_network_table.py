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


@both()
def test_the_command_prints_equal_numbers(capsys: Any) -> None:
    code, out, err = call(capsys, "layers", "squeezenet1_1", "--json", "-b", "torch", "-b", "gluon")
    assert code == 0, err
    first, second = (json.loads(line) for line in out.splitlines())
    assert first | {"backend": ""} == second | {"backend": ""}
    assert first["total"] == {"parameters": 1235496, "multiply_adds": 349151936}


def test_the_table(capsys: Any, name: str) -> None:
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
