"""What makes a seed give the same bits on a GPU, followed where there is none: gradients without sums in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
import torch.nn.functional as F
from torch import nn

from vizkit_torch.prepare import Folded, Pair

pytestmark = pytest.mark.cpu

SETTINGS: dict[str, dict[str, Any]] = {
    "1x1": {"kernel_size": 1},
    "3x3": {"kernel_size": 3, "padding": 1},
    "5x5, padded by one": {"kernel_size": 5, "padding": 1},
    "1x7": {"kernel_size": (1, 7), "padding": (0, 3)},
}
OTHERS: dict[str, dict[str, Any]] = {
    "strided": {"kernel_size": 3, "stride": 2},
    "dilated": {"kernel_size": 3, "dilation": 2},
    "in groups": {"kernel_size": 3, "groups": 2},
    "mirrored": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    "padded beyond its reach": {"kernel_size": 1, "padding": 1},
    "same": {"kernel_size": 3, "padding": "same"},
}


def folded(settings: dict[str, Any]) -> tuple[nn.Conv2d, Folded]:
    torch.manual_seed(3)
    conv = nn.Conv2d(4, 6, **settings).double().requires_grad_(False)
    bias = conv.bias
    assert bias is not None
    return conv, Folded(conv, conv.weight, bias, reproducible=True)


@pytest.mark.quick
@pytest.mark.parametrize("case", SETTINGS)
def test_the_gradient_of_a_convolution_is_a_convolution(case: str) -> None:
    conv, made = folded(SETTINGS[case])
    assert made.backward is not None
    x = torch.randn(2, 4, 9, 11, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(conv(x))
    ours, theirs = (torch.autograd.grad((one(x) * weight).sum(), x)[0] for one in (made, conv))
    torch.testing.assert_close(made(x), conv(x), rtol=0, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.quick
@pytest.mark.parametrize("case", OTHERS)
def test_other_convolutions_keep_pytorchs_gradient(case: str) -> None:
    assert folded(OTHERS[case])[1].backward is None


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_a_network_prepared_as_for_a_gpu_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"backend": "torch", "weights": "random:7", "dtype": "float64"}
    picture = vizkit.images.noise(0, 255, size=224, seed=1)
    plain = vizkit.load(name, optimise=False, **options)
    model, used = vizkit.load(name, **options), []
    prepared, call = Pair.prepared, Folded.__call__

    def as_there(pair: Pair) -> Folded:
        found = prepared(pair)
        return Folded(pair.conv, found.weight, found.bias, reproducible=True)

    def noted(made: Folded, x: torch.Tensor) -> torch.Tensor:
        used.append(made)
        return call(made, x)

    monkeypatch.setattr(Pair, "prepared", as_there)
    monkeypatch.setattr(Folded, "__call__", noted)
    expected = vizkit.saliency(plain, picture, fit="squash").values
    found = vizkit.saliency(model, picture, fit="squash").values
    assert len(used) > 10
    assert np.linalg.norm(found - expected) <= 1e-10 * np.linalg.norm(expected)
    assert not any("forward" in vars(module) for module in model.native.modules())


@pytest.mark.quick
def test_sampling_adds_up_in_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own kernel for that adds up floating-point numbers; the order of whole ones does not matter."""
    ops = vizkit.load("shapes", backend="torch").ops
    kinds: list[torch.dtype] = []
    own = torch.Tensor.index_add_

    def noted(total: torch.Tensor, *args: Any) -> torch.Tensor:
        kinds.append(total.dtype)
        return own(total, *args)

    monkeypatch.setattr(torch.Tensor, "index_add_", noted)
    monkeypatch.setattr(F, "grid_sample", None)
    rows, columns = torch.meshgrid(torch.linspace(-1, 6, 9), torch.linspace(0.3, 4.6, 8), indexing="ij")
    x = torch.randn(2, 3, 6, 5)
    ops.value_and_grad(lambda given: (ops.sum(ops.sample(given["x"], rows, columns), (1, 2, 3)), None), {"x": x})
    assert kinds == [torch.int64] * 4
