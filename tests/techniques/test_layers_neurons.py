"""Gradient methods at a layer, for a unit, and from several baselines, in PyTorch against captum, float64 to 1e-8 of
the largest value, on a small network with every trap. Nodes and weights are those that float32 holds exactly, since
captum rounds them to that. Captum sees a copy without in-place ReLUs, which its hooks cannot bear."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit.contract import draws
from vizkit.techniques.attribution.baselines import draw

if "torch" not in INSTALLED:
    pytest.skip("compares with captum; PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn

pytestmark = [
    pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning"),
    pytest.mark.filterwarnings("ignore:Setting backward hooks"),
]
captum = pytest.importorskip("captum.attr", reason="captum is not installed")
TARGETS = [1, 3]
LAYERS = ["0", "2", "5", "7"]
STEPS = 4


def net_of(native: Any, pictures: Any, **options: Any) -> SimpleNamespace:
    model = vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3), **options)
    plain = copy.deepcopy(native).eval()
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    x = torch.from_numpy(vizkit.images.prepare(pictures, model.spec).tensor).double()
    return SimpleNamespace(model=model, native=plain, pictures=pictures, x=x, zero=torch.zeros_like(x))


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(2)]


@pytest.fixture
def net(pictures: Any) -> SimpleNamespace:
    return net_of(kit_of("torch").sequential(TRAPS), pictures)


def strongest_unit(net: SimpleNamespace, layer: str) -> tuple[str, int, int, int]:
    """A unit and a place at which no ReLU is closed, in both pictures."""
    least = net.model.ops.numpy(net.model.forward(net.x, (layer,))[layer]).min(axis=0)
    return (layer, *map(int, np.unravel_index(least.argmax(), least.shape)))  # type: ignore[return-value]


@pytest.mark.parametrize("layer", LAYERS)
def test_gradient_x_activation(net: Any, agree: Any, layer: str) -> None:
    theirs = captum.LayerGradientXActivation(net.native, net.native.get_submodule(layer)).attribute(
        net.x, target=TARGETS
    )
    ours = vizkit.gradient_x_input(net.model, net.pictures, target=TARGETS, layer=layer)
    agree("gradient_x_input", "captum LayerGradientXActivation", ours.extra["attribution"], theirs.detach())
    up = nn.functional.interpolate(theirs.sum(1, keepdim=True), (TRAPS_SIZE,) * 2, mode="bilinear")
    agree("gradient_x_input", "captum, torch's bilinear", ours.values, up[:, 0].detach())
    assert ours.layer == ours.provenance["settings"]["layer"] == layer
    assert ours.signed


@pytest.mark.quick
def test_saliency_at_a_layer(net: Any, agree: Any) -> None:
    x, seen = net.x, []
    net.native.get_submodule("5").register_forward_hook(lambda _m, _i, out: seen.append(out) or out.retain_grad())
    net.native(x.requires_grad_())[range(2), TARGETS].sum().backward()
    ours = vizkit.saliency(net.model, net.pictures, target=TARGETS, layer="5")
    agree("saliency", "autograd at a layer", ours.extra["attribution"], seen[0].grad)
    up = nn.functional.interpolate(seen[0].grad.abs().amax(1, keepdim=True), (TRAPS_SIZE,) * 2, mode="bilinear")
    agree("saliency", "autograd at a layer, torch's bilinear", ours.values, up[:, 0])
    assert not ours.signed


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rule", ["riemann_middle", "riemann_right"])
def test_integrated_gradients_at_a_layer(net: Any, agree: Any, layer: str, rule: str) -> None:
    # Not at the baseline itself: there all places are alike, and rounding decides what a max-pool takes.
    method = captum.LayerIntegratedGradients(net.native, net.native.get_submodule(layer))
    theirs = method.attribute(net.x, net.zero, target=TARGETS, n_steps=STEPS, method=rule)
    ours = vizkit.integrated_gradients(
        net.model, net.pictures, target=TARGETS, layer=layer, baseline="mean", steps=STEPS, rule=rule, batch_size=3
    )
    agree("integrated_gradients", "captum LayerIntegratedGradients", ours.extra["attribution"], theirs.detach())
    rise = (net.native(net.x) - net.native(net.zero))[range(2), TARGETS].detach().numpy()
    error = np.abs(ours.extra["attribution"].sum((1, 2, 3)) - rise) / np.abs(rise)
    np.testing.assert_allclose(ours.extra["completeness_error"], error, rtol=1e-6, atol=1e-12)


class Beside(nn.Module):
    """A layer that half of the picture's way passes by."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.inner, self.outer = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.top = nn.Linear(4 * TRAPS_SIZE**2, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.tanh(self.inner(x)) * torch.sigmoid(self.outer(x))
        found: torch.Tensor = self.top(both.flatten(1))
        return found


