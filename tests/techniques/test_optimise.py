"""Optimisers against PyTorch's own and by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE, kit

import vizkit
from vizkit.errors import UnknownNameError
from vizkit.techniques.dreams.optimise import OPTIMISERS, Adam, optimiser

CURVE = np.array([1.0, 30.0, 0.01])
STEPS = 25


@pytest.fixture
def ops(name: str) -> Any:
    return ops_of(name)


@cache
def ops_of(name: str) -> Any:
    return vizkit.wrap(kit(name).sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3).ops


def slope(x: Any, step: int) -> Any:
    """The gradient of a bowl whose middle moves."""
    return CURVE * (x - np.sin(step))


def path(ops: Any, name: str, lr: float = 0.1, steps: int = STEPS, **settings: Any) -> list[Any]:
    x, one = ops.asarray(np.ones((2, 3))), OPTIMISERS[name](ops, lr, **settings)
    found, state = [], one.start(x)
    for step in range(steps):
        x, state = one.step(x, ops.asarray(slope(ops.numpy(x), step)), state)
        found.append(ops.numpy(x))
    return found


@pytest.mark.skipif("torch" not in INSTALLED, reason="compares with PyTorch's optimisers")
@pytest.mark.parametrize("which", ["adam", "nadam"])
def test_adam_and_nadam_are_pytorchs(ops: Any, which: str) -> None:
    """PyTorch's NAdam raises beta1 from a half to the whole by a schedule, which an immense decay ends at once."""
    import torch

    x = torch.ones((2, 3), dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.Adam([x], lr=0.1) if which == "adam" else torch.optim.NAdam([x], lr=0.1, momentum_decay=1e9)
    for step, found in enumerate(path(ops, which)):
        x.grad = torch.from_numpy(slope(x.detach().numpy(), step))
        theirs.step()
        # NAdam's products of beta1 are float32 in PyTorch, whatever the dtype; test_by_hand is exact.
        np.testing.assert_allclose(found, x.detach().numpy(), rtol=1e-11 if which == "adam" else 1e-5)


@pytest.mark.parametrize("which", ["adam", "nadam"])
def test_by_hand(ops: Any, which: str) -> None:
    beta1, beta2, eps, lr = 0.8, 0.95, 1e-3, 0.1
    x, m, v = np.ones((2, 3)), 0.0, 0.0
    for t, found in enumerate(path(ops, which, beta1=beta1, beta2=beta2, eps=eps), 1):
        g = slope(x, t - 1)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        if which == "adam":
            ahead = m / (1 - beta1**t)
        else:
            ahead = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
        x = x - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps)
        np.testing.assert_allclose(found, x, rtol=1e-12)


@pytest.mark.quick
def test_ascents_steps_have_the_length_of_the_learning_rate(ops: Any, rng: np.random.Generator) -> None:
    x, gradient = rng.normal(size=(2, 2, 3, 4, 5))
    gradient[1] *= 1e6
    moved = ops.numpy(OPTIMISERS["ascent"](ops, 0.3).step(ops.asarray(x), ops.asarray(gradient), {})[0])
    expected = -0.3 * gradient / np.abs(gradient).mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(moved - x, expected, rtol=1e-9)
    still = ops.numpy(OPTIMISERS["ascent"](ops, 0.3).step(ops.asarray(x), ops.asarray(0 * gradient), {})[0])
    np.testing.assert_array_equal(still, x)


@pytest.mark.parametrize("which", OPTIMISERS)
def test_it_descends_and_leaves_its_input(ops: Any, which: str) -> None:
    x = ops.asarray([[1.0, -2.0]])
    after, one = x, optimiser(which, ops, 0.05)
    state = one.start(x)
    for _ in range(100):
        after, state = one.step(after, 2 * after, state)
    np.testing.assert_array_equal(ops.numpy(x), [[1.0, -2.0]])
    assert np.abs(ops.numpy(after)).max() < 0.2


@pytest.mark.parametrize("which", OPTIMISERS)
def test_a_state_that_was_kept_goes_on_bit_for_bit(ops: Any, which: str) -> None:
    whole = path(ops, which)
    x, one = ops.asarray(np.ones((2, 3))), optimiser(which, ops, 0.1)
    state = one.start(x)
    for step in range(10):
        x, state = one.step(x, ops.asarray(slope(ops.numpy(x), step)), state)
    assert {key for key, value in state.items() if value.shape == x.shape} == set(one.moments)
    kept = {key: ops.numpy(value) for key, value in state.items()}
    state, x = {key: ops.asarray(value) for key, value in kept.items()}, ops.asarray(ops.numpy(x))
    for step in range(10, STEPS):
        x, state = optimiser(which, ops, 0.1).step(x, ops.asarray(slope(ops.numpy(x), step)), state)
        np.testing.assert_array_equal(ops.numpy(x), whole[step])


@pytest.mark.parametrize("which", OPTIMISERS)
def test_a_step_changes_nothing_that_it_was_given(ops: Any, which: str) -> None:
    """So that a device may take it again."""
    x, one = ops.asarray([[1.0, -2.0]]), optimiser(which, ops, 0.1)
    _, state = one.step(x, 3 * x, one.start(x))
    before = {key: ops.numpy(value) for key, value in state.items()}
    first, again = (one.step(x, 2 * x, state) for _ in range(2))
    np.testing.assert_array_equal(ops.numpy(first[0]), ops.numpy(again[0]))
    assert all(np.array_equal(ops.numpy(state[key]), value) for key, value in before.items())


@pytest.mark.quick
def test_names(ops: Any) -> None:
    assert isinstance(optimiser("nadam", ops, 0.1), Adam)
    with pytest.raises(UnknownNameError, match="Did you mean 'adam'"):
        optimiser("adamm", ops, 0.1)
