"""DeepLIFT's reveal-cancel rule: by hand, on the paper's example, complete, and the same in both frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import kit as kit_of

import vizkit
from vizkit.errors import UnknownNameError
from vizkit.testing.kit import case

SIZE = 2
DENSE = [("flatten",), ("dense", 12, 7), ("relu",), ("dense", 7, 5), ("relu",), ("dense", 5, 3)]
CONVS = [
    *(("conv", 3, 6, 3, 1), ("norm", 6), ("relu",), ("pool",)),
    *(("conv", 6, 8, 3, 1), ("relu",), ("pool",)),
    *(("flatten",), ("dense", 8 * 4, 10), ("relu",), ("dense", 10, 4)),
]


def wrapped(native: Any, size: int) -> Any:
    return vizkit.wrap(native, input_size=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def ruled(name: str) -> None:
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")


def up(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def by_hand(layers: list[dict[str, np.ndarray]], x: np.ndarray, x0: np.ndarray, target: int) -> np.ndarray:
    """Multipliers of the input, contribution by contribution, as the paper has them."""
    steps = []
    for layer in layers[:-1]:
        given = layer["weight"] * (x - x0)
        z0 = layer["weight"] @ x0 + layer["bias"]
        raising, lowering = up(given).sum(axis=1), -up(-given).sum(axis=1)
        both_moved = up(z0 + raising + lowering)
        raised = (up(z0 + raising) - up(z0) + both_moved - up(z0 + lowering)) / 2
        lowered = (up(z0 + lowering) - up(z0) + both_moved - up(z0 + raising)) / 2
        steps.append((given, layer["weight"], raised / raising, lowered / lowering))
        x, x0 = up(layer["weight"] @ x + layer["bias"]), up(z0)
    multiplier = layers[-1]["weight"][target]
    for given, weight, raised, lowered in reversed(steps):
        middle = (raised + lowered) / 2
        shares = np.where(given > 0, raised[:, None], np.where(given < 0, lowered[:, None], middle[:, None]))
        multiplier = (weight * shares * multiplier[:, None]).sum(axis=0)
    return multiplier


@pytest.mark.quick
def test_by_hand(name: str, rng: np.random.Generator, agree: Any) -> None:
    ruled(name)
    model = wrapped(kit_of(name).sequential(DENSE, seed=4), SIZE)
    x, other = rng.normal(size=(2, 1, 3, SIZE, SIZE))
    layers = [part.arrays for part in case(DENSE, SIZE, 4).parts if part.kind == "dense"]
    found = vizkit.deeplift(model, x, target=1, baseline=other, rule="reveal_cancel")
    wanted = by_hand(layers, x.reshape(-1), other.reshape(-1), 1) * (x - other).reshape(-1)
    agree("deeplift", "reveal-cancel by hand", found.extra["attribution"].reshape(-1), wanted, 1e-12, backend=name)
    assert found.provenance["settings"]["rule"] == "reveal_cancel"
    rescaled = vizkit.deeplift(model, x, target=1, baseline=other)
    assert np.abs(rescaled.values - found.values).max() > 0.01 * np.abs(found.values).max()


@pytest.mark.quick
def test_the_smaller_of_two(name: str) -> None:
    """``min(a, b) = a - relu(a - b)``, from (0, 0) to (10, 6): half of it each, where rescale gives it all to b."""
    ruled(name)
    model = wrapped(kit_of(name).sequential([("flatten",), ("dense", 12, 2), ("relu",), ("dense", 2, 2)]), SIZE)
    arrays = {key: np.zeros(shape) for key, shape in model.parameter_shapes().items()}
    first, last = (one for one in arrays.values() if one.ndim == 2)
    first[:, :2], last[0] = [[1, 0], [1, -1]], [1, -1]
    model = model.with_parameters(arrays)
    x = np.zeros((1, 3, SIZE, SIZE))
    x.reshape(-1)[:2] = 10, 6
    for rule, wanted in (("reveal_cancel", [3, 3]), ("rescale", [0, 6])):
        found = vizkit.deeplift(model, x, target=0, baseline=0 * x, rule=rule).extra["attribution"]
        np.testing.assert_allclose(found.reshape(-1)[:2], wanted, atol=1e-12)


@both()
def test_backends_agree_and_add_up(rng: np.random.Generator, agree: Any) -> None:
    """With a batch norm, which is one with its convolution however the network was loaded, and several baselines."""
    x, *others = rng.normal(size=(3, 2, 3, 8, 8))
    pairs = [[one[:1], one[1:]] for one in others]
    maps = []
    for backend in ("torch", "gluon"):
        for optimise in (True, False):
            model = wrapped(kit_of(backend).sequential(CONVS, seed=2), 8)
            model.optimise = optimise
            found = vizkit.deeplift(model, x, target=[0, 1], baseline=others[0], rule="reveal_cancel")
            assert found.extra["completeness_error"].max() < 1e-12
            maps.append(found.values)
        for i in range(2):
            mean = vizkit.deeplift_shap(
                model, x[i : i + 1], target=i, baselines=[pair[i] for pair in pairs], rule="reveal_cancel"
            )
            assert mean.extra["completeness_error"].max() < 1e-12
    for other in maps[1:]:
        agree("deeplift", "reveal-cancel, small network", other, maps[0], tolerance=1e-12, backend="gluon")


def test_values_that_are_read_twice(rng: np.random.Generator) -> None:
    """A layer that two ReLUs and a sum read; one that a sum is written over; a ReLU behind a sum."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.more, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(16, 3)

        def forward(self, x: Any) -> Any:
            z = self.first(x)
            y = torch.relu(z) + 0.5 * z + nn.functional.relu(z, inplace=False)
            out = self.more(y)
            out += y
            return self.last(torch.relu(out + self.more(y).relu_()).flatten(1))

    torch.manual_seed(0)
    model = wrapped(Branches().double(), SIZE)
    x, other = rng.normal(size=(2, 2, 3, SIZE, SIZE))
    found = vizkit.deeplift(model, x, target=[0, 2], baseline=other, rule="reveal_cancel")
    assert found.extra["completeness_error"].max() < 1e-12
    alone = vizkit.deeplift(model, x[1:], target=2, baseline=other[1:], rule="reveal_cancel")
    np.testing.assert_allclose(alone.values, found.values[1:], atol=1e-12)


def test_a_rule_that_is_not_there(name: str) -> None:
    ruled(name)
    model = wrapped(kit_of(name).sequential(DENSE, seed=4), SIZE)
    with pytest.raises(UnknownNameError, match="reveal_cancel"):
        vizkit.deeplift(model, np.zeros((1, 3, SIZE, SIZE)), target=0, rule="reveal")
