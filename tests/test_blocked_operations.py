"""What oneDNN or PyTorch does slowly or not at all in blocks: a strided convolution's input gradient, concatenation."""

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
from vizkit_torch import joining
from vizkit_torch.strided import StridedConvolution, fits, input_gradient, phases

ROUNDING = 1e-6
"""Relative L2 in float32; measured 1e-7 to 5e-7."""
GEOMETRIES = [  # kernel, stride, padding, height, width
    ((7, 7), 2, (3, 3), 32, 32), ((7, 7), 2, (3, 3), 33, 30), ((11, 11), 4, (2, 2), 67, 64),
    ((3, 3), 2, (0, 0), 33, 32), ((4, 4), 4, (0, 0), 18, 17), ((5, 3), 3, (1, 2), 20, 23),
    ((1, 1), 2, (0, 0), 9, 8), ((2, 2), 5, (1, 0), 21, 24),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "padding", "height", "width"), GEOMETRIES)
def test_strided_convolution(
    kernel: tuple[int, int], stride: int, padding: tuple[int, int], height: int, width: int
) -> None:
    """Against the same convolution in float64, differentiated by PyTorch, and exactly in whole numbers."""
    torch.manual_seed(1)
    conv = nn.Conv2d(3, 16, kernel, stride, padding).double()
    x = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    y = conv(x)
    gradient = torch.randn(y.shape, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(y, x, gradient)
    weight, bias = conv.weight.detach().float(), conv.bias.detach().float()  # type: ignore[union-attr]
    given = x.detach().float().requires_grad_(True)
    args = (given, weight, bias, (stride, stride), padding, (1, 1), 1)
    assert fits(args) == (stride > 1 and all(p < k for p, k in zip(padding, kernel, strict=True)))
    got = StridedConvolution.apply(given, weight, bias, stride, padding, lambda: phases(weight, stride))
    assert torch.linalg.norm(got.to_dense() - y) <= ROUNDING * torch.linalg.norm(y)
    (found,) = torch.autograd.grad(got, given, gradient.float().to_mkldnn())
    assert torch.linalg.norm(found - wanted) <= ROUNDING * torch.linalg.norm(wanted)
    whole = (weight * 8).round()
    exact = torch.nn.grad.conv2d_input(x.shape, whole.double(), (gradient * 8).round(), stride, padding)
    rounded = (gradient * 8).round().float()
    found = input_gradient(rounded, phases(whole, stride), kernel, (height, width), stride, padding)
    assert torch.equal(found.double(), exact)


@pytest.mark.parametrize("args", [(2, 1, 1, 1), (2, (1, 1), 1, 1), ((2,), (1,), (1,), 1), ((2, 2), "valid", (1, 1), 1)])
def test_calls_that_give_no_pairs_run_as_they_are(rng: Any, monkeypatch: pytest.MonkeyPatch, args: Any) -> None:
    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 16, 3), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.conv2d(x, self.conv.weight, self.conv.bias, *args)
            scores: torch.Tensor = self.head(y.relu().mean((2, 3)))
            return scores

    monkeypatch.setattr("vizkit_torch.prepare.LEAST", 0)
    native, x = Called().eval(), rng.normal(size=(2, 3, 16, 16))
    options: Any = {"input_size": 16, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    got, plain = (run(vizkit.wrap(native, optimise=one, **options), x)[1] for one in (True, False))
    assert np.linalg.norm(got - plain) <= 2 * ROUNDING * np.linalg.norm(plain)


def test_a_strided_convolution_may_get_another_stride(rng: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel of its gradient is kept, for each stride its own."""
    monkeypatch.setattr("vizkit_torch.prepare.LEAST", 0)
    torch.manual_seed(0)
    first = nn.Conv2d(3, 16, 7, 2, 3)
    native = nn.Sequential(
        first, nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )
    native.eval()
    options: Any = {"input_size": 24, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    model, plain = (vizkit.wrap(native, optimise=one, **options) for one in (True, False))
    x = rng.normal(size=(2, 3, 24, 24))
    for stride in (2, 2, 3, 2):
        first.stride = (stride, stride)
        got, wanted = (run(one, x)[1] for one in (model, plain))
        assert np.linalg.norm(got - wanted) <= 2 * ROUNDING * np.linalg.norm(wanted)


class Branches(nn.Module):
    """A strided convolution, branches that are joined, a join of one with itself, and a head."""

    def __init__(self, channels: tuple[int, ...], read: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, 2, 3)
        self.branches = nn.ModuleList(nn.Conv2d(32, size, 1) for size in channels)
        self.second = nn.Conv2d(sum(channels), 16, 1)
        self.head = nn.Linear(32, 4)
        self.read = read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        parts = [branch(x) for branch in self.branches]
        if self.read == "pooled":
            parts[0] = F.max_pool2d(parts[0].tanh(), 3, 1, 1)
        y = torch.cat(parts, 1)
        if self.read == "written":
            parts[0].relu_()
        y = self.second(y.sigmoid() if self.read == "plain" else y)
        scores: torch.Tensor = self.head(torch.cat([y, y], 1).relu().mean((2, 3)))
        return scores


def run(model: Any, x: Any) -> tuple[Any, Any]:
    def score(given: Any) -> Any:
        logits = model.forward(given["x"], ("output",))["output"]
        return logits[:, 1], logits

    _, gradients, logits = model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})
    return model.ops.numpy(logits), model.ops.numpy(gradients["x"])


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of parts of each concatenation in blocks."""
    seen: list[int] = []
    own = joining.Joined.forward

    def spy(ctx: Any, *parts: torch.Tensor) -> torch.Tensor:
        seen.append(len(parts))
        return own(ctx, *parts)

    monkeypatch.setattr(joining.Joined, "forward", staticmethod(spy))
    monkeypatch.setattr(joining, "LEAST", 0)
    monkeypatch.setattr("vizkit_torch.prepare.LEAST", 0)
    joining._form.cache_clear()
    return seen


CASES = [
    ((16, 48, 32), "blocks", [3, 2]), ((16, 32), "plain", [2, 2]), ((16, 32), "written", [2, 2]),
    ((16, 32), "pooled", [2]), ((16, 24), "blocks", [2]),
]  # fmt: skip


@pytest.mark.skipif(not joining.TOLD, reason="this PyTorch does not say where its blocks lie")
@pytest.mark.parametrize(("channels", "read", "expected"), CASES)
def test_joining(
    rng: Any,
    joined: list[int],
    monkeypatch: pytest.MonkeyPatch,
    channels: tuple[int, ...],
    read: str,
    expected: list[int],
) -> None:
    """The digits of plain concatenation; parts that do not fill their blocks are joined in plain memory."""
    torch.manual_seed(2)
    native, x = Branches(channels, read).eval(), rng.normal(size=(3, 3, 24, 24))
    if not joining._in_blocks(native.branches[0](torch.zeros(3, 32, 12, 12).to_mkldnn()).detach()):
        pytest.skip("this processor's convolutions do not lay channels in blocks of 16")
    model = vizkit.wrap(native, input_size=24, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert model.layers
    plain = run(vizkit.wrap(native, input_size=24, mean=(0.5,) * 3, std=(0.25,) * 3, optimise=False), x)
    joined.clear()
    got = run(model, x)
    assert joined == expected
    assert np.linalg.norm(got[1] - plain[1]) <= 2 * ROUNDING * np.linalg.norm(plain[1])
    if read != "written":
        monkeypatch.setattr("vizkit_torch.blocked.joins", lambda _args: False)
        copied = run(model, x)
        assert joined == expected
        np.testing.assert_array_equal(got[0], copied[0])
        np.testing.assert_allclose(got[1], copied[1], rtol=0, atol=ROUNDING * np.abs(copied[1]).max())


def test_a_form_that_changes_later_is_seen(rng: Any, joined: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As with another number of threads: memory in another form is not written as if it were in blocks."""
    native, x = Branches((16, 32), "blocks").eval(), rng.normal(size=(2, 3, 24, 24))
    model = vizkit.wrap(native, input_size=24, mean=(0.5,) * 3, std=(0.25,) * 3)
    wanted = run(model, x)
    own = joining._as_convolutions_do
    monkeypatch.setattr(joining, "_as_convolutions_do", lambda *given: own(*given).to_dense().to_mkldnn())
    got = run(model, x)
    np.testing.assert_array_equal(got[0], wanted[0])
    assert np.linalg.norm(got[1] - wanted[1]) <= ROUNDING * np.linalg.norm(wanted[1])


@pytest.mark.parametrize("told", [True, False])
def test_another_layout_is_not_taken_for_blocks(
    rng: Any, joined: list[int], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """What known values show counts, not what a machine is thought to do; nor is a PyTorch needed that tells of it."""
    native, x = Branches((16, 32), "blocks").eval(), rng.normal(size=(2, 3, 24, 24))
    own = joining._as_convolutions_do
    monkeypatch.setattr(joining, "TOLD", told)
    if told:
        monkeypatch.setattr(joining, "_as_convolutions_do", lambda *given: own(*given).to_dense().to_mkldnn())
    model = vizkit.wrap(native, input_size=24, mean=(0.5,) * 3, std=(0.25,) * 3)
    got, plain = run(model, x), run(vizkit.wrap(native, input_size=24, mean=(0.5,) * 3, std=(0.25,) * 3,
                                                optimise=False), x)  # fmt: skip
    assert joined == []
    assert np.linalg.norm(got[1] - plain[1]) <= 2 * ROUNDING * np.linalg.norm(plain[1])
    joining._form.cache_clear()
