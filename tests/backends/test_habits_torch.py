"""What a PyTorch network of one's own may do that published ones do not: layers by any name, state of its own, passes
that differ with the picture, operations that PyTorch hides. Its maps are right, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("PyTorch's networks; PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn

pytestmark = pytest.mark.cpu
SIDE = 8


class Named(nn.Module):
    """A stem, and a layer by any name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.name = name
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.add_module(name, nn.Conv2d(3, 3, 3, padding=1))
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = getattr(self, self.name)(torch.relu(self.stem(x)))
        return self.head(torch.relu(deep).mean((2, 3)))


def wrapped(network: nn.Module, **options: Any) -> Any:
    return vizkit.wrap(network, input_size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, **options)


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(2, 3, SIDE, SIDE)).astype("float32")


@pytest.mark.parametrize("name", ["x", "marks", "beside", "values", "input"])
def test_a_layer_may_have_any_name(name: str, pictures: np.ndarray) -> None:
    model, other = wrapped(Named(name)), wrapped(Named("deep"))
    for method in (vizkit.gradcam, vizkit.ablationcam, vizkit.conductance):
        found, expected = (
            method(one, pictures, target=1, layer=layer).values for one, layer in ((model, name), (other, "deep"))
        )
        np.testing.assert_array_equal(found, expected)
        assert np.abs(expected).max() > 0
    graph, plain = model.graph(), other.graph()
    assert [one.kind for one in graph.nodes] == [one.kind for one in plain.nodes]
    assert len(graph.by_name) == len(graph.nodes)
