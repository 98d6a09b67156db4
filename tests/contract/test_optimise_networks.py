"""Preparing a network that is only read changes nothing but its speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit.backend import Mode
from vizkit.errors import DisconnectedError
from vizkit.techniques.common.relu import ReluRule

FEW_ROUNDINGS = 1e-6
"""Relative L2 in float32 below which one order of additions is as good as another."""


SIDE = 96
"""Of the pictures of networks of the zoo."""
PATHS = 5e-2
"""Relative L2 in float32 by which rounding alone was seen to move a gradient, through another ReLU or another place of
a max-pool."""


def wrap(native: Any, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), **options)


def prepared(model: Any, run: Any) -> Any:
    """What ``run()`` gives, once it is sure that what is prepared was in use."""
    if not (hasattr(model, "_preparation") or hasattr(model, "_folding")):
        pytest.skip(f"{model.backend} prepares nothing, as the contract allows")
    found = run()
    assert in_use(model), "nothing was prepared"
    return found


def in_use(model: Any) -> bool:
    """Whether folded weights are there."""
    if model.backend == "torch":
        return bool(model._preparation._made)
    folding = getattr(model, "_folding", None)
    return folding is not None and bool(folding._folds)


def gradients(model: Any, x: Any, layers: tuple[str, ...], keep: tuple[str, ...] = (), **options: Any) -> Any:
    """Activations of ``keep`` and the output, gradients of one logit at the input and at ``layers``."""
    ops = model.ops
    leaves = {name: ops.asarray(np.zeros(shape_of(model, x, name))) for name in layers}

    def score(given: Any) -> Any:
        kept = model.forward(given["x"], (*keep, "output"), {name: given[name] for name in layers}, Mode(**options))
        return kept["output"][:, 1], kept

    _, found, kept = ops.value_and_grad(score, {"x": ops.asarray(x), **leaves})
    return {f"d{key}": ops.numpy(value) for key, value in found.items()} | {
        key: ops.numpy(value) for key, value in kept.items()
    }


def shape_of(model: Any, x: Any, layer: str) -> tuple[int, ...]:
    """Of a layer's output, for pictures of another size than the model's, too, of a pass that nothing prepares."""
    optimise, model.optimise = model.optimise, False
    found = tuple(model.forward(model.ops.asarray(x), (layer,))[layer].shape)
    model.optimise = optimise
    return found


def far(a: Any, b: Any) -> float:
    """Relative L2 of every array, the largest."""
    return max(float(np.linalg.norm(a[key] - b[key]) / np.linalg.norm(b[key])) for key in b)


@pytest.mark.parametrize("network", ["shapes", "resnet18", "googlenet"])
def test_nothing_is_lost(name: str, rng: Any, network: str) -> None:
    """In float64 everything as the plain network to 1e-10. In float32 activations are no further from that than 1.5
    times the plain network's are, or than rounding; gradients no further than rounding sends those of one and the same
    network, which on a single input may be several times as far in the one as in the other, either way."""
    x = rng.normal(size=(3, 3, SIDE, SIDE))
    (exact, same), (plain, ours) = (maps(name, network, dtype, x) for dtype in ("float64", "float32"))
    assert far(same, exact) < 1e-10
    for key in exact:
        ours_far, plain_far = (far({key: one[key]}, {key: exact[key]}) for one in (ours, plain))
        allowed = PATHS if key.startswith("d") else max(1.5 * plain_far, FEW_ROUNDINGS)
        assert ours_far <= allowed, f"{key}: {ours_far} against {plain_far}"


def maps(name: str, network: str, dtype: str, x: Any) -> tuple[Any, Any]:
    """:func:`gradients` at the input and in the middle, of a network as it is and prepared."""
    given = {} if network == "shapes" else {"weights": "random:7"}
    model = vizkit.load(network, backend=name, dtype=dtype, optimise=False, **given)
    spatial = [key for key, layer in model.layers.items() if len(layer.shape) == 4]
    middle = (spatial[len(spatial) // 2],)
    found = gradients(model, x, middle, middle)
    assert not in_use(model)
    model.optimise = True
    return found, prepared(model, lambda: gradients(model, x, middle, middle))


def test_every_layer_is_as_without_it(name: str, rng: Any) -> None:
    """Also a convolution whose batch norm is folded when nobody looks, read, added to, or differentiated."""
    native = kit_of(name).sequential(TRAPS)
    plain, model = wrap(native, optimise=False), wrap(native)
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    for layers in [(str(i),) for i in range(len(TRAPS) - 1)] + [("0", "1"), ("1", "5", "6"), ("0", "5")]:
        got = prepared(model, lambda layers=layers: gradients(model, x, layers, layers))
        assert far(got, gradients(plain, x, layers, layers)) < 1e-12
    everything = tuple(plain.layers)
    got, wanted = (one.forward(one.ops.asarray(x), everything) for one in (model, plain))
    for layer in everything:
        np.testing.assert_allclose(model.ops.numpy(got[layer]), plain.ops.numpy(wanted[layer]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("relu", ["guided", "deconvnet", "redirected"])
def test_other_rules_for_relus_hold(name: str, rng: Any, relu: str) -> None:
    native = kit_of(name).sequential(TRAPS)
    plain, model = wrap(native, optimise=False), wrap(native)
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    prepared(model, lambda: gradients(model, x, ()))
    assert (
        far(gradients(model, x, ("5",), rules=ReluRule(relu)), gradients(plain, x, ("5",), rules=ReluRule(relu)))
        < 1e-12
    )


@pytest.mark.quick
def test_training_mode_sees_the_batch_norms(name: str, rng: Any) -> None:
    native = kit_of(name).sequential(TRAPS)
    plain, model = wrap(native, optimise=False), wrap(native)
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    prepared(model, lambda: gradients(model, x, ()))
    got, wanted = (gradients(one, x, (), training=np.random.default_rng(3)) for one in (model, plain))
    assert far(got, wanted) < 1e-12


@pytest.mark.parametrize("at", range(6))
def test_later_writes_are_seen(name: str, rng: Any, at: int) -> None:
    """Each parameter and statistic of a folded pair, written in place."""
    kit = kit_of(name)
    native = kit.sequential(TRAPS)
    model = wrap(native)
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    before = prepared(model, lambda: gradients(model, x, ()))
    key = ["0.weight", "0.bias", *(sorted(one for one in model.parameter_shapes() if one.startswith("1.")))][at]
    kit.write(native, key, model.parameter(key) * 0.5 + 0.3)
    after = prepared(model, lambda: gradients(model, x, ()))
    assert far(after, before) > 1e-3
    assert far(after, gradients(wrap(native, optimise=False), x, ())) < 1e-12


@pytest.mark.quick
def test_weights_that_moved_are_read_where_they_lie_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """MXNet may bring a weight to another memory; what stays in the old one says nothing."""
    mx = pytest.importorskip("mxnet")
    from vizkit_gluon import ops

    old, new = mx.nd.zeros(8), mx.nd.ones(8)
    places, own = {}, ops._pointer
    monkeypatch.setattr(ops, "_pointer", lambda array: own(places.get(id(array), array)))
    watch = ops.Watch()
    assert watch.state([old]) == (1, np.zeros(8, np.float32).tobytes())
    places[id(old)] = new
    assert watch.state([old]) == (1, np.ones(8, np.float32).tobytes())


@pytest.mark.quick
def test_the_network_itself_stays_the_users(name: str, rng: Any) -> None:
    kit = kit_of(name)
    native = kit.sequential(TRAPS)
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    kit.leave_gradients(native, x)
    before = kit.snapshot(native)
    model = wrap(native)
    prepared(model, lambda: gradients(model, x, ("2",)))
    with pytest.raises(ZeroDivisionError):
        model.ops.value_and_grad(lambda given: (model.forward(given["x"]), 1 / 0), {"x": model.ops.asarray(x)})
    assert kit.snapshot(native) == before
    assert model.native is native


@pytest.mark.quick
def test_other_parameters_are_prepared_too(name: str, rng: Any) -> None:
    native = kit_of(name).sequential(TRAPS)
    model = wrap(native)
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    prepared(model, lambda: gradients(model, x, ()))
    changes = {"0.weight": rng.normal(size=(6, 3, 3, 3)), "5.bias": rng.uniform(0.5, 2, size=8)}
    other = model.with_parameters(changes)
    plain = wrap(native, optimise=False).with_parameters(changes)
    wanted = gradients(plain, x, ("5",))
    assert far(prepared(other, lambda: gradients(other, x, ("5",))), wanted) < 1e-12
    assert far(gradients(model, x, ("5",)), wanted) > 1e-2


@pytest.mark.quick
def test_a_gradient_that_does_not_exist_is_refused(name: str, rng: Any) -> None:
    model = wrap(kit_of(name).sequential(TRAPS))
    x = rng.normal(size=(16, 3, TRAPS_SIZE, TRAPS_SIZE))
    prepared(model, lambda: gradients(model, x, ("7",)))
    leaves = {"x": model.ops.asarray(x), "7": model.ops.asarray(np.zeros((16, 8, 8, 8)))}

    def score(given: Any) -> Any:
        kept = model.forward(given["x"], ("2", "output"), {"7": given["7"]})
        return model.ops.sum(kept["2"], (1, 2, 3)), None

    for _ in range(3):
        with pytest.raises(DisconnectedError, match="'7'"):
            model.ops.value_and_grad(score, leaves)


def row(ratio: float, low: float, high: float) -> dict[str, Any]:
    """A report of the benchmark suite with one row."""
    made = {"backend": "torch", "model": "vgg19", "case": "saliency", "batch": 1, "who": "vizkit", "base": "floor"}
    return {"rows": [{**made, "ratio": ratio, "ratio_quartiles": [low, high]}]}


@pytest.mark.quick
def test_the_guard_tells_noise_from_loss() -> None:
    from benchmarks.guard import slower

    before = row(0.80, 0.79, 0.81)
    assert slower(row(0.83, 0.82, 0.84), before) == []
    (line,) = slower(row(0.95, 0.94, 0.96), before)
    assert "torch vgg19 saliency 1 vizkit: 0.950 x floor, was 0.800" in line
    assert slower(row(0.95, 0.70, 1.20), before) == []
    assert slower(row(0.60, 0.59, 0.61), before) == []
