"""The newer class-activation maps in PyTorch against pytorch-grad-cam, torch-cam and a plain loop, float64. What a peer
rounds to float32 at its end is compared before it does."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, shared_file
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from kits.photos import squeezenet

import vizkit
from vizkit.contract import draws
from vizkit.inputs.references import reference

if "torch" not in INSTALLED:
    pytest.skip("compares with PyTorch's toolkits; PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn

LAYER = "features.12"
TARGET, SIDE = 282, 96
WHOLE = "2"
"""The layer of the small network that is as large as its input: nothing is enlarged."""


@pytest.fixture(scope="module")
def net() -> SimpleNamespace:
    """SqueezeNet, a copy for peers without in-place ReLUs, and the photo with the cat."""
    photo = shared_file("images/cat_dog.png")
    model = squeezenet("torch", SIDE)
    native = copy.deepcopy(model.native).eval().cpu()
    for module in native.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    x = torch.from_numpy(vizkit.images.prepare(photo, model.spec).tensor).double()
    return SimpleNamespace(model=model, native=native, photo=photo, x=x, layer=native.get_submodule(LAYER))


@pytest.fixture
def cams(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pytorch-grad-cam, whose decompositions stay float64."""
    found = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils import svd_on_activations

    class Exact:
        float32 = staticmethod(np.float64)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    monkeypatch.setattr(svd_on_activations, "np", Exact())
    return found


def raw(net: Any, peer: Any, **options: Any) -> np.ndarray:
    """A peer's map at the layer's resolution, before it is clipped and resized."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    wanted = [ClassifierOutputTarget(TARGET)]
    with torch.enable_grad():
        peer(net.x.clone().requires_grad_(), None if options else wanted, **options)
    seen = getattr(peer, "base_cam", peer)
    kept = seen.activations_and_grads
    gradients = [one.numpy() for one in kept.gradients] or [None]
    return np.asarray(seen.get_cam_image(net.x, net.layer, wanted, kept.activations[0].numpy(), gradients[0], False))


def signed(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The peer's map with our sign: it leaves it to the decomposition."""
    return theirs * np.sign((ours * theirs).sum((1, 2), keepdims=True))


@pytest.mark.parametrize("which", ["eigen_gradcam", "sigmoid", "rbf", "poly", "linear"])
def test_components(net: Any, cams: Any, agree: Any, which: str) -> None:
    if which == "eigen_gradcam":
        found = vizkit.eigen_gradcam(net.model, net.photo, target=TARGET, layer=LAYER, relu=False)
        peer = cams.EigenGradCAM(net.native, [net.layer])
    else:
        gamma = 1e-6 if which == "rbf" else None  # at 1 / 512 all positions are equally far, and nothing is first
        found = vizkit.kpca_cam(net.model, net.photo, target=TARGET, layer=LAYER, kernel=which, gamma=gamma)
        peer = cams.KPCA_CAM(net.native, [net.layer], kernel=which, gamma=gamma)
    ours = found.extra["cam"]
    agree(found.provenance["technique"], f"pytorch-grad-cam, {which}", ours, signed(ours, raw(net, peer)))


@pytest.mark.quick
def test_a_component_has_the_sign_of_what_it_stands_for(net: Any) -> None:
    """With a sign flipped by the decomposition the map is the same; the linear kernel is Eigen-CAM."""
    share = vizkit.eigen_gradcam(net.model, net.photo, target=TARGET, layer=LAYER, relu=False).extra["cam"]
    whole = vizkit.hirescam(net.model, net.photo, target=TARGET, layer=LAYER).extra["cam"]
    assert np.corrcoef(share.ravel(), whole.ravel())[0, 1] > 0
    linear = vizkit.kpca_cam(net.model, net.photo, layer=LAYER, kernel="linear").extra["cam"]
    plain = vizkit.eigencam(net.model, net.photo, layer=LAYER, centre=True).extra["cam"]
    np.testing.assert_allclose(linear, plain, rtol=0, atol=1e-8 * np.abs(plain).max())
    clipped = vizkit.kpca_cam(net.model, net.photo, layer=LAYER, kernel="linear", relu=True).extra["cam"]
    np.testing.assert_array_equal(clipped, np.maximum(linear, 0))


