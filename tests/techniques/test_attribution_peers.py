"""Attribution methods in PyTorch against captum, pytorch-grad-cam and torch-cam: SqueezeNet, real weights, both photos,
float64. Peers see a copy without in-place ReLUs, which captum's hooks cannot bear."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, shared_file
from kits.photos import squeezenet

import vizkit
from vizkit.contract import draws
from vizkit.techniques.attribution.baselines import draw

if "torch" not in INSTALLED:
    pytest.skip("compares with PyTorch's toolkits; PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn

SIDE = 96
TARGETS = [56, 282]
LAYER = "features.12"
SMALL = "features.4.squeeze_activation"
EXACT = 1e-8


def load(dtype: str, side: int = SIDE) -> SimpleNamespace:
    """The model, a copy for peers, the photos and the same as a tensor."""
    photos = [shared_file("images/king_snake.png"), shared_file("images/cat_dog.png")]
    model = squeezenet("torch", side, dtype)
    native = copy.deepcopy(model.native).eval().cpu()
    for module in native.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    x = torch.from_numpy(vizkit.images.prepare(photos, model.spec).tensor).to(getattr(torch, dtype))
    return SimpleNamespace(model=model, native=native, photos=photos, x=x, layer=native.get_submodule(LAYER))


@pytest.fixture(scope="module")
def net() -> SimpleNamespace:
    return load("float64")


@pytest.fixture(scope="module")
def single() -> SimpleNamespace:
    """float32, for the methods of many passes whose peers know no other."""
    return load("float32")


@pytest.fixture
def agree(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Asserts that two maps differ by less than a share of the largest value; the report gets the figure."""

    def check(method: str, oracle: str, ours: Any, theirs: Any, tolerance: float = EXACT, norm: str = "max") -> None:
        ours = np.asarray(ours)
        theirs = np.asarray(theirs.detach() if isinstance(theirs, torch.Tensor) else theirs)
        assert ours.shape == theirs.shape
        assert np.abs(theirs).max() > 0, "the oracle's map is blank, which proves nothing"
        off = ours.astype(np.float64) - theirs
        size = (
            np.abs(off).max() / np.abs(theirs).max() if norm == "max" else np.linalg.norm(off) / np.linalg.norm(theirs)
        )
        record_property("attribution", {"method": method, "backend": "torch", "oracle": oracle, norm: float(size)})
        print(f"ATTRIBUTION | {method} | {oracle} | {norm} {size:.1e}")
        assert size <= tolerance

    return check


@pytest.fixture
def captum() -> Any:
    return pytest.importorskip("captum.attr", reason="captum is not installed")


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int, float], None]:
    """Lets captum draw vizkit's noise: samples 0, 1, … of one seed. It rounds the deviation to float32; not here."""

    def install(count: int, seed: int, exact: float) -> None:
        def normal(_mean: float, deviation: torch.Tensor) -> torch.Tensor:
            assert len(deviation) == count
            assert float(deviation.flatten()[0]) == pytest.approx(exact, rel=1e-6)
            drawn = draws.normal(draws.keys(seed, range(count)), deviation[0].numel())
            return exact * torch.from_numpy(drawn).reshape(deviation.shape)

        monkeypatch.setattr(torch, "normal", normal)

    return install


def test_gradient_x_input(net: Any, captum: Any, agree: Any) -> None:
    theirs = captum.InputXGradient(net.native).attribute(net.x.clone().requires_grad_(), target=TARGETS)
    ours = vizkit.gradient_x_input(net.model, net.photos, target=TARGETS)
    agree("gradient_x_input", "captum InputXGradient", ours.extra["attribution"], theirs)
    agree("gradient_x_input", "captum InputXGradient, summed", ours.values, theirs.sum(1))


def test_saliency(net: Any, captum: Any, agree: Any) -> None:
    theirs = captum.Saliency(net.native).attribute(net.x.clone().requires_grad_(), target=TARGETS, abs=True)
    agree("saliency", "captum Saliency", vizkit.saliency(net.model, net.photos, target=TARGETS).values, theirs.amax(1))


