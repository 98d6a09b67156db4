"""The contract, on every registered backend: a technique may rely on what is tested here, and on nothing else."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, exercised
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit import backend as contract
from vizkit.backend import Mode
from vizkit.errors import DisconnectedError, LayerError, SettingError, ShapeError, UnknownNameError

LAST = str(len(TRAPS) - 1)


def wrap(native: Any, size: int = TRAPS_SIZE) -> Any:
    return vizkit.wrap(native, input_size=size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_every_installed_backend_has_networks_here() -> None:
    assert INSTALLED, "no backend is installed, so that nothing can be tested"
    for name in INSTALLED:
        assert kit_of(name).sequential


def logit(model: Any, index: int, *layers: str) -> Any:
    """A score function for value_and_grad: one logit, with zero tensors added at some layers."""

    def score(leaves: dict[str, Any]) -> Any:
        added = {name: leaves[name] for name in layers}
        kept = model.forward(leaves["x"], ("output", *layers), added)
        return kept["output"][:, index], kept

    return score


def zeros(model: Any, layer: str, n: int) -> Any:
    return model.ops.asarray(np.zeros((n, *model.layers[layer].shape[1:])))


def test_hand_computed_network(kit: Any) -> None:
    """conv of ones on a 1x2x2... every number below can be followed on paper."""
    native = kit.sequential([("conv", 3, 1, 2, 0), ("relu",), ("pool",), ("flatten",), ("dense", 1, 2)])
    model = wrap(native, 3)
    w, b, v, c = (model.parameter(key).astype(float) for key in ("0.weight", "0.bias", "4.weight", "4.bias"))
    x = np.arange(27.0).reshape(1, 3, 3, 3) / 10
    windows = [[(x[0, :, i : i + 2, j : j + 2] * w[0]).sum() + b[0] for j in (0, 1)] for i in (0, 1)]
    top = max(windows[i][j] for i in (0, 1) for j in (0, 1))
    i, j = next((i, j) for i in (0, 1) for j in (0, 1) if windows[i][j] == top)
    hidden = max(top, 0.0)
    out = model.ops.numpy(model.forward(model.ops.asarray(x))["output"])
    np.testing.assert_allclose(out[0], v[:, 0] * hidden + c, rtol=1e-6)
    _, grads, _ = model.ops.value_and_grad(logit(model, 1), {"x": model.ops.asarray(x)})
    expected = np.zeros_like(x)
    expected[0, :, i : i + 2, j : j + 2] = w[0] * v[1, 0] * (hidden > 0)
    np.testing.assert_allclose(model.ops.numpy(grads["x"]), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("variant", ["first", "second"])
def test_gradients_match_finite_differences(kit: Any, rng: Any, variant: str) -> None:
    """Central differences in float64, at the input and at two layers, from one backward pass."""
    guises = kit.variants(kit.sequential(TRAPS))
    model = wrap(list(guises.values())[variant == "second"])
    x = rng.normal(size=(2, 3, TRAPS_SIZE, TRAPS_SIZE))
    leaves = {"x": x, "3": np.zeros((2, 6, 8, 8)), "5": np.zeros((2, 8, 8, 8))}
    native = {key: model.ops.asarray(value) for key, value in leaves.items()}
    score = logit(model, 2, "3", "5")
    _, grads, _ = model.ops.value_and_grad(score, native)
    step = 1e-6
    for key, value in leaves.items():
        found = model.ops.numpy(grads[key])
        assert found.shape == value.shape
        for _ in range(12):
            at = tuple(int(rng.integers(side)) for side in value.shape)
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[at] += sign * step
                scores, _ = score({**native, key: model.ops.asarray(moved)})
                ends.append(model.ops.numpy(scores).sum())
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(found[at], rel=1e-6, abs=1e-8)


@both()
def test_traps_network_is_equal_in_both_frameworks(rng: Any) -> None:
    """Max-pool, dropout and batch norm: the network on which MXNet's obvious way gives garbage."""
    x = rng.normal(size=(3, 3, TRAPS_SIZE, TRAPS_SIZE))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        found = {}
        for name in INSTALLED:
            model = wrap(kit_of(name).sequential(TRAPS, dtype=dtype))
            leaves = {"x": model.ops.asarray(x), "5": zeros(model, "5", 3)}
            scores, grads, kept = model.ops.value_and_grad(logit(model, 4, "5"), leaves)
            values = (scores, grads["x"], grads["5"], kept["5"], kept["output"])
            found[name] = [model.ops.numpy(value) for value in values]
        for a, b in zip(found["torch"], found["gluon"], strict=True):
            assert a.dtype == b.dtype == np.dtype(dtype)
            assert np.abs(a - b).max() <= tolerance * np.abs(a).max()


