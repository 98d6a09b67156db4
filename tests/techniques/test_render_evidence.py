"""Units that are dead at the start, and what a picture's evidence says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit.model import Mode
from vizkit.objectives import Seen, content, unit
from vizkit.parametrisations import Fourier, Pixels
from vizkit.regularisers import l2
from vizkit.techniques.common.relu import relu_mode
from vizkit.techniques.dreams.evidence import shifted
from vizkit.transforms import Flip

DEEP = [("conv", 3, 4, 3, 1), ("relu",), ("conv", 4, 4, 3, 1), ("relu",)]


@pytest.fixture
def model(kit: Any) -> Any:
    return vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def small(kit: Any) -> Any:
    return vizkit.wrap(kit.sequential(DEEP), input_size=8, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def silent(kit: Any) -> Any:
    """Units 0 and 1 of the last ReLU are far below zero on noise, unit 0 for any picture whatever."""
    model = small(kit)
    weight, bias = model.parameter("2.weight"), model.parameter("2.bias")
    weight[0] = 0.0
    bias[0], bias[1] = -1.0, -0.8
    return model.with_parameters({"2.weight": weight, "2.bias": bias})


def render(model: Any, objective: Any, **changed: Any) -> Any:
    settings = {"parametrisation": Pixels(8), "transforms": (), "steps": 40, "lr": 0.1} | changed
    return vizkit.render(model, objective, **settings)


def test_a_dead_unit_is_driven_alive(silent: Any) -> None:
    without = render(silent, unit("3", 1), rescue=0)
    assert without.trace.max() == 0
    assert without.evidence.failed.tolist() == [True]
    assert without.evidence.text(0).startswith("FAILED: activation 0")
    np.testing.assert_array_equal(without.values, render(silent, unit("3", 1), rescue=0, steps=1).values)
    found = render(silent, unit("3", 1))
    assert (found.trace[0, 0], found.evidence.failed.tolist()) == (0, [False])
    assert found.evidence.activation[0] > 0.05


def test_a_penalty_is_no_sign_of_life(silent: Any) -> None:
    found = render(silent, unit("3", 1) - 1e-3 * l2())
    assert found.evidence.activation[0] > 0.05
    assert render(silent, unit("3", 1) - 1e-3 * l2(), rescue=0).evidence.failed[0]


def test_a_unit_that_nothing_moves_is_marked_as_failed(silent: Any) -> None:
    found = render(silent, unit("3", [0, 3, 1]))
    assert found.evidence.failed.tolist() == [True, False, False]
    assert found.evidence.activation[0] == 0
    assert found.evidence.shifted[0] == 0
    assert not found.evidence.survives()[0]


def test_the_rescue_leaves_living_pictures_alone(silent: Any) -> None:
    """In a batch with a dead unit, a live one moves bit for bit as it does without any rescue."""
    both = render(silent, unit("3", [3, 1]))
    alone = render(silent, unit("3", [3, 1]), rescue=0)
    np.testing.assert_array_equal(both.values[0], alone.values[0])
    assert np.abs(both.values[1] - alone.values[1]).max() > 0.1


@pytest.mark.quick
def test_the_redirected_rule_by_hand(kit: Any) -> None:
    """Two ReLUs: a picture whose gradient dies at one gets there what would raise its input, others the true one."""
    model = small(kit)
    rng = np.random.default_rng(3)
    weights = {name: model.parameter(name) for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    weights["2.bias"] -= np.float32(0.3)
    model = model.with_parameters(weights)
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    x, sign = rng.normal(size=(3, 3, 5, 5)), rng.normal(size=(3, 4, 5, 5))

    def conv(x: Any, w: Any, b: Any) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("ncyxij,ocij->noyx", windows, w) + b[:, None, None]

    def back(gradient: Any, w: Any) -> Any:
        return conv(gradient, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), np.zeros(w.shape[1]))

    first = conv(x, weights["0.weight"], weights["0.bias"])
    second = conv(np.maximum(first, 0), weights["2.weight"], weights["2.bias"])
    sign[1] = np.where(second[1] > 0, 0.0, sign[1])  # picture 1 dies at the second ReLU
    sign[2] = 0.0  # nothing ever reaches picture 2

    def redirected(gradient: Any, x: Any) -> Any:
        true = gradient * (x > 0)
        dead = ~true.any(axis=(1, 2, 3), keepdims=True)
        return np.where(dead, np.maximum(gradient, 0), true)

    expected = back(redirected(back(redirected(sign, second), weights["2.weight"]), first), weights["0.weight"])
    true = back(back(sign * (second > 0), weights["2.weight"]) * (first > 0), weights["0.weight"])

    def gradient(mode: Mode) -> Any:
        ops = model.ops

        def score(leaves: dict[str, Any]) -> Any:
            maps = model.forward(leaves["x"], ("3",), mode=mode)["3"]
            return ops.sum(maps * ops.asarray(sign), (1, 2, 3)), None

        return ops.numpy(ops.value_and_grad(score, {"x": ops.asarray(x)})[1]["x"])

    found = gradient(relu_mode("redirected"))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(gradient(Mode()), true, atol=1e-12)
    np.testing.assert_array_equal(found[0], gradient(Mode())[0])
    assert np.abs(found[1]).max() > 0.1
    assert not true[1].any()
    assert not found[2].any()


def maps_of(model: Any, values: Any, layer: str) -> Any:
    x = model.ops.asarray(vizkit.images.normalise(values, model.spec))
    return model.ops.numpy(model.forward(x, (layer,))[layer])


def test_activation_start_and_shifts_by_brute_force(model: Any) -> None:
    found = vizkit.render(model, unit("7", [4, 6]) - 0.1 * l2(), parametrisation=Fourier(16), steps=20)
    evidence = found.evidence

    def mean(values: Any) -> Any:
        return maps_of(model, values, "7")[[0, 1], [4, 6]].mean((1, 2))

    np.testing.assert_allclose(evidence.activation, mean(found.values), rtol=1e-10)
    shape = Fourier(16)
    leaves = {name: model.ops.asarray(leaf) for name, leaf in shape.start(np.random.default_rng(0), 2).items()}
    np.testing.assert_allclose(evidence.start, mean(model.ops.numpy(shape.pictures(model.ops, leaves))), atol=1e-10)
    least = np.full(2, np.inf)
    for down in (-4, 0, 4):
        for across in (-4, 0, 4):
            padded = np.pad(found.values, ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
            moved = padded[:, :, 4 - down : 20 - down, 4 - across : 20 - across]
            np.testing.assert_array_equal(shifted(found.values, down, across), moved)
            least = np.minimum(least, mean(moved)) if down or across else least
    np.testing.assert_allclose(evidence.shifted, least / evidence.activation, rtol=1e-9)
    assert evidence.survives().tolist() == (least / evidence.activation >= 0.5).tolist()
    assert evidence.percentile is None


def test_the_percentile_by_brute_force(model: Any, rng: np.random.Generator) -> None:
    photos = list(rng.integers(64, 192, (20, 16, 16, 3), dtype=np.uint8))
    found = vizkit.render(
        model, unit("7", [4, 6, 0]), parametrisation=Fourier(16), transforms=(Flip(),), steps=4, images=photos
    )
    batch = vizkit.images.prepare(photos, model.spec)
    maps = model.ops.numpy(model.forward(model.ops.asarray(batch.tensor), ("7",))["7"])
    below = maps[:, [4, 6, 0]].mean((2, 3)) < found.evidence.activation
    expected = 100.0 * below.mean(axis=0)
    np.testing.assert_allclose(found.evidence.percentile, expected)
    assert expected.max() > 0
    assert expected.min() < 100
    assert f"above {expected[0]:.0f} % of photos" in found.evidence.text(0)
    np.testing.assert_array_equal(found.arrays()["percentile"], expected)


def test_an_objective_below_zero_is_judged_by_its_rise(model: Any, rng: np.random.Generator) -> None:
    """Inversion ends just under zero; moved by four pixels, it has lost ground and says so."""
    photo = np.kron(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    objective = content("2", photo)
    found = vizkit.render(model, objective, parametrisation=Pixels(16), transforms=(), steps=60, lr=0.1)
    evidence = found.evidence
    assert evidence.start[0] < evidence.activation[0] < 0
    assert not evidence.failed[0]
    shown = [
        shifted(found.values, *by) for by in ((4, 0), (0, 4), (-4, -4), (-4, 4), (4, 4), (4, -4), (-4, 0), (0, -4))
    ]
    worst = min(float(judged(model, objective, one)[0]) for one in shown)
    rise = evidence.activation[0] - evidence.start[0]
    np.testing.assert_allclose(evidence.shifted[0], (worst - evidence.start[0]) / rise, rtol=1e-6)
    assert evidence.shifted[0] < 0.5
    assert not evidence.survives()[0]


def judged(model: Any, objective: Any, values: Any) -> Any:
    x = model.ops.asarray(vizkit.images.normalise(values, model.spec))
    return model.ops.numpy(objective.value(Seen(model, model.forward(x, objective.layers()), x, None, x)))
