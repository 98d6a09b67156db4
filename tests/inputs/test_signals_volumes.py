"""Networks on signals (N, C, T) and volumes (N, C, D, H, W), against captum, torch-cam, and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BOTH, INSTALLED

import vizkit
from vizkit.errors import ImageError, SettingError, VizkitError
from vizkit.results.files import read_provenance

if "torch" not in INSTALLED:
    pytest.skip("most of these are PyTorch's", allow_module_level=True)
import torch
from torch import nn

SHAPES = {"signal": (2, 60), "volume": (1, 6, 10, 8)}
KINDS = {
    "signal": (nn.Conv1d, nn.MaxPool1d, nn.BatchNorm1d, "linear"),
    "volume": (nn.Conv3d, nn.MaxPool3d, nn.BatchNorm3d, "trilinear"),
}


class Network(nn.Module):
    """Convolutions of any number of axes; its first layers are reachable in either order of axes."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv, pool, norm, _ = KINDS[kind]
        channels = SHAPES[kind][0]
        self.conv1, self.norm, self.act1, self.pool = conv(channels, 4, 3, padding=1), norm(4), nn.ReLU(), pool(2)
        self.conv2, self.act2, self.head = conv(4, 6, 3, padding=1), nn.ReLU(), nn.Linear(6, 3)
        self.norm.running_mean.normal_()

    def forward(self, x: Any) -> Any:
        y = self.act2(self.conv2(self.pool(self.act1(self.norm(self.conv1(x))))))
        return self.head(y.flatten(2).amax(2) + y.flatten(2).mean(2))


def native(kind: str) -> Any:
    return Network(kind).double().eval()


def wrapped(kind: str, network: Any = None) -> Any:
    shape = SHAPES[kind]
    made = native(kind) if network is None else network
    return vizkit.wrap(made, input_size=shape[1:], mean=(0.1,) * shape[0], std=(0.7,) * shape[0])


def given(kind: str, count: int = 2) -> Any:
    return np.random.default_rng(4).normal(size=(count, *SHAPES[kind]))


both_kinds = pytest.mark.parametrize("kind", SHAPES)


@both_kinds
def test_saliency_and_the_gradient_family(kind: str) -> None:
    import captum.attr

    model, x = wrapped(kind), given(kind)
    tensor = torch.from_numpy(x)
    saliency = captum.attr.Saliency(native(kind)).attribute(tensor, target=1)
    np.testing.assert_allclose(vizkit.saliency(model, x, target=1).values, saliency.amax(1), rtol=1e-10)
    product = captum.attr.InputXGradient(native(kind)).attribute(tensor, target=1)
    found = vizkit.gradient_x_input(model, x, target=1)
    np.testing.assert_allclose(found.extra["attribution"], product.detach(), rtol=1e-9, atol=1e-13)
    black = torch.full_like(tensor, -0.1 / 0.7)
    integrated = captum.attr.IntegratedGradients(native(kind)).attribute(tensor, black, target=1, n_steps=7)
    found = vizkit.integrated_gradients(model, x, target=1, steps=7)
    np.testing.assert_allclose(
        found.extra["attribution"], integrated, rtol=1e-6, atol=1e-7 * integrated.abs().max().item()
    )  # its nodes are float32
    guided = captum.attr.GuidedBackprop(native(kind)).attribute(tensor, target=1)
    found = vizkit.guided_backprop(model, x, target=1)
    np.testing.assert_allclose(found.extra["attribution"], guided.detach(), rtol=1e-9, atol=1e-13)


@both_kinds
def test_occlusion(kind: str) -> None:
    import captum.attr

    model, x = wrapped(kind), given(kind)
    window = {"signal": (8,), "volume": (2, 4, 3)}[kind]
    stride = {"signal": (3,), "volume": (2, 3, 2)}[kind]
    found = vizkit.occlusion(model, x, target=2, window=window, stride=stride, baseline="mean")
    peer = captum.attr.Occlusion(native(kind)).attribute(
        torch.from_numpy(x), (SHAPES[kind][0], *window), (1, *stride), baselines=0.0, target=2
    )
    np.testing.assert_allclose(found.values, peer[:, 0], rtol=1e-6, atol=1e-8)  # its sums are float32


