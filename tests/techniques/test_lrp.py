"""Layer-wise relevance propagation: each rule by hand, composites as zennit has them, one and the same in both
frameworks, kept where it must be, and concepts' parts add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import kit as kit_of
from kits.photos import smaller

import vizkit
from vizkit.errors import SettingError, UnknownNameError
from vizkit.rules import COMPOSITES, AlphaBeta, Composite, Epsilon, Flat, Gamma, WSquare, ZBox
from vizkit.testing.kit import case

SIZE = 2
DENSE = [("flatten",), ("dense", 12, 5), ("relu",), ("dense", 5, 3)]
CONVS = [
    *(("conv", 3, 6, 3, 1), ("norm", 6), ("relu",), ("pool",)),
    *(("conv", 6, 8, 3, 1), ("relu",), ("pool",)),
    *(("flatten",), ("dense", 8 * 4, 10), ("relu",), ("dense", 10, 4)),
]
EPS = 1e-6
LOW, HIGH = (-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)
quiet = pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")


def wrapped(native: Any, size: int) -> Any:
    return vizkit.wrap(native, input_size=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def up(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def down(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 0)


def parts(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each input gives to each output (O, I), and the outputs."""
    return w * x, w @ x + b


def shared(given: np.ndarray, z: np.ndarray, r: np.ndarray, eps: float = EPS) -> np.ndarray:
    """In proportion to what was given, summed over outputs."""
    return np.asarray((given * (r / (z + np.where(z >= 0, eps, -eps)))[:, None]).sum(axis=0))