@both()
def test_training_mode_is_equal_in_both_frameworks(rng: Any) -> None:
    """Batch statistics and dropout masks of one generator: the same numbers, and the stored statistics unchanged."""
    x = rng.normal(size=(4, 3, TRAPS_SIZE, TRAPS_SIZE))
    found = {}
    for name in INSTALLED:
        kit = kit_of(name)
        native = kit.sequential(TRAPS)
        model = wrap(native)
        before = kit.snapshot(native)

        def score(leaves: Any, model: Any = model) -> Any:
            out = model.forward(leaves["x"], mode=Mode(training=np.random.default_rng(5)))["output"]
            return model.ops.sum(out, 1), out

        _, grads, out = model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})
        assert kit.snapshot(native) == before
        plain = model.ops.numpy(model.forward(model.ops.asarray(x))["output"])
        found[name] = model.ops.numpy(out), model.ops.numpy(grads["x"])
        assert np.abs(plain - found[name][0]).max() > 0.1
    for a, b in zip(found["torch"], found["gluon"], strict=True):
        assert np.abs(a - b).max() <= 1e-11 * np.abs(a).max()


def test_batch_equals_one_by_one(kit: Any, rng: Any) -> None:
    model = wrap(kit.sequential(TRAPS))
    x = rng.normal(size=(3, 3, TRAPS_SIZE, TRAPS_SIZE))
    score = logit(model, 1)
    together, grads, _ = model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})
    for i in range(3):
        alone, grad, _ = model.ops.value_and_grad(score, {"x": model.ops.asarray(x[i : i + 1])})
        np.testing.assert_allclose(model.ops.numpy(together)[i], model.ops.numpy(alone)[0], rtol=1e-12)
        one = model.ops.numpy(grad["x"])[0]
        np.testing.assert_allclose(model.ops.numpy(grads["x"])[i], one, rtol=1e-10, atol=1e-14)


def test_asking_for_one_gradient_more_changes_no_other(kit: Any, rng: Any) -> None:
    model = wrap(kit.sequential(TRAPS))
    x = model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE)))
    _, alone, _ = model.ops.value_and_grad(logit(model, 0), {"x": x})
    leaves = {"x": x, "2": zeros(model, "2", 1), "5": zeros(model, "5", 1)}
    _, more, _ = model.ops.value_and_grad(logit(model, 0, "2", "5"), leaves)
    np.testing.assert_allclose(model.ops.numpy(more["x"]), model.ops.numpy(alone["x"]), rtol=1e-12, atol=1e-15)


def test_the_forward_pass_stops(kit: Any, rng: Any) -> None:
    native = kit.sequential(TRAPS)
    calls = kit.watch(native, "8")
    model = wrap(native)
    assert model.layers["8"].shape == (1, 8, 4, 4)
    calls.clear()
    x = model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE)))
    kept = model.forward(x, ("5", "2"))
    assert set(kept) == {"5", "2"}
    assert tuple(kept["5"].shape) == (1, 8, 8, 8)
    assert calls == []


def test_truncation_needs_no_later_parameters(kit: Any, rng: Any) -> None:
    """An input too small for the dense layer is fine as long as the dense layer is not asked for."""
    model = wrap(kit.sequential(TRAPS))
    x = model.ops.asarray(rng.normal(size=(1, 3, 12, 20)))
    assert tuple(model.forward(x, ("8",))["8"].shape) == (1, 8, 3, 5)
    with pytest.raises(ShapeError, match=r"12, 20"):
        model.ops.numpy(model.forward(x)["output"])