@both_kinds
@pytest.mark.parametrize(
    ("method", "peer"),
    [("gradcam", "GradCAM"), ("xgradcam", "XGradCAM"), ("layercam", "LayerCAM")],
)
def test_class_activation_maps(kind: str, method: str, peer: str) -> None:
    """torch-cam's at the layer's resolution; PyTorch's own interpolation of that."""
    import torchcam.methods

    model, x, network = wrapped(kind), given(kind), native(kind)
    found = getattr(vizkit, method)(model, x, target=1, layer="act2")
    with getattr(torchcam.methods, peer)(network, "act2") as extractor:
        out = network(torch.from_numpy(x).requires_grad_())
        (cam,) = extractor(1, out, normalized=False)
    np.testing.assert_allclose(found.extra["cam"], cam.detach(), rtol=1e-8, atol=1e-10)
    large = nn.functional.interpolate(
        torch.from_numpy(found.extra["cam"])[:, None], SHAPES[kind][1:], mode=KINDS[kind][3], align_corners=False
    )
    np.testing.assert_allclose(found.values, large[:, 0], rtol=1e-9, atol=1e-13)


@both_kinds
@pytest.mark.parametrize(
    "method",
    [
        "scorecam",
        "ablationcam",
        "eigencam",
        "hirescam",
        "gradcam_plus_plus",
        "smooth_gradcam_plus_plus",
        "eigen_gradcam",
        "kpca_cam",
        "fem",
        "finer_cam",
        "shapley_cam",
        "is_cam",
        "ss_cam",
    ],
)
def test_further_maps_are_those_of_the_axes_in_a_row(kind: str, method: str) -> None:
    """Where no peer goes: a map does not depend on how the axes are called, so that of the same network, written for
    pictures with one row, is the same for a signal."""
    found = getattr(vizkit, method)(wrapped(kind), given(kind), target=1, layer="act2", relu=False)
    assert found.extra["cam"].shape == {"signal": (2, 30), "volume": (2, 3, 5, 4)}[kind]
    assert np.ptp(found.values.reshape(2, -1), axis=1).all()
    if kind == "signal":
        flat = getattr(vizkit, method)(as_pictures(), given(kind)[:, :, None], target=1, layer="act2", relu=False)
        np.testing.assert_allclose(found.values, flat.values[:, 0], rtol=1e-9, atol=1e-12)


def as_pictures() -> Any:
    """The network on signals as one on pictures that are one pixel high."""
    network, source = native("signal"), native("signal")
    for name in ("conv1", "conv2"):
        old = getattr(source, name)
        new = nn.Conv2d(old.in_channels, old.out_channels, (1, 3), padding=(0, 1)).double()
        new.load_state_dict({"weight": old.weight[:, :, None], "bias": old.bias})
        setattr(network, name, new)
    network.norm, network.pool = nn.BatchNorm2d(4).double().eval(), nn.MaxPool2d((1, 2))
    network.norm.load_state_dict(source.norm.state_dict())
    return vizkit.wrap(network, input_size=(1, 60), mean=(0.1, 0.1), std=(0.7, 0.7))


@pytest.mark.quick
def test_full_gradients_are_those_of_the_axes_in_a_row() -> None:
    x = given("signal")
    found = vizkit.full_gradient(wrapped("signal"), x, target=0)
    flat = vizkit.full_gradient(as_pictures(), x[:, :, None], target=0)
    np.testing.assert_allclose(found.values, flat.values[:, 0], rtol=1e-9)
    assert (found.extra["completeness_error"] < 1e-10).all()
    assert (vizkit.full_gradient(wrapped("volume"), given("volume")).extra["completeness_error"] < 1e-10).all()