@pytest.mark.parametrize(("method", "kind"), [("smoothgrad",) * 2, ("squaregrad", "smoothgrad_sq"), ("vargrad",) * 2])
def test_gradients_under_noise(net: Any, captum: Any, agree: Any, same_noise: Any, method: str, kind: str) -> None:
    samples, seed, noise = 2, 3, 0.1
    ours = getattr(vizkit, method)(net.model, net.photos, target=TARGETS, samples=samples, noise=noise, seed=seed)
    tunnel = captum.NoiseTunnel(captum.Saliency(net.native))
    for i in range(2):
        x = net.x[i : i + 1]
        deviation = float(noise * (x.max() - x.min()))
        same_noise(samples, seed, deviation)
        theirs = tunnel.attribute(x, nt_type=kind, nt_samples=samples, stdevs=deviation, target=TARGETS[i], abs=False)
        # captum takes E[g^2] - E[g]^2, which loses digits; still 1e-8.
        agree(method, "captum NoiseTunnel", ours.extra["attribution"][i : i + 1], theirs)
    reduced = np.abs(ours.extra["attribution"]).max(1) if method == "smoothgrad" else ours.extra["attribution"].sum(1)
    np.testing.assert_array_equal(ours.values, reduced)


@pytest.mark.parametrize(
    "rule", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
)
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_integrated_gradients(net: Any, captum: Any, agree: Any, rule: str) -> None:
    # captum rounds nodes and weights to float32, where those of 2 steps are exact, but not 1/3 and Gauss-Legendre's.
    steps = {"gausslegendre": 4, "riemann_trapezoid": 3}.get(rule, 2)
    both = slice(0 if rule == "gausslegendre" else 1, 2)
    x, photos, targets = net.x[both], net.photos[both], TARGETS[both]
    ours = vizkit.integrated_gradients(
        net.model, photos, target=targets, steps=steps, rule=rule, baseline="mean", batch_size=5
    )
    method = captum.IntegratedGradients(net.native)
    start = torch.zeros_like(x)
    theirs = method.attribute(x, start, target=targets, n_steps=steps, method=rule, internal_batch_size=4)
    if rule == "riemann_trapezoid":
        # Its weights are 1/n, 1/2n at the ends, which add up to 1 - 1/n: not copied.
        theirs = theirs * steps / (steps - 1)
    exact = 1e-7 if rule in ("gausslegendre", "riemann_trapezoid") else EXACT
    agree("integrated_gradients", f"captum IntegratedGradients, {rule}", ours.extra["attribution"], theirs, exact)
    delta = method.compute_convergence_delta(torch.from_numpy(ours.extra["attribution"]), start, x, target=targets)
    rise = (net.native(x) - net.native(start))[range(len(x)), targets]
    np.testing.assert_allclose(ours.extra["completeness_error"], (delta / rise).abs().detach(), rtol=1e-6, atol=1e-12)