def test_kept_activations_are_not_overwritten(kit: Any, rng: Any) -> None:
    """In-place ReLUs and `out += identity` run right after what is kept."""
    model = wrap(kit.sequential(TRAPS))
    x = model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE)))
    kept = {key: model.ops.numpy(value) for key, value in model.forward(x, ("1", "2", "output")).items()}
    assert kept["1"].min() < 0
    np.testing.assert_array_equal(kept["2"], np.maximum(kept["1"], 0))
    side = wrap(kit.side(), 6)
    x = rng.normal(size=(1, 3, 6, 6))
    conv = side.ops.numpy(side.forward(side.ops.asarray(x), ("conv", "output"))["conv"])
    alone = side.ops.numpy(side.forward(side.ops.asarray(x), ("conv",))["conv"])
    np.testing.assert_array_equal(conv, alone)


def test_added_tensor_changes_what_follows(kit: Any, rng: Any) -> None:
    model = wrap(kit.sequential(TRAPS))
    x = model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE)))
    plain = {key: model.ops.numpy(value) for key, value in model.forward(x, ("10", "output")).items()}
    extra = rng.normal(size=(1, 10))
    moved = model.forward(x, ("10", "output"), {"10": model.ops.asarray(extra)})
    np.testing.assert_allclose(model.ops.numpy(moved["10"]), plain["10"] + extra, rtol=1e-12)
    weight, bias = model.parameter("13.weight").astype(float), model.parameter("13.bias").astype(float)
    expected = np.maximum(plain["10"] + extra, 0) @ weight.T + bias
    np.testing.assert_allclose(model.ops.numpy(moved["output"]), expected, rtol=1e-5, atol=1e-6)


class Boom(Exception):
    """A fault in the user's objective."""


@pytest.mark.parametrize("how", ["success", "objective fails", "stops early", "interrupted", "bad layer"])
def test_nothing_leaks(kit: Any, rng: Any, how: str) -> None:
    for native in kit.variants(kit.sequential(TRAPS)).values():
        x = rng.normal(size=(2, 3, TRAPS_SIZE, TRAPS_SIZE))
        kit.leave_gradients(native, x)
        before = kit.snapshot(native)
        model = wrap(native)
        leaves = {"x": model.ops.asarray(x)}

        def score(given: Any, model: Any = model) -> Any:
            out = model.forward(given["x"], ("5", "output"), mode=Mode(training=np.random.default_rng(0)))
            if how == "objective fails":
                raise Boom
            if how == "interrupted":
                raise KeyboardInterrupt
            if how == "bad layer":
                model.forward(given["x"], ("nowhere",))
            return model.ops.sum(out["output"], 1), out

        if how == "success":
            model.ops.value_and_grad(score, leaves)
        elif how == "stops early":
            model.forward(leaves["x"], ("2",))
        else:
            expected = {"objective fails": Boom, "interrupted": KeyboardInterrupt, "bad layer": UnknownNameError}[how]
            with pytest.raises(expected):
                model.ops.value_and_grad(score, leaves)
        assert kit.snapshot(native) == before


def test_a_fault_inside_the_network_leaks_nothing(kit: Any, rng: Any) -> None:
    native = kit.sequential(TRAPS)
    before = kit.snapshot(native)
    model = wrap(native)
    with pytest.raises(ShapeError):
        model.ops.numpy(model.forward(model.ops.asarray(rng.normal(size=(1, 3, 12, 12))))["output"])
    assert kit.snapshot(native) == before


def test_a_disconnected_request_raises(kit: Any, rng: Any) -> None:
    model = wrap(kit.side(), 6)
    leaves = {"x": model.ops.asarray(rng.normal(size=(1, 3, 6, 6))), "side": zeros(model, "side", 1)}
    with pytest.raises(DisconnectedError, match="'side'"):
        model.ops.value_and_grad(logit(model, 0, "side"), leaves)

    def constant(given: Any) -> Any:
        return model.ops.asarray([1.0, 2.0]), None

    with pytest.raises(DisconnectedError, match="'x'"):
        model.ops.value_and_grad(constant, {"x": leaves["x"]})

    def cut(given: Any) -> Any:
        return model.forward(model.ops.detach(given["x"]))["output"][:, 0], None

    with pytest.raises(DisconnectedError):
        model.ops.value_and_grad(cut, {"x": leaves["x"]})


