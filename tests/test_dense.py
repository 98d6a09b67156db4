"""The input gradient of a dense layer for one image: the whole product's, read from the rows that matter alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
from torch import nn
from vizkit_torch import dense

ROWS, COLUMNS = 40, 300
REACHED = {"none": [], "one": [7], "few": [0, 3, 4, 39], "half": [*range(0, ROWS, 2)], "all": [*range(ROWS)]}
SIZE = 96


@pytest.fixture
def summed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each gradient was summed from."""
    seen: list[int] = []
    own = torch.nn.functional.embedding_bag

    def spy(rows: Any, *args: Any, **options: Any) -> Any:
        seen.append(len(rows))
        return own(rows, *args, **options)

    monkeypatch.setattr("torch.nn.functional.embedding_bag", spy)
    return seen


@pytest.mark.parametrize("which", REACHED)
def test_the_gradient_is_the_whole_products(summed: list[int], which: str) -> None:
    rng = np.random.default_rng(4)
    weight = torch.from_numpy(rng.normal(size=(ROWS, COLUMNS)).astype(np.float32))
    bias = torch.from_numpy(rng.normal(size=ROWS).astype(np.float32))
    x = torch.from_numpy(rng.normal(size=(1, COLUMNS)).astype(np.float32)).requires_grad_(True)
    given = torch.zeros(1, ROWS)
    given[0, REACHED[which]] = torch.from_numpy(rng.normal(size=len(REACHED[which])).astype(np.float32))
    output = dense.Dense.apply(x, weight, bias)
    torch.testing.assert_close(output, nn.functional.linear(x, weight, bias), rtol=0, atol=0)
    (found,) = torch.autograd.grad(output, x, given)
    wanted = given.double() @ weight.double()
    assert found.shape == x.shape
    assert float((found - wanted).norm()) <= 2e-7 * float(wanted.norm())
    assert summed == {"none": [], "all": []}.get(which, [len(REACHED[which])])


class Network(nn.Module):
    """A convolution, and three dense layers with ReLUs between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 16, 3, stride=2), nn.AdaptiveAvgPool2d(4)
        self.dense = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(True), nn.Linear(64, 10))

    def forward(self, x: Any) -> Any:
        return self.dense(self.pool(torch.relu(self.conv(x))).flatten(1))


@pytest.mark.parametrize(("count", "expected"), [(1, 3), (2, 0)])
def test_in_a_network(monkeypatch: pytest.MonkeyPatch, summed: list[int], count: int, expected: int) -> None:
    """Also at a dense layer that is read; several images need all rows. Parameters may ask for gradients of their own,
    which a pass does not make."""
    monkeypatch.setattr(dense, "LEAST", 0)
    torch.manual_seed(1)
    native = Network()
    assert all(parameter.requires_grad for parameter in native.parameters())
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(count)]
    spec = {"input_size": SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    model, plain = vizkit.wrap(native, **spec), vizkit.wrap(native, optimise=False, **spec)
    assert model.layers
    summed.clear()
    found = vizkit.saliency(model, pictures, target=4)
    assert len(summed) == expected
    if expected:
        assert summed[0] == 1  # the class's row alone
        assert all(0 < rows < 64 for rows in summed[1:])
    wanted = vizkit.saliency(plain, pictures, target=4).values
    assert np.linalg.norm(found.values - wanted) <= 1e-6 * np.linalg.norm(wanted)
    for layer in ("conv", "pool"):
        maps = [vizkit.gradcam(one, pictures, target=4, layer=layer).values for one in (model, plain)]
        np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-6 * np.abs(maps[1]).max())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in native.parameters())