def test_fem(net: Any, cams: Any, agree: Any) -> None:
    """pytorch-grad-cam weights the activations by the share of strong positions; the paper adds up the strong positions
    themselves, each channel's by its mean."""
    theirs = raw(net, cams.FEM(net.native, [net.layer], k=1.5))
    options: dict[str, Any] = {"layer": LAYER, "sigmas": 1.5}
    ours = vizkit.fem(net.model, net.photo, binary=False, **options).extra["cam"]
    agree("fem", "pytorch-grad-cam FEM, binary=False", ours, theirs)
    a = net.native.features(net.x).detach().numpy()[0]
    mean, deviation = a.mean((1, 2)), a.std((1, 2))
    wanted = sum(m * (one > m + 1.5 * d) for one, m, d in zip(a, mean, deviation, strict=True))
    agree("fem", "the paper's formula", vizkit.fem(net.model, net.photo, **options).extra["cam"], wanted[None])


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_finer_cam(net: Any, cams: Any, agree: Any, alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It adds 1e-9 to the rivals' probabilities, which changes the map by up to 1e-7: undone, the rest is compared."""
    from pytorch_grad_cam import finer_cam

    class Exact(finer_cam.FinerWeightedTarget):
        def __call__(self, output: torch.Tensor) -> torch.Tensor:
            whole = output.softmax(-1)[self.comparison_categories].sum()
            return super().__call__(output) * (whole + 1e-9) / whole

    monkeypatch.setattr(finer_cam, "FinerWeightedTarget", Exact)
    ours = vizkit.finer_cam(net.model, net.photo, target=TARGET, layer=LAYER, alpha=alpha, relu=False)
    theirs = raw(net, cams.FinerCAM(net.native, [net.layer]), alpha=alpha, target_idx=TARGET)
    agree("finer_cam", "pytorch-grad-cam FinerCAM", ours.extra["cam"], theirs)


@pytest.mark.parametrize("layer", [LAYER, "features.7"])
def test_shapley_cam(net: Any, cams: Any, agree: Any, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It differentiates twice; here the central difference of a gradient, off by 3e-11. The curvature counts."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

    weights, plain = [], cams.ShapleyCAM.get_cam_weights
    monkeypatch.setattr(cams.ShapleyCAM, "get_cam_weights", lambda *given: weights.append(plain(*given)) or weights[-1])
    peer = cams.ShapleyCAM(net.native, [net.native.get_submodule(layer)])
    peer(net.x.clone(), [ClassifierOutputReST(TARGET)])
    ours = vizkit.shapley_cam(net.model, net.photo, target=TARGET, layer=layer)
    agree("shapley_cam", f"pytorch-grad-cam ShapleyCAM, {layer}", ours.extra["weights"], weights[0])
    with torch.no_grad():
        activations = net.native.features[: int(layer.split(".")[1]) + 1](net.x).numpy()
    raw = (weights[0][:, :, None, None] * activations).sum(1)
    agree("shapley_cam", f"pytorch-grad-cam ShapleyCAM, {layer}, map", ours.extra["cam"], np.maximum(raw, 0))
    options: dict[str, Any] = {"target": TARGET, "layer": layer}
    plain_map = vizkit.gradcam(net.model, net.photo, **options).extra["cam"]
    straight = vizkit.shapley_cam(net.model, net.photo, utility="score", **options).extra["cam"]
    np.testing.assert_allclose(straight, plain_map, rtol=0, atol=1e-8 * plain_map.max())


def test_group_cam_by_a_plain_loop(net: Any, agree: Any) -> None:
    """As the authors' code goes, one group after another; no toolkit here has it."""
    groups = 5  # of 103 channels, the last of 100
    ours = vizkit.group_cam(net.model, net.photo, target=TARGET, layer=LAYER, groups=groups, percentile=60.0)
    behind = torch.from_numpy(reference("blurred", ours.batch, net.model.spec)).double()
    activations = net.native.features(net.x).detach().requires_grad_()
    net.native.classifier(activations).flatten(1)[0, TARGET].backward()
    weighted = (activations.grad.mean((2, 3), keepdim=True) * activations).detach()

    def probability(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return net.native(x).softmax(1)[0, TARGET]

    total, scores = torch.zeros(1, 1, SIDE, SIDE).double(), []
    for group in weighted.chunk(groups, 1):
        one = group.sum(1, keepdim=True).relu()
        one = torch.where(one > np.percentile(one.numpy(), 60.0), one, 0.0)
        one = nn.functional.interpolate(one, (SIDE, SIDE), mode="bilinear", align_corners=False)
        one = (one - one.min()) / (one.max() - one.min())
        scores.append(probability(net.x * one + behind * (1 - one)) - probability(behind))
        total += scores[-1] * one
    agree("group_cam", "a plain loop, scores", ours.extra["scores"], torch.stack(scores)[None].numpy())
    agree("group_cam", "a plain loop", ours.values, total.relu()[:, 0].numpy())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The small network, where torch-cam's order, to scale before enlarging, is no other; it adds 1e-8 to what it
    divides by, here nothing."""
    methods = pytest.importorskip("torchcam.methods", exc_type=ImportError, reason="torch-cam is not installed")
    plain = methods.ScoreCAM._normalize
    monkeypatch.setattr(methods.ScoreCAM, "_normalize", staticmethod(lambda cams, dims=None: plain(cams, dims, 0.0)))
    spec: dict[str, Any] = {"input_size": TRAPS_SIZE, "mean": (0.5, 0.4, 0.6), "std": (0.25, 0.2, 0.3)}
    model = vizkit.wrap(kit_of("torch").sequential(TRAPS), **spec)
    pictures = list(np.random.default_rng(4).integers(0, 256, (2, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8))
    x = torch.from_numpy(vizkit.images.prepare(pictures, model.spec).tensor).double()
    return SimpleNamespace(model=model, pictures=pictures, x=x, methods=methods, native=copy.deepcopy(model.native))


def torchcams(small: Any, name: str, noise: Any = None, **options: Any) -> np.ndarray:
    native, shape = small.native.eval(), (3, TRAPS_SIZE, TRAPS_SIZE)
    with getattr(small.methods, name)(native, WHOLE, input_shape=shape, batch_size=5, **options) as extract:
        extract._distrib = noise
        return np.asarray(extract([3, 0], native(small.x), normalized=False)[0].detach())


@pytest.mark.parametrize("samples", [1, 3])
def test_is_cam_summed(small: Any, agree: Any, samples: int) -> None:
    theirs = torchcams(small, "ISCAM", num_samples=samples)
    options: dict[str, Any] = {"target": [3, 0], "layer": WHOLE, "samples": samples}
    ours = vizkit.is_cam(small.model, small.pictures, summed=True, **options).extra["cam"]
    agree("is_cam", f"torch-cam ISCAM, {samples} samples", ours, theirs)
    straight = vizkit.is_cam(small.model, small.pictures, **options).extra["cam"]
    assert np.allclose(straight, ours, rtol=1e-9, atol=0) == (samples == 1)


class Dimmed(nn.Module):
    """A network of a darker picture."""

    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x * self.factor)


def test_is_cam_goes_straight(small: Any, agree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch-cam's one step, full masks, for each darker picture: its weights' logarithms are the scores, but for what
    the softmax cancels. The activations are those of the picture itself."""
    found = []
    plain = small.methods.ISCAM._get_score_weights
    kept: list[torch.Tensor] = []

    def noted(self: Any, *given: Any) -> Any:
        kept.extend(plain(self, *given))
        return kept[-1:]

    monkeypatch.setattr(small.methods.ISCAM, "_get_score_weights", noted)
    for i in (1, 2, 3):
        inner = copy.deepcopy(small.native).eval()
        dimmed = Dimmed(inner, 1.0)
        shape = (3, TRAPS_SIZE, TRAPS_SIZE)
        with small.methods.ISCAM(dimmed, f"inner.{WHOLE}", input_shape=shape, num_samples=1) as extract:
            scores = dimmed(small.x)
            dimmed.factor = i / 3  # of the masked pictures alone
            extract([3, 0], scores, normalized=False)
        found.append(kept[-1].log())
    weights = torch.stack(found).mean(0).softmax(1).numpy()
    with torch.no_grad():
        activations = nn.Sequential(*list(small.native.eval().children())[: int(WHOLE) + 1])(small.x).numpy()
    ours = vizkit.is_cam(small.model, small.pictures, target=[3, 0], layer=WHOLE, samples=3).extra["cam"]
    agree("is_cam", "torch-cam ISCAM, straight", ours, np.maximum((weights[:, :, None, None] * activations).sum(1), 0))


def test_ss_cam(small: Any, agree: Any) -> None:
    """torch-cam draws for both pictures; here the same noise serves each."""
    samples, channels, seed, calls = 3, 6, 5, []

    class Same:
        def sample(self, size: torch.Size) -> torch.Tensor:
            numbers = range(len(calls) * channels, (len(calls) + 1) * channels)
            drawn = draws.normal(draws.keys(seed, numbers), TRAPS_SIZE**2).reshape(1, channels, TRAPS_SIZE, TRAPS_SIZE)
            calls.append(size)
            return 0.7 * torch.from_numpy(drawn).expand(size)

    theirs = torchcams(small, "SSCAM", noise=Same(), num_samples=samples)
    assert len(calls) == samples
    options: dict[str, Any] = {"target": [3, 0], "layer": WHOLE, "samples": samples, "seed": seed}
    ours = vizkit.ss_cam(small.model, small.pictures, noise=0.7, **options).extra["cam"]
    agree("ss_cam", "torch-cam SSCAM", ours, theirs)
    silent = vizkit.ss_cam(small.model, small.pictures, noise=0.0, **options).extra["cam"]
    score = vizkit.scorecam(small.model, small.pictures, target=[3, 0], layer=WHOLE).extra["cam"]
    np.testing.assert_allclose(silent, score, rtol=1e-9)