def test_what_passes_a_layer_by_stays_that_of_the_picture(pictures: Any, agree: Any) -> None:
    net = net_of(Beside().double(), pictures)
    theirs = captum.LayerIntegratedGradients(net.native, net.native.inner).attribute(
        net.x, net.zero, target=TARGETS, n_steps=STEPS, method="riemann_middle"
    )
    settings: dict[str, Any] = {"target": TARGETS, "layer": "inner", "baseline": "mean"}
    ours = vizkit.integrated_gradients(net.model, pictures, steps=STEPS, rule="riemann_middle", **settings)
    agree("integrated_gradients", "captum LayerIntegratedGradients, beside", ours.extra["attribution"], theirs.detach())
    # Complete with respect to the layer alone, which captum's delta is not.
    exact = vizkit.integrated_gradients(net.model, pictures, steps=60, **settings)
    assert exact.extra["completeness_error"].max() < 1e-10


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rule", ["riemann_trapezoid", "riemann_left", "riemann_right", "gausslegendre"])
def test_conductance(net: Any, agree: Any, layer: str, rule: str) -> None:
    # Of the riemann rules captum takes one more node than steps, of which 8 are exact; Gauss-Legendre's are float64.
    steps = 4 if rule == "riemann_trapezoid" else 7
    theirs = captum.LayerConductance(net.native, net.native.get_submodule(layer)).attribute(
        net.x, net.zero, target=TARGETS, n_steps=steps, method=rule
    )
    ours = vizkit.conductance(
        net.model, net.pictures, target=TARGETS, layer=layer, baseline="mean", steps=steps, rule=rule, batch_size=3
    )
    agree("conductance", f"captum LayerConductance, {rule}", ours.extra["attribution"], theirs.detach())


@pytest.mark.parametrize("layer", ["2", "7"])
def test_internal_influence(net: Any, agree: Any, layer: str) -> None:
    theirs = captum.InternalInfluence(net.native, net.native.get_submodule(layer)).attribute(
        net.x, net.zero, target=TARGETS, n_steps=STEPS, method="riemann_middle"
    )
    ours = vizkit.internal_influence(
        net.model, net.pictures, target=TARGETS, layer=layer, baseline="mean", steps=STEPS, rule="riemann_middle"
    )
    agree("internal_influence", "captum InternalInfluence", ours.extra["attribution"], theirs.detach())


@pytest.mark.parametrize("layer", ["5", "7"])
def test_neurons(net: Any, agree: Any, layer: str) -> None:
    neuron = strongest_unit(net, layer)
    module, x = net.native.get_submodule(layer), net.x.clone().requires_grad_()
    of: dict[str, Any] = {"neuron": neuron}
    theirs = captum.NeuronGradient(net.native, module).attribute(x, neuron[1:])
    ours = vizkit.gradient_x_input(net.model, net.pictures, **of)
    agree("gradient_x_input", "captum NeuronGradient", ours.extra["attribution"], (theirs * net.x).detach())
    strongest = vizkit.saliency(net.model, net.pictures, **of).values
    agree("saliency", "captum NeuronGradient", strongest, theirs.abs().amax(1))
    for method, peer in (("guided_backprop", "NeuronGuidedBackprop"), ("deconvnet", "NeuronDeconvolution")):
        theirs = getattr(captum, peer)(net.native, module).attribute(x, neuron[1:])
        ours = getattr(vizkit, method)(net.model, net.pictures, **of)
        agree(method, f"captum {peer}", ours.extra["attribution"], theirs)
    rule: dict[str, Any] = {"steps": STEPS, "rule": "riemann_middle", "baseline": "mean"}
    theirs = captum.NeuronIntegratedGradients(net.native, module).attribute(
        net.x, neuron[1:], net.zero, n_steps=STEPS, method="riemann_middle"
    )
    ours = vizkit.integrated_gradients(net.model, net.pictures, **of, **rule)
    agree("integrated_gradients", "captum NeuronIntegratedGradients", ours.extra["attribution"], theirs.detach())
    theirs = captum.NeuronConductance(net.native, module).attribute(
        net.x, neuron[1:], net.zero, target=TARGETS, n_steps=STEPS, method="riemann_middle"
    )
    ours = vizkit.conductance(net.model, net.pictures, target=TARGETS, **of, **rule)
    agree("conductance", "captum NeuronConductance", ours.extra["attribution"], theirs.detach())
    assert ours.provenance["settings"]["neuron"] == list(neuron)


