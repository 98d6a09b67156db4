"""Batches of inputs that are made while the network is busy."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit import batching, memory
from vizkit.backend import Layer
from vizkit.batching import Ahead


def test_batches_are_made_ahead_and_in_order() -> None:
    made: list[tuple[int, int]] = []
    threads: set[int] = set()
    done = threading.Event()

    def make(start: int, stop: int) -> Any:
        made.append((start, stop))
        threads.add(threading.get_ident())
        if start == 3:
            done.set()
        return np.arange(start, stop)

    with Ahead(make, 8) as ahead:
        np.testing.assert_array_equal(ahead.take(0, 3), [0, 1, 2])
        assert done.wait(20)  # without anybody having asked
        np.testing.assert_array_equal(ahead.take(3, 6), [3, 4, 5])
        np.testing.assert_array_equal(ahead.take(6, 8), [6, 7])
    assert made == [(0, 3), (3, 6), (6, 8)]
    assert threading.get_ident() in threads
    assert len(threads) == 2


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
    model: Any = SimpleNamespace(dtype=dtype, layers=layers)
    assert batching.fitting(model) == expected


def test_a_halved_batch_is_made_anew() -> None:
    with Ahead(lambda start, stop: np.arange(start, stop), 10) as ahead:
        taken = [ahead.take(*batch).tolist() for batch in ((0, 4), (0, 2), (2, 4), (4, 6), (4, 5), (5, 6), (6, 10))]
    assert taken == [[0, 1, 2, 3], [0, 1], [2, 3], [4, 5], [4], [5], [6, 7, 8, 9]]


def test_an_error_while_making_reaches_the_caller_and_ends_the_thread() -> None:
    def make(start: int, stop: int) -> Any:
        if start:
            raise ValueError("no such sample")
        return np.arange(start, stop)

    before = threading.active_count()
    with Ahead(make, 6) as ahead:
        ahead.take(0, 3)
        with pytest.raises(ValueError, match="no such sample"):
            ahead.take(3, 6)
    assert threading.active_count() == before


def test_memory_is_given_back_between_batches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the last one: what follows may use it again."""
    model, done = vizkit.load("shapes", backend=name), []
    monkeypatch.setattr(model.ops, "tidy", lambda: done.append(len(taken)))
    taken: list[int] = []
    batching.run(model, 5, 2, lambda start, stop: taken.extend(range(start, stop)), "five")
    assert done == [2, 4]


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