def test_gradient_shap(net: Any, captum: Any, agree: Any, same_noise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, seed, noise = 3, 5, 0.05
    names = ["black", "mean", "blurred"]
    ours = vizkit.gradient_shap(
        net.model, net.photos, target=TARGETS, baselines=names, samples=samples, noise=noise, seed=seed
    )
    draws = [draw(seed, s, len(names)) for s in range(samples)]
    assert len({which for which, _ in draws}) > 1
    monkeypatch.setattr(np.random, "choice", lambda *_a, **_k: np.array([which for which, _ in draws]))
    monkeypatch.setattr(np.random, "uniform", lambda *_a: np.array([at for _, at in draws]))
    batch = vizkit.images.prepare(net.photos, net.model.spec)
    starts = np.stack([vizkit.references.reference(name, batch, net.model.spec) for name in names])
    for i in range(2):
        x = net.x[i : i + 1]
        deviation = float(noise * (x.max() - x.min()))
        same_noise(samples, seed, deviation)
        theirs = captum.GradientShap(net.native).attribute(
            x,
            torch.from_numpy(starts[:, i]).double(),
            n_samples=samples,
            stdevs=deviation,
            target=TARGETS[i],
        )
        agree("gradient_shap", "captum GradientShap", ours.extra["attribution"][i : i + 1], theirs)


@pytest.mark.parametrize(("method", "peer"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_relu_rules(net: Any, captum: Any, agree: Any, method: str, peer: str) -> None:
    targets = [56, 243]
    theirs = getattr(captum, peer)(net.native).attribute(net.x.clone().requires_grad_(), target=targets)
    ours = getattr(vizkit, method)(net.model, net.photos, target=targets)
    agree(method, f"captum {peer}", ours.extra["attribution"], theirs)


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_gradcam_and_guided_gradcam(net: Any, captum: Any, agree: Any) -> None:
    x = net.x.clone().requires_grad_()
    theirs = captum.LayerGradCam(net.native, net.layer).attribute(x, target=TARGETS, relu_attributions=True)
    ours = vizkit.gradcam(net.model, net.photos, target=TARGETS, layer=LAYER)
    agree("gradcam", "captum LayerGradCam", ours.extra["cam"], theirs[:, 0])
    up = nn.functional.interpolate(theirs, (SIDE, SIDE), mode="bilinear", align_corners=False)
    agree("gradcam", "captum LayerGradCam, torch's bilinear", ours.values, up[:, 0])
    guided = captum.GuidedGradCam(net.native, net.layer).attribute(x, target=TARGETS, interpolate_mode="bilinear")
    ours = vizkit.guided_gradcam(net.model, net.photos, target=TARGETS, layer=LAYER)
    agree("guided_gradcam", "captum GuidedGradCam, bilinear", ours.extra["attribution"], guided)


class Scaled(nn.Module):
    """The same function with its layer's values multiplied by ``factor``: it takes the peers' epsilons out of play."""

    def __init__(self, native: nn.Module, factor: float) -> None:
        super().__init__()
        self.native, self.factor = native, factor
        self.at = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = self.at(self.native.features(x) * self.factor)
        return self.native.classifier(scaled / self.factor).flatten(1)


# Grad-CAM++ divides by 2 g^2 + 1e-6 there, XGrad-CAM by sum A + 1e-7: gradients made large, or activations.
@pytest.mark.parametrize(
    ("method", "peer", "factor"),
    [
        ("gradcam", "GradCAM", 1.0),
        ("gradcam_plus_plus", "GradCAMPlusPlus", 1e-6),
        ("xgradcam", "XGradCAM", 1e6),
        ("layercam", "LayerCAM", 1.0),
        ("hirescam", "HiResCAM", 1.0),
    ],
)
def test_gradient_cams(net: Any, agree: Any, method: str, peer: str, factor: float) -> None:
    cams = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    scaled = Scaled(net.native, factor)
    peer_cam = getattr(cams, peer)(scaled, [scaled.at])
    wanted = [ClassifierOutputTarget(index) for index in TARGETS]
    x = net.x.clone().requires_grad_()
    peer_cam(x, wanted)
    activations = peer_cam.activations_and_grads.activations[0].numpy()
    gradients = peer_cam.activations_and_grads.gradients[0].numpy()
    raw = peer_cam.get_cam_image(x, scaled.at, wanted, activations, gradients, False)
    ours = getattr(vizkit, method)(net.model, net.photos, target=TARGETS, layer=LAYER, relu=True)
    # Its own rescaling to 0..1 and resizing are float32; its map before them is float64.
    agree(method, f"pytorch-grad-cam {peer}", ours.extra["cam"], np.maximum(raw, 0))
    shown = np.stack([(one - one.min()) / np.ptp(one) for one in ours.values])
    theirs = peer_cam(x, wanted)
    agree(method, f"pytorch-grad-cam {peer}, resized", shown, theirs, 1e-3, "l2")


def test_eigencam(net: Any, agree: Any) -> None:
    cams = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    assert cams.EigenCAM
    activations = net.native.features(net.x).detach().numpy()
    ours = vizkit.eigencam(net.model, net.photos, layer=LAYER, centre=True).extra["cam"]
    theirs = get_2d_projection(activations)
    sign = np.sign((ours * theirs).sum((1, 2)))[:, None, None]
    agree("eigencam", "pytorch-grad-cam EigenCAM, centred", ours, theirs * sign, 1e-3, "l2")


def test_scorecam(single: Any, agree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cams = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    # Its upsampling aligns corners; with half-pixel centres in its place the rest is compared.
    def half(size):
        return nn.Upsample(size=tuple(size), mode="bilinear", align_corners=False)

    monkeypatch.setattr(nn, "UpsamplingBilinear2d", half)
    layer = single.native.get_submodule(SMALL)
    activations = {}
    handle = layer.register_forward_hook(lambda _m, _i, out: activations.update(found=out.detach().numpy()))
    with torch.no_grad():
        single.native(single.x)
    handle.remove()
    peer = cams.ScoreCAM(single.native, [layer])
    wanted = [ClassifierOutputTarget(index) for index in TARGETS]
    weights = peer.get_cam_weights(single.x, layer, wanted, activations["found"], None)
    raw = np.maximum((weights[:, :, None, None] * activations["found"]).sum(1), 0)
    ours = vizkit.scorecam(single.model, single.photos, target=TARGETS, layer=SMALL)
    agree("scorecam", "pytorch-grad-cam ScoreCAM, half-pixel", ours.extra["cam"], raw, 1e-3, "l2")


@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_ablationcam(single: Any, agree: Any) -> None:
    cams = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    native = copy.deepcopy(single.native)
    layer = native.get_submodule(SMALL)
    peer = cams.AblationCAM(native, [layer], batch_size=16)
    wanted = [ClassifierOutputTarget(index) for index in TARGETS]
    peer(single.x, wanted)
    activations = peer.activations.detach().numpy()
    weights = peer.get_cam_weights(single.x, layer, wanted, activations, None)
    raw = (weights[:, :, None, None] * activations).sum(1)
    ours = vizkit.ablationcam(single.model, single.photos, target=TARGETS, layer=SMALL, relu=False)
    agree("ablationcam", "pytorch-grad-cam AblationCAM", ours.extra["cam"], raw, 1e-3, "l2")


def test_full_gradient(net: Any, agree: Any) -> None:
    cams = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError, reason="pytorch-grad-cam is not installed")

    # It divides by the maximum + 1e-7, more than many channels' terms; the score's scale is free.
    peer = cams.FullGrad(net.native, [])
    theirs = peer(net.x, [lambda logits, index=index: logits[index] * 1e15 for index in TARGETS])
    ours = vizkit.full_gradient(net.model, net.photos, target=TARGETS)
    shown = np.stack([(one - one.min()) / np.ptp(one) for one in ours.values])
    agree("full_gradient", "pytorch-grad-cam FullGrad", shown, theirs.reshape(shown.shape), 1e-3, "l2")


@pytest.fixture
def torchcam(net: Any) -> Any:
    return pytest.importorskip("torchcam.methods", exc_type=ImportError, reason="torch-cam is not installed")


@pytest.mark.parametrize(
    ("method", "peer"), [("gradcam", "GradCAM"), ("xgradcam", "XGradCAM"), ("layercam", "LayerCAM")]
)
def test_torchcam(net: Any, torchcam: Any, agree: Any, method: str, peer: str) -> None:
    native = copy.deepcopy(net.native)
    with getattr(torchcam, peer)(native, LAYER) as extract:
        scores = native(net.x.clone().requires_grad_())
        theirs = extract(TARGETS, scores, normalized=False)[0]
    ours = getattr(vizkit, method)(net.model, net.photos, target=TARGETS, layer=LAYER)
    agree(method, f"torch-cam {peer}", ours.extra["cam"], theirs, 1e-7)


def test_torchcam_gradcam_plus_plus_does_not_divide(net: Any, torchcam: Any) -> None:
    """The fault that is not copied: when torch-cam mends it, this test says so, and its map becomes an oracle."""
    native = copy.deepcopy(net.native)
    with torchcam.GradCAMpp(native, LAYER) as extract:
        theirs = extract(TARGETS, native(net.x.clone().requires_grad_()), normalized=False)[0].detach().numpy()
    ours = vizkit.gradcam_plus_plus(net.model, net.photos, target=TARGETS, layer=LAYER).extra["cam"]
    assert np.linalg.norm(ours / np.linalg.norm(ours) - theirs / np.linalg.norm(theirs)) > 0.05


def test_layer_fusion(torchcam: Any, agree: Any, tmp_path: Path) -> None:
    """torch-cam rescales by minimum and maximum, the paper by the maximum: the same where a map touches zero."""
    layers, net = ["features.7", LAYER], load("float64", 224)
    native = copy.deepcopy(net.native)
    with torchcam.LayerCAM(native, layers) as extract:
        found = extract(TARGETS, native(net.x.clone().requires_grad_()))
        theirs = extract.fuse_cams([one.clone() for one in found], (224, 224))
    ours = vizkit.layercam(net.model, net.photos, target=TARGETS, layer=layers)
    assert ours.layer == "features.7+features.12"
    agree("layercam", "torch-cam LayerCAM, two layers fused", ours.values, theirs, 0.05, "l2")
    for name in layers:
        single = vizkit.layercam(net.model, net.photos, target=TARGETS, layer=name)
        np.testing.assert_allclose(ours.extra[f"cam:{name}"], single.extra["cam"], rtol=1e-12)