def alpha_beta(alpha: float, beta: float) -> Callable[..., np.ndarray]:
    def rule(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
        raising, lowering = up(w * x), down(w * x)
        above = shared(raising, raising.sum(axis=1) + up(b), r)
        below = shared(lowering, lowering.sum(axis=1) + down(b), r)
        return alpha * above - beta * below

    return rule


def gamma_half(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    given, z = parts(x, w, b)
    raised, lowered = given + 0.5 * up(given), given + 0.5 * down(given)
    above = shared(raised, raised.sum(axis=1) + b + 0.5 * up(b), np.where(z > 0, r, 0))
    return above + shared(lowered, lowered.sum(axis=1) + b + 0.5 * down(b), np.where(z < 0, r, 0))


def z_box(x: np.ndarray, w: np.ndarray, _b: np.ndarray, r: np.ndarray) -> np.ndarray:
    given = w * x - LOW[0] * up(w) - HIGH[0] * down(w)
    return shared(given, given.sum(axis=1), r)


def plain(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    return shared(*parts(x, w, b), r)


BY_HAND: dict[str, tuple[Any, Callable[..., np.ndarray]]] = {
    "epsilon": (Epsilon(0.1), lambda x, w, b, r: shared(*parts(x, w, b), r, 0.1)),
    "gamma": (Gamma(0.5), gamma_half),
    "z_plus": (AlphaBeta(1, 0), alpha_beta(1, 0)),
    "alpha_beta": (AlphaBeta(3, 2), alpha_beta(3, 2)),
    "z_box": (ZBox(LOW, HIGH), z_box),
    "w_square": (WSquare(), lambda x, w, b, r: shared(w**2, (w**2).sum(axis=1) + b**2, r)),
    "flat": (Flat(), lambda x, w, b, r: shared(0 * w + 1, np.full(len(w), w.shape[1]), r)),
}


@pytest.mark.quick
@pytest.mark.parametrize("rule", BY_HAND)
@pytest.mark.parametrize("where", ["first", "last"])
@quiet
def test_rules_by_hand(name: str, rng: np.random.Generator, rule: str, where: str) -> None:
    """Two dense layers, one of them with the rule, of which the first reads negative values, too."""
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    if (rule, where) == ("z_box", "last"):
        pytest.skip("the z-box rule is for pixels")
    model = wrapped(kit_of(name).sequential(DENSE, seed=4), SIZE)
    x = rng.normal(size=(1, 3, SIZE, SIZE))
    ours, by_hand = BY_HAND[rule]
    composite = Composite(Epsilon(), Epsilon(), ours) if where == "first" else Composite(Epsilon(), ours, Epsilon())
    first, last = (part.arrays for part in case(DENSE, SIZE, 4).parts if part.kind == "dense")
    rules = (by_hand, plain) if where == "first" else (plain, by_hand)
    flat = x.reshape(-1)
    hidden = up(first["weight"] @ flat + first["bias"])
    logits = last["weight"] @ hidden + last["bias"]
    r = np.where(np.arange(3) == 1, logits, 0.0)
    r = rules[1](hidden, last["weight"], last["bias"], r)
    r = rules[0](flat, first["weight"], first["bias"], r)
    found = vizkit.lrp(model, x, target=1, rules=composite)
    np.testing.assert_allclose(found.extra["attribution"].reshape(-1), r, atol=1e-12 * np.abs(r).max())
    error = abs(r.sum() - logits[1]) / abs(logits[1])
    assert found.extra["conservation_error"][0] == pytest.approx(error, rel=1e-9)


@both()
@quiet
@pytest.mark.parametrize("rules", COMPOSITES)
def test_backends_agree(rng: np.random.Generator, rules: str) -> None:
    x = rng.normal(size=(3, 3, 8, 8))
    ours, other = (
        vizkit.lrp(wrapped(kit_of(b).sequential(CONVS, seed=2), 8), x, target=[0, 1, 2], rules=rules)
        for b in ("torch", "gluon")
    )
    assert np.abs(ours.values).max() > 1e-3
    np.testing.assert_allclose(other.values, ours.values, atol=1e-10 * np.abs(ours.values).max())


@both()
@pytest.mark.parametrize("network", ["resnet18", "googlenet"])
def test_backends_agree_on_large_networks(network: str) -> None:
    """Skip connections and merged batch norms; concatenation, pools and functional ReLUs."""
    x = np.random.default_rng(0).uniform(-1.5, 1.5, size=(1, 3, 64, 64))
    models = [smaller(backend, network, 64, "random:3") for backend in ("torch", "gluon")]
    for method in (vizkit.lrp, vizkit.deeplift):
        one, other = (method(model, x, target=5).values for model in models)
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(other, one, atol=1e-8 * np.abs(one).max())


@pytest.mark.quick
@quiet
def test_relevance_is_kept_without_biases(name: str, rng: np.random.Generator) -> None:
    """Nothing but stabilisers may take any, whatever the rules."""
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    kit = kit_of(name)
    layers = [one for one in CONVS if one[0] != "norm"]
    model = wrapped(kit.sequential(layers, seed=2), 8)
    blank = {key: np.zeros(shape) for key, shape in model.parameter_shapes().items() if key.endswith("bias")}
    model = model.with_parameters(blank)
    x = rng.uniform(-1, 1, size=(2, 3, 8, 8))
    for rules in COMPOSITES:
        found = vizkit.lrp(model, x, target=2, rules=rules)
        assert found.extra["conservation_error"].max() < 1e-3, rules


@quiet
def test_parts_of_units_add_up(name: str, rng: np.random.Generator) -> None:
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    model = wrapped(kit_of(name).sequential(CONVS, seed=2), 8)
    x, layer = rng.normal(size=(2, 3, 8, 8)), "5"
    whole = vizkit.lrp(model, x, target=1)
    every = [vizkit.crp(model, x, target=1, layer=layer, units=u) for u in range(8)]
    np.testing.assert_allclose(sum(one.values for one in every), whole.values, atol=1e-12)
    np.testing.assert_allclose(vizkit.crp(model, x, target=1, layer=layer, units=[2, 5]).values,
                               every[2].values + every[5].values, atol=1e-12)  # fmt: skip
    relevance = every[0].extra["relevance"]
    best = vizkit.crp(model, x, target=1, layer=layer)
    assert best.provenance["settings"]["units"] == relevance.argmax(axis=1)[:, None].tolist()
    for i, unit in enumerate(relevance.argmax(axis=1)):
        np.testing.assert_allclose(best.values[i], every[unit].values[i], atol=1e-12)
        kept = every[unit].values[i].sum()
        assert abs(kept) <= abs(relevance[i, unit]) * 1.5
    with pytest.raises(SettingError, match="has units 0 to 7; there is no 8"):
        vizkit.crp(model, x, layer=layer, units=8)


@pytest.mark.parametrize("turned", [False, True])
def test_relevance_at_a_layer_that_a_path_goes_around(name: str, turned: bool) -> None:
    """Of what is added beside the layer, each part has its share; by hand, and whatever else is differentiated."""
    layers = case([("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 72, 4)]).parts
    native = kit_of(name).side()
    native.turned = turned
    model = vizkit.wrap(native, input_size=6, mean=(0.0,) * 3, std=(1.0,) * 3)
    x = np.random.default_rng(3).normal(size=(2, 3, 6, 6))
    found = vizkit.crp(model, list(x), target=1, layer="conv", rules="epsilon")
    kept = model.forward(model.ops.asarray(x), ("conv", "output"))
    y, out = (model.ops.numpy(kept[key]) for key in ("conv", "output"))
    weight = layers[-1].arrays["weight"][1].reshape(1, *y.shape[1:])
    whole = y + x.sum(axis=1, keepdims=True)
    share = up(whole) * weight * (out[:, 1] / (out[:, 1] + np.where(out[:, 1] >= 0, EPS, -EPS)))[:, None, None, None]
    expected = share * y / (whole + np.where(whole >= 0, EPS, -EPS))
    np.testing.assert_allclose(found.extra["relevance"], expected.sum(axis=(2, 3)), rtol=1e-10)


@quiet
def test_reference_pictures_by_relevance(name: str, rng: np.random.Generator) -> None:
    """With an epsilon of a millionth, relevance at a layer is activation times gradient."""
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    model, layer = wrapped(kit_of(name).sequential(CONVS, seed=2), 8), "5"
    pictures = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(7)]
    x, ops = vizkit.images.prepare(pictures, model.spec).tensor, model.ops

    def score(leaves: dict[str, Any]) -> Any:
        kept = model.forward(ops.asarray(x), (layer, "output"), add=leaves)
        return kept["output"][:, 1], kept[layer]

    _, gradients, maps = ops.value_and_grad(score, {layer: ops.zeros((7, 8, 4, 4))})
    relevance = ops.numpy(maps * gradients[layer]).reshape(7, 8, -1).max(axis=2).T
    found = vizkit.top_patches(model, pictures, layer, k=3, by="relevance", target=1, rules="epsilon", batch_size=2)
    wanted = -np.sort(-relevance, axis=1)[:, :3]
    np.testing.assert_allclose(found.values, wanted, atol=2e-3 * np.abs(wanted).max())
    settings = found.provenance["settings"]
    assert (settings["by"], settings["target"], settings["rules"]) == ("relevance", 1, "epsilon")
    assert (vizkit.top_patches(model, pictures, layer, k=3).places != found.places).any()
    with pytest.raises(SettingError, match="by='relevanc'"):
        vizkit.top_patches(model, pictures, layer, by="relevanc")


def test_relevance_that_blows_up_is_warned_of(name: str, rng: np.random.Generator) -> None:
    """A bias that takes nearly all of an output: what is left is divided by."""
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    model = wrapped(kit_of(name).sequential(DENSE, seed=4), SIZE)
    x = rng.normal(size=(1, 3, SIZE, SIZE))
    shapes = model.parameter_shapes()
    last = next(key for key in reversed(list(shapes)) if key.endswith("bias"))
    logits = model.logits(x)[0]
    bias = model.parameter(last) - logits * (1 - 1e-6)
    for rules, other in (("epsilon", "epsilon_plus_flat"), ("epsilon_plus_flat", "deep_taylor")):
        with pytest.warns(vizkit.errors.MapWarning, match=f"nearly cancels.*take rules='{other}'"):
            vizkit.lrp(model.with_parameters({last: bias}), x, target=1, rules=rules)


def test_what_is_wrong_is_said(name: str, rng: np.random.Generator) -> None:
    if name not in ("torch", "gluon"):
        pytest.skip(f"{name} has no rules")
    model = wrapped(kit_of(name).sequential(CONVS, seed=2), 8)
    x = rng.normal(size=(1, 3, 8, 8))
    with pytest.raises(UnknownNameError, match="epsilon_plus"):
        vizkit.lrp(model, x, rules="epsilon_pluss")
    with pytest.raises(SettingError, match="alpha - beta = 1"):
        AlphaBeta(2, 2)


@pytest.mark.parametrize("method", ["lrp", "deeplift"])
def test_operations_without_a_rule_are_refused(method: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    native = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3), torch.nn.Softmax(1)).double()
    with pytest.raises(SettingError, match="softmax"):
        getattr(vizkit, method)(wrapped(native, 2), rng.normal(size=(1, 3, 2, 2)), target=1)


@both()
@quiet
def test_a_gate_that_is_repeated_over_places_keeps_its_half(rng: np.random.Generator) -> None:
    """``x * sigmoid(mean of x over places)``, as squeeze and excitation have it: the same in both, and nothing lost."""
    import mxnet as mx
    import torch

    weight = rng.uniform(0.1, 1, size=(6, 48))

    class Squeezed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = torch.nn.Linear(48, 6, bias=False).double()
            self.last.weight.data = torch.from_numpy(weight)

        def forward(self, x: Any) -> Any:
            return self.last((x * torch.sigmoid(x.mean((2, 3), keepdim=True))).flatten(1))

    class Block(mx.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.last = mx.gluon.nn.Dense(6, use_bias=False, in_units=48, dtype="float64")

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return self.last(F.flatten(F.broadcast_mul(x, F.sigmoid(F.mean(x, axis=(2, 3), keepdims=True)))))

    block = Block()
    block.initialize()
    block.last.weight.set_data(mx.nd.array(weight, dtype="float64"))
    x = rng.uniform(0.5, 1, size=(2, 3, 4, 4))
    found = [vizkit.lrp(wrapped(one, 4), x, target=5) for one in (Squeezed(), block)]
    np.testing.assert_allclose(found[0].values, found[1].values, atol=1e-12 * np.abs(found[0].values).max())
    assert found[0].extra["conservation_error"].max() < 1e-5


@both()
@pytest.mark.parametrize("method", ["lrp", "deeplift"])
def test_a_softplus_is_one_by_mxnets_name(method: str, rng: np.random.Generator) -> None:
    import mxnet as mx
    import torch
    from mxnet.gluon import nn as gluon
    from torch import nn

    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(32, 3)).double()
    own = gluon.HybridSequential()
    own.add(gluon.Conv2D(2, 3, in_channels=3), gluon.Activation("softrelu"), gluon.Flatten())
    own.add(gluon.Dense(3, in_units=32))
    own.initialize()
    own.cast("float64")
    for parameter, value in zip(own.collect_params().values(), theirs.parameters(), strict=True):
        parameter.set_data(mx.nd.array(value.detach().numpy(), dtype="float64"))
    x = rng.normal(size=(1, 3, 6, 6))
    found, expected = (
        getattr(vizkit, method)(vizkit.wrap(net, input_size=6, mean=(0.0,) * 3, std=(1.0,) * 3), x, target=1).values
        for net in (own, theirs)
    )
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