def test_a_gradient_behind_the_score_raises(kit: Any, rng: Any) -> None:
    """Adding at a layer after the one that is scored asks for a gradient that does not exist."""
    model = wrap(kit.sequential(TRAPS))

    def score(given: Any) -> Any:
        kept = model.forward(given["x"], ("2",), {"7": given["7"]})["2"]
        return model.ops.sum(kept, (1, 2, 3)), None

    leaves = {"x": model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE))), "7": zeros(model, "7", 1)}
    with pytest.raises(DisconnectedError, match="'7'"):
        model.ops.value_and_grad(score, leaves)


def test_a_layer_that_runs_twice_is_refused(kit: Any, rng: Any) -> None:
    model = wrap(kit.reuse(), 6)
    assert "relu" not in model.layers
    assert list(model.layers) == ["conv", "last"]
    with pytest.raises(LayerError, match="more than once"):
        model.forward(model.ops.asarray(rng.normal(size=(1, 3, 6, 6))), ("relu",))


def test_names_shapes_and_scores_are_checked(kit: Any, rng: Any) -> None:
    model = wrap(kit.sequential(TRAPS))
    x = model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE)))
    with pytest.raises(UnknownNameError, match=r"layer .*'55'.*Did you mean '5'"):
        model.forward(x, ("55",))
    with pytest.raises(ShapeError, match=r"\(N, 3, H, W\); got \(1, 2, 16, 16\)"):
        model.forward(model.ops.asarray(rng.normal(size=(1, 2, 16, 16))))
    with pytest.raises(SettingError, match="keeps nothing"):
        model.forward(x, ())
    with pytest.raises(ShapeError, match=r"\(N,\)"):
        model.ops.value_and_grad(lambda given: (model.forward(given["x"])["output"], None), {"x": x})


def test_layers_are_in_order_with_their_shapes(kit: Any) -> None:
    model = wrap(kit.sequential(TRAPS))
    assert list(model.layers) == [str(i) for i in range(len(TRAPS))]
    shapes = [layer.shape[1:] for layer in model.layers.values()]
    assert shapes[:4] == [(6, 16, 16), (6, 16, 16), (6, 16, 16), (6, 8, 8)]
    assert model.layers[LAST].shape == (1, 5)


def test_later_training_shows(kit: Any, rng: Any) -> None:
    """A wrapped network is read where it lies, and its digest follows its weights."""
    native = kit.sequential(TRAPS)
    model = wrap(native)
    x = model.ops.asarray(rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE)))
    before, digest = model.ops.numpy(model.forward(x)["output"]), model.sha256()
    assert model.sha256() == digest
    other = kit.sequential(TRAPS, seed=1)
    same = wrap(kit.sequential(TRAPS))
    assert same.sha256() == digest != wrap(other).sha256()
    double(native)
    assert not np.allclose(model.ops.numpy(model.forward(x)["output"]), before)
    assert model.sha256() != digest


def double(native: Any) -> None:
    """Write the first convolution's weights in place, in either framework."""
    first = native[0].weight
    if hasattr(first, "set_data"):
        first.set_data(first.data() * 2)
    else:
        first.data.mul_(2)


def test_started_backends_keep_their_threads() -> None:
    """Importing one framework must not slow another down: MXNet's import takes PyTorch to one thread."""
    counts = {name: contract.get(name).threads() for name in INSTALLED}
    assert all(count == max(counts.values()) for count in counts.values())


def test_every_installed_backend_was_exercised(request: pytest.FixtureRequest) -> None:
    """Last in this file: a backend that is installed and registered, and was passed over, is a failure."""
    names = {item.name for item in request.session.items if "kit" in getattr(item, "fixturenames", ())}
    if not any(name.startswith("test_nothing_leaks") for name in names):
        pytest.skip("only a part of the suite was selected")
    registered = {entry.name: entry.load() for entry in entry_points(group="vizkit.backends")}
    assert exercised == {name for name, backend in registered.items() if backend.installed()}