class Last(nn.Module):
    """Channels last, as transformers on signals have them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm, self.act, self.head = nn.Conv1d(2, 6, 4, 4), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.act(self.norm(self.conv(x).transpose(1, 2))).mean(1))


@pytest.mark.quick
def test_the_user_says_where_the_channels_of_a_signal_lie() -> None:
    network = Last().double()
    shape = SHAPES["signal"]
    model = vizkit.wrap(network, input_size=shape[1:], mean=(0, 0), std=(1, 1), layout={"act": "NHWC"})
    x = torch.from_numpy(given("signal"))
    kept: list[Any] = []
    handle = network.act.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    out = network(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(out[:, 1].sum(), kept[0])
    expected = torch.relu((gradient.mean(1, keepdim=True) * kept[0]).sum(2)).detach()
    found = vizkit.gradcam(model, x, target=1, layer="act")
    np.testing.assert_allclose(found.extra["cam"], expected, rtol=1e-10, atol=1e-15)
    with pytest.raises(SettingError, match="expected 'NCHW' or 'NHWC'"):
        vizkit.wrap(network, input_size=shape[1:], mean=(0, 0), std=(1, 1), layout={"act": "CHWN"})


@pytest.mark.quick
@both_kinds
def test_a_blurred_baseline_mixes_no_axis_with_another(kind: str) -> None:
    """A value that differs along one axis alone still does after blurring."""
    shape = SHAPES[kind]
    along = np.random.default_rng(0).normal(size=shape[-1])
    x = np.broadcast_to(along, (1, *shape)).astype(np.float64)
    model = wrapped(kind)
    batch = vizkit.images.prepare(x, model.spec)
    found = vizkit.references.reference("blurred", batch, model.spec).reshape(1, *shape)
    first = found[(0,) * len(shape)]
    np.testing.assert_allclose(found, np.broadcast_to(first, found.shape), rtol=1e-12)
    assert 0 < np.std(first) < np.std(along)


@both_kinds
def test_pictures_of_the_maps(kind: str, tmp_path: Path) -> None:
    for found in (vizkit.gradcam(wrapped(kind), given(kind)), vizkit.integrated_gradients(wrapped(kind), given(kind))):
        figure = found.figure()
        drawn = [axes for axes in figure.axes if axes.images or axes.lines or axes.collections]
        assert len(drawn) == {"signal": 4, "volume": 24}[kind]
    file = vizkit.gradcam(wrapped(kind), given(kind, 1)).save(tmp_path / "map.png")
    assert read_provenance(file)["settings"]["input_range"] == "as given"


TECHNIQUES = (
    "rise", "lime", "kernel_shap", "shapley_sampling", "feature_ablation", "feature_permutation", "sobol", "hsic",
    "extremal_perturbation", "edge_map", "centre_map", "invert", "receptive_field",
)  # fmt: skip


@both_kinds
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_what_makes_no_sense_is_refused(kind: str, technique: str) -> None:
    with pytest.raises(VizkitError):
        getattr(vizkit, technique)(wrapped(kind), given(kind))


@both_kinds
def test_units_over_time_and_in_space(kind: str, tmp_path: Path) -> None:
    network, x = native(kind), given(kind, 6)
    model, listed = wrapped(kind, network), list(x)
    at = network.act2.register_forward_hook(lambda _, given, out: kept.append(out.detach().numpy()))
    kept: list[Any] = []
    network(torch.tensor(x))
    at.remove()
    maps = kept[0]
    flat = maps.reshape(6, 6, -1)
    found = vizkit.feature_maps(model, x, "act2")
    np.testing.assert_allclose(found.values.reshape(maps.shape), maps, rtol=0, atol=1e-14)
    assert found.save(tmp_path / "maps.png").exists()
    means = vizkit.top_units(model, listed, "act2", k=6)
    np.testing.assert_allclose(means.values, np.sort(flat.mean((0, 2)))[::-1], rtol=1e-12)
    (health,) = vizkit.health(model, listed, ["act2"]).layers
    np.testing.assert_allclose(health.zeros, (flat == 0).mean((0, 2)), rtol=1e-12)
    best = vizkit.top_patches(model, listed, "act2", [1], k=2)
    np.testing.assert_allclose(best.values[0], np.sort(flat[:, 1].max(1))[::-1][:2], rtol=1e-12)
    np.testing.assert_array_equal(best.places[0], np.argsort(-flat[:, 1].max(1))[:2])
    assert best.save(tmp_path / "patches.png").exists()
    embedded = vizkit.embed(model, listed, layer="act2", method="pca")
    np.testing.assert_allclose(embedded.features, flat.mean(2), rtol=1e-12)


@pytest.mark.quick
@both_kinds
def test_photos_are_refused(kind: str) -> None:
    with pytest.raises(ImageError, match="no pictures"):
        vizkit.saliency(wrapped(kind), vizkit.images.sample())
    with pytest.raises(SettingError, match="works on pictures"):
        vizkit.render(wrapped(kind), vizkit.objectives.logit(1))


@pytest.mark.skipif(not BOTH, reason="compares both backends")
@both_kinds
def test_both_backends_agree(kind: str) -> None:
    vizkit.load("shapes", backend="gluon")
    import mxnet as mx
    from mxnet.gluon import nn as gluon

    one_d = kind == "signal"
    source = native(kind)
    block = gluon.HybridSequential()
    block.add(
        gluon.Conv1D(4, 3, padding=1) if one_d else gluon.Conv3D(4, 3, padding=1),
        gluon.Activation("relu"),
        gluon.MaxPool1D(2) if one_d else gluon.MaxPool3D(2),
        gluon.Flatten(),
        gluon.Dense(3),
    )
    block.cast("float64")
    block.initialize()
    x = given(kind)
    block(mx.nd.array(x, dtype="float64"))
    conv, flat = source.conv1, int(np.prod([side // 2 for side in SHAPES[kind][1:]])) * 4
    dense = nn.Linear(flat, 3).double()
    for layer, module in ((block[0], conv), (block[4], dense)):
        layer.weight.set_data(mx.nd.array(module.weight.detach().numpy(), dtype="float64"))
        layer.bias.set_data(mx.nd.array(module.bias.detach().numpy(), dtype="float64"))
    network = nn.Sequential(conv, nn.ReLU(), KINDS[kind][1](2), nn.Flatten(), dense).eval()
    for method in ("saliency", "integrated_gradients", "smoothgrad", "gradcam", "layercam", "scorecam", "occlusion"):
        options = {"layer": "1"} if "cam" in method else {"samples": 3} if method == "smoothgrad" else {}
        found = [getattr(vizkit, method)(wrapped(kind, one), x, target=1, **options).values for one in (network, block)]
        np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12, err_msg=method)


LONG = 20


def one_axis(axes: int) -> Any:
    """The same network of 1, 2 or 3 axes, of which all but the last are of length 1."""
    torch.manual_seed(0)
    conv, norm, most, mean = (getattr(nn, f"{one}{axes}d") for one in ("Conv", "BatchNorm", "MaxPool", "AvgPool"))
    three, two, edge = (*(1,) * (axes - 1), 3), (*(1,) * (axes - 1), 2), (*(0,) * (axes - 1), 1)
    parts = (conv(2, 4, three, padding=edge), norm(4), nn.ReLU(), most(two), conv(4, 6, three, padding=edge), nn.ReLU())
    network: Any = nn.Sequential(*parts, mean(two), nn.Flatten(), nn.Linear(6 * LONG // 4, 3)).double().eval()
    values = np.random.default_rng(5)
    for one in network.state_dict().values():
        if one.is_floating_point():
            one.copy_(torch.from_numpy(values.normal(size=one.numel()) * 0.5).reshape(one.shape))
    network[1].running_var.abs_()
    return network


def gluons(axes: int) -> Any:
    """The same in Gluon."""
    import mxnet as mx
    from mxnet.gluon import nn as gluon

    conv, most, mean = (getattr(gluon, f"{one}{axes}D") for one in ("Conv", "MaxPool", "AvgPool"))
    three, two, edge = (*(1,) * (axes - 1), 3), (*(1,) * (axes - 1), 2), (*(0,) * (axes - 1), 1)
    network = gluon.HybridSequential()
    network.add(conv(4, three, padding=edge, in_channels=2), gluon.BatchNorm(in_channels=4), gluon.Activation("relu"))
    network.add(most(two), conv(6, three, padding=edge, in_channels=4), gluon.Activation("relu"), mean(two))
    network.add(gluon.Flatten(), gluon.Dense(3, in_units=6 * LONG // 4))
    network.initialize()
    network.cast("float64")
    given = [value for name, value in one_axis(axes).state_dict().items() if "num_batches" not in name]
    for own, value in zip(network.collect_params().values(), given, strict=True):
        own.set_data(mx.nd.array(value.numpy(), dtype="float64"))
    return network


RULED: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        rules: ("lrp", {"rules": rules}) for rules in ("epsilon", "epsilon_plus", "epsilon_alpha2_beta1", "deep_taylor")
    },
    **{rule: ("deeplift", {"rule": rule, "baseline": "black"}) for rule in ("rescale", "reveal_cancel")},
    "guided": ("guided_backprop", {}),
    "full": ("full_gradient", {}),
}


@pytest.mark.parametrize("rules", RULED)
def test_rules_are_the_same_along_one_axis_of_any_number(rules: str) -> None:
    """A batch norm behind a convolution is one with it, of whatever axes; so are what pools share."""
    method, options = RULED[rules]
    x = np.random.default_rng(4).normal(size=(2, 2, LONG))
    found = {}
    for backend, made in (("torch", one_axis), ("gluon", gluons)) if BOTH else (("torch", one_axis),):
        for axes in (1, 2, 3):
            size = (*(1,) * (axes - 1), LONG)
            model = vizkit.wrap(made(axes), input_size=size, mean=(0.0,) * 2, std=(1.0,) * 2)
            result = getattr(vizkit, method)(model, x.reshape(2, 2, *size), target=1, **options)
            found[backend, axes] = result.values.reshape(2, LONG)
    expected = found["torch", 2]
    assert np.ptp(expected) > 0
    for one in found.values():
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_deeplift_of_a_volume() -> None:
    import captum.attr

    torch.manual_seed(1)
    parts = (nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(4, 3, 3), nn.ReLU(), nn.Flatten())
    network: Any = nn.Sequential(*parts, nn.Linear(3 * 3 * 2, 3)).double().eval()
    x = given("volume")
    model = vizkit.wrap(network, input_size=SHAPES["volume"][1:], mean=(0.0,), std=(1.0,))
    found = vizkit.deeplift(model, x, target=1, baseline="black").extra["attribution"]
    expected = captum.attr.DeepLift(network).attribute(torch.from_numpy(x), target=1)
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-9, atol=1e-12)


def test_the_layer_of_a_film_whose_frames_are_thinned_otherwise_than_its_pixels() -> None:
    parts = (nn.Conv3d(1, 4, 3, (2, 1, 1), 1), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    model = vizkit.wrap(nn.Sequential(*parts).double(), input_size=(8, 12, 12), mean=(0.0,), std=(1.0,))
    assert vizkit.gradcam(model, np.ones((1, 1, 8, 12, 12)), target=1, relu=False).layer == "2"


@both_kinds
def test_bfloat16_is_near(kind: str) -> None:
    found = [vizkit.saliency(made, given(kind), target=1).values for made in lowered(kind)]
    assert 1e-4 < np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[0]) < 0.03


def lowered(kind: str) -> Any:
    """The same network in float32 and in bfloat16."""
    shape = SHAPES[kind]
    for dtype in ("float32", "bfloat16"):
        spec: dict[str, Any] = {"input_size": shape[1:], "mean": (0.1,) * shape[0], "std": (0.7,) * shape[0]}
        yield vizkit.wrap(Network(kind).eval(), dtype=dtype, **spec)
