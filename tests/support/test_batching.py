"""How many samples go through a network at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.backend import Layer
from vizkit.support import batching, memory


@pytest.mark.quick
@pytest.mark.parametrize(
    ("dtype", "count", "expected"),
    [
        ("float32", 8, 32),
        ("float32", 64, 8),  # of 128 MiB each
        ("float64", 64, 4),
        ("float32", 200, 4),  # 400 MiB: more than a gibibyte, to read weights less often
        ("float32", 300, 3),
        ("float32", 2000, 1),
    ],
)
def test_batches_that_fit(dtype: str, count: int, expected: int) -> None:
    """A layer of 1 MiB, and its gradient, so many times."""
    layers = {str(k): Layer(str(k), "Conv2d", (1, 4, 256, 256)) for k in range(count)}
    model: Any = SimpleNamespace(dtype=dtype, layers=layers, ops=SimpleNamespace(memory=lambda: None))
    assert batching.fitting(model) == expected


@pytest.mark.quick
@pytest.mark.parametrize(("left", "expected"), [(None, 8), (2**20, 1), (2**30, 4), (2**34, 64), (2**40, 128)])
def test_a_device_that_knows_its_memory_takes_half_of_it(left: int | None, expected: int) -> None:
    layers = {str(k): Layer(str(k), "Conv2d", (1, 4, 256, 256)) for k in range(64)}  # 128 MiB
    model: Any = SimpleNamespace(dtype="float32", layers=layers, ops=SimpleNamespace(memory=lambda: left))
    assert batching.fitting(model) == expected


@pytest.mark.quick
def test_memory_is_given_back_between_batches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the last one: what follows may use it again."""
    model, done = vizkit.load("shapes", backend=name), []
    monkeypatch.setattr(model.ops, "tidy", lambda: done.append(len(taken)))
    taken: list[int] = []
    batching.run(model, 5, 2, lambda start, stop: taken.extend(range(start, stop)), "five")
    assert done == [2, 4]


@pytest.mark.quick
@pytest.mark.skipif("gluon" not in INSTALLED, reason="PyTorch scatters no memory")
def test_gluon_gives_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(memory, "_keeps", False)
    monkeypatch.setattr(memory, "_of_glibc", lambda name: trims.append if name == "malloc_trim" else None)
    vizkit.load("shapes", backend="gluon").ops.tidy()
    assert trims == [0]


def test_known_targets_need_no_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmoothGrad runs its samples alone where the class is given, and one image more where it is the top-1."""
    model, picture = vizkit.load("shapes", backend=name), vizkit.images.sample()
    sizes: list[int] = []
    own = type(model).forward

    def forward(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(x))
        return own(self, x, *args, **kwargs)

    top = vizkit.smoothgrad(model, picture, samples=3)
    monkeypatch.setattr(type(model), "forward", forward)
    given = vizkit.smoothgrad(model, picture, samples=3, target=top.targets[0])
    assert sizes == [3]
    assert given.targets == top.targets
    np.testing.assert_array_equal(given.values, top.values)
    sizes.clear()
    vizkit.smoothgrad(model, picture, samples=3)
    assert sizes == [1, 3]