def test_a_channel_is_the_sum_of_its_places(net: Any, agree: Any) -> None:
    places = (2, slice(None), slice(None))
    theirs = captum.NeuronGradient(net.native, net.native.get_submodule("5")).attribute(
        net.x.clone().requires_grad_(), places
    )
    ours = vizkit.saliency(net.model, net.pictures, neuron=("5", 2))
    agree("saliency", "captum NeuronGradient of a slice", ours.values, theirs.abs().amax(1))
    assert ours.labels == ("unit 2 of 5",) * 2


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int, int], list[int]]:
    """Lets captum draw vizkit's baselines and positions."""

    def install(seed: int, samples: int, count: int) -> list[int]:
        which, at = zip(*(draw(seed, s, count) for s in range(samples)), strict=True)
        monkeypatch.setattr(np.random, "choice", lambda *_a, **_k: np.array(which))
        monkeypatch.setattr(np.random, "uniform", lambda *_a: np.array(at))
        return list(which)

    return install


def test_expected_gradients(net: Any, agree: Any, drawn: Any, rng: np.random.Generator) -> None:
    """From pictures of a data set as baselines, given as an array; and at a layer that is affine in the input, where
    captum's points between the inputs are ours between the activations; and of a unit."""
    seed, samples = 5, 6
    data = rng.integers(0, 256, (4, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    assert len(set(drawn(seed, samples, 4))) > 1
    starts = torch.from_numpy(vizkit.images.prepare(list(data), net.model.spec).tensor).double()
    settings: dict[str, Any] = {"baselines": data, "samples": samples, "seed": seed}
    given: dict[str, Any] = {"baselines": starts, "n_samples": samples, "stdevs": 0.0}
    neuron = strongest_unit(net, "7")
    for i in range(2):
        x, picture = net.x[i : i + 1], net.pictures[i]
        theirs = captum.GradientShap(net.native).attribute(x, target=TARGETS[i], **given)
        ours = vizkit.gradient_shap(net.model, picture, target=TARGETS[i], **settings)
        agree("gradient_shap", "captum GradientShap, a data set", ours.extra["attribution"], theirs.detach())
        theirs = captum.LayerGradientShap(net.native, net.native.get_submodule("0")).attribute(
            x, target=TARGETS[i], **given
        )
        ours = vizkit.gradient_shap(net.model, picture, target=TARGETS[i], layer="0", **settings)
        agree("gradient_shap", "captum LayerGradientShap, affine", ours.extra["attribution"], theirs.detach())
        theirs = captum.NeuronGradientShap(net.native, net.native.get_submodule("7")).attribute(x, neuron[1:], **given)
        ours = vizkit.gradient_shap(net.model, picture, neuron=neuron, **settings)
        agree("gradient_shap", "captum NeuronGradientShap", ours.extra["attribution"], theirs.detach())


def test_smoothgrad_at_a_layer(net: Any, agree: Any) -> None:
    samples, seed, noise = 3, 2, 0.2
    drawn = draws.normal(draws.keys(seed, range(samples)), net.x[0].numel()).reshape(samples, *net.x.shape[1:])
    settings: dict[str, Any] = {"layer": "5", "samples": samples, "noise": noise, "seed": seed}
    found = {name: getattr(vizkit, name)(net.model, net.pictures, target=TARGETS, **settings) for name in (
        "smoothgrad", "vargrad", "squaregrad")}  # fmt: skip
    for i, target in enumerate(TARGETS):
        level = noise * float(net.x[i].max() - net.x[i].min())
        value = net.native[:6](net.x[i] + level * torch.from_numpy(drawn)).detach().requires_grad_()
        (gradients,) = torch.autograd.grad(net.native[6:](value)[:, target].sum(), value)
        wanted = {"smoothgrad": gradients.mean(0), "squaregrad": (gradients**2).mean(0)}
        wanted["vargrad"] = gradients.var(0, unbiased=False)
        for name, theirs in wanted.items():
            agree(name, "autograd at a layer", found[name].extra["attribution"][i], theirs)
