"""The user's own networks in the forms that PyTorch gives them: compiled, scripted, exported, spread over devices, and
with dropout and batch norm called as functions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.backend import Mode
from vizkit.errors import LayerError, MapWarning, SettingError, ShapeError

if "torch" not in INSTALLED:
    pytest.skip("PyTorch's own forms of a network; PyTorch is not installed", allow_module_level=True)
import torch
import torch.nn.functional as F
from torch import nn

pytestmark = pytest.mark.cpu


@pytest.mark.quick
def test_torch_networks_that_return_more_than_a_tensor(rng: Any) -> None:
    class Named(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind, self.inner = kind, nn.Conv2d(3, 2, 3)

        def forward(self, x: torch.Tensor) -> Any:
            logits = self.inner(x).mean((2, 3))
            return {"logits": logits} if self.kind == "dict" else (logits, x)

    picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    options: dict[str, Any] = {"input_size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert vizkit.saliency(vizkit.wrap(Named("dict"), **options), picture).values.max() > 0
    with pytest.raises(SettingError, match="returns a tuple"):
        vizkit.saliency(vizkit.wrap(Named("tuple"), **options), picture)
    with pytest.raises(SettingError, match="no parameters"):
        vizkit.wrap(nn.ReLU(), **options)
    with pytest.raises(SettingError, match="complex64"):
        vizkit.wrap(nn.Conv2d(3, 2, 3).to(torch.complex64), **options)


class Small:
    """A network of PyTorch with three stages, in the forms that PyTorch can give it."""

    size = 8

    def __init__(self) -> None:
        torch.manual_seed(0)
        stage = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        head = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4 * self.size**2, 3))
        self.native = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), stage, head)
        for parameter in self.native.parameters():
            nn.init.normal_(parameter, 0, 0.3)
        self.blank = torch.zeros(1, 3, self.size, self.size)
        self.picture = np.random.default_rng(5).integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        self.plain = self.wrapped(self.native)

    def wrapped(self, native: Any) -> Any:
        return vizkit.wrap(native, input_size=self.size, mean=(0.5,) * 3, std=(0.5,) * 3)

    def agree(self, model: Any, method: str, **settings: Any) -> None:
        found, expected = (getattr(vizkit, method)(one, self.picture, **settings).values for one in (model, self.plain))
        assert expected.max() > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("form", ["traced", "scripted", "one part scripted"])
def test_torch_script_shows_neither_layers_nor_relus(form: str) -> None:
    small = Small()
    native: Any = copy.deepcopy(small.native)
    if form == "one part scripted":
        native[2] = torch.jit.script(native[2])
    else:
        native = torch.jit.script(native) if form == "scripted" else torch.jit.trace(native.eval(), small.blank)
    model = small.wrapped(native)
    small.agree(model, "saliency", target=1)
    small.agree(model, "smoothgrad", target=1, samples=3)
    assert model.sha256() == small.plain.sha256()
    with pytest.raises(SettingError, match="none that torch shows"):
        vizkit.guided_backprop(model, small.picture)
    with pytest.raises(LayerError, match="TorchScript"):
        vizkit.gradcam(model, small.picture, layer="2.2")
    with pytest.raises(SettingError, match="TorchScript"):
        model.forward(model.ops.asarray(small.blank.numpy()), mode=Mode(training=np.random.default_rng(0)))
    with pytest.raises(SettingError, match="cannot be traced"):
        model.graph()
    if form == "one part scripted":
        small.agree(model, "gradcam", target=1, layer="1")


def test_exported_networks_show_their_relus() -> None:
    small = Small()
    model = small.wrapped(torch.export.export(small.native.eval(), (small.blank,)).module())
    small.agree(model, "saliency", target=1)
    small.agree(model, "guided_backprop", target=1)
    with pytest.raises(ShapeError, match="input of shape"):
        vizkit.smoothgrad(model, small.picture, samples=3)
    small.agree(model, "smoothgrad", target=1, samples=3, batch_size=1)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("form", ["whole", "whole, in place", "a part", "a part, in place"])
def test_compiled_networks_are_run_as_what_they_were_compiled_from(form: str, learning: bool) -> None:
    runs = []

    def backend(graph: Any, _: Any) -> Any:
        return lambda *given: runs.append(1) or graph(*given)

    small = Small()
    native: Any = copy.deepcopy(small.native).eval().requires_grad_(learning)
    if form == "whole":
        native = torch.compile(native, backend=backend)
    elif form == "whole, in place":
        native.compile(backend=backend)
    elif form == "a part":
        native[2] = torch.compile(native[2], backend=backend)
    else:
        native[2].compile(backend=backend)
    native(small.blank)
    compiled = bool(runs)  # as older versions of PyTorch do not in place
    runs.clear()
    model = small.wrapped(native)
    assert model.name == "Sequential"
    layer = next(name for name in model.layers if name.endswith("2.2") or name == "2._orig_mod.2")
    for method in ("saliency", "guided_backprop", "gradcam"):
        settings = {"layer": layer} if method == "gradcam" else {}
        found = getattr(vizkit, method)(model, small.picture, target=1, **settings).values
        expected = getattr(vizkit, method)(
            small.plain, small.picture, target=1, **({"layer": "2.2"} if settings else {})
        ).values
        np.testing.assert_array_equal(found, expected)
    assert not runs, "compiled code ran, which calls no hooks"
    native(small.blank)
    assert bool(runs) == compiled, "it is compiled no longer"


@pytest.mark.quick
def test_parameters_are_frozen_for_the_length_of_a_pass() -> None:
    """Otherwise their gradients would be computed, too: a third of a pass."""
    small, seen = Small(), []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small.native

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((self.training, any(one.requires_grad for one in self.parameters())))
            result: torch.Tensor = self.inner(x)
            return result

    native = Watching().train()
    vizkit.saliency(small.wrapped(native), small.picture)
    assert set(seen) == {(False, False)}
    assert native.training
    assert all(one.requires_grad for one in native.parameters())


CALLS = {
    "F.dropout": lambda x, _: F.dropout(x),
    "F.dropout, by name": lambda x, _: F.dropout(input=x, p=0.3, training=True),
    "F.dropout2d": lambda x, _: F.dropout2d(x, 0.5, True),
    "F.alpha_dropout": lambda x, _: F.alpha_dropout(x, training=True),
    "torch.dropout": lambda x, _: torch.dropout(x, 0.5, True),
    "attention": lambda x, _: F.scaled_dot_product_attention(x, x, x, None, 0.5),
    "attention, by name": lambda x, _: F.scaled_dot_product_attention(query=x, key=x, value=x, dropout_p=0.5),
    "F.batch_norm": lambda x, norm: F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, eps=norm.eps
    ),
    "F.batch_norm, by name": lambda x, norm: F.batch_norm(
        x, running_mean=norm.running_mean, running_var=norm.running_var, weight=norm.weight, training=True
    ),
}

STILL = {"still attention": lambda x, _: F.scaled_dot_product_attention(x, x, x)}


def called(call: str | None) -> Any:
    """A network in inference mode that makes one of these calls, or in its place what it is in inference."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            if call is not None:
                x = (CALLS | STILL)[call](x, self.norm)
            return self.last(F.relu(x).mean((2, 3)))

    torch.manual_seed(0)
    net = Net()
    for value in (*net.parameters(), net.norm.running_mean):
        nn.init.normal_(value, 0, 0.5)
    net.norm.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_torch_dropout_and_batch_norm_called_as_functions_are_in_inference_mode(
    call: str, optimise: bool, rng: Any
) -> None:
    net, still = called(call), called("still attention" if "attention" in call else None)
    if "norm" in call:  # in inference a batch norm is an affine map, which a module applies here
        norm = net.norm.eval()
        bias = norm.bias if call == "F.batch_norm" else torch.zeros(4)
        still.conv = torch.nn.Sequential(still.conv, copy.deepcopy(norm))
        still.conv[1].bias = torch.nn.Parameter(bias.detach().clone())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    options: dict[str, Any] = {"input_size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3, "optimise": optimise}
    model, expected = vizkit.wrap(net, **options), vizkit.wrap(still, **options)
    assert len(model.graph().nodes) > 3, "which is one pass, too"
    picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for method in ("saliency", "guided_backprop"):
        one, two = (getattr(vizkit, method)(model, picture, target=1).values for _ in range(2))
        np.testing.assert_array_equal(one, two)
        plain = getattr(vizkit, method)(expected, picture, target=1).values
        np.testing.assert_allclose(one, plain, rtol=0, atol=1e-6 * plain.max())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    x = model.ops.asarray(np.random.default_rng(0).normal(size=(4, 3, 8, 8)))
    mode = Mode(training=np.random.default_rng(0))
    if "norm" in call:
        found = model.forward(x, ("output",), mode=mode)["output"]
        normed = torch.nn.functional.batch_norm(net.conv(x), None, None, norm.weight, bias, True, eps=norm.eps)
        torch.testing.assert_close(found, net.last(torch.relu(normed).mean((2, 3))))
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    else:
        with pytest.raises(SettingError, match="as a function"):
            model.forward(x, mode=mode)


@pytest.mark.quick
def test_a_torch_batch_norm_without_statistics_takes_those_of_the_batch(rng: Any) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(144, 3)
    )
    model = vizkit.wrap(net, input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    x = torch.from_numpy(rng.normal(size=(2, 3, 8, 8))).float()
    with pytest.warns(MapWarning, match="batch norm without stored statistics"):
        found = model.forward(x)["output"]
    torch.testing.assert_close(found, net(x))


@pytest.mark.quick
def test_a_network_exported_in_training_is_in_inference_mode(rng: Any) -> None:
    native = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 3))
    exported = torch.export.export(native.train(), (torch.randn(1, 3, 8, 8),)).module()
    if not any(node.target is torch.ops.aten.batch_norm.default for node in exported.graph.nodes):
        pytest.skip("this version of PyTorch exports batch norm in training in parts")
    options: dict[str, Any] = {"input_size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found, expected = (
        vizkit.saliency(vizkit.wrap(net, **options), picture, target=1).values for net in (exported, native)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected.max())


def test_what_was_exported_for_a_batch_says_so(rng: Any) -> None:
    native = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    options: dict[str, Any] = {"input_size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    x = rng.normal(size=(3, 3, 8, 8))
    one, two = (torch.export.export(native, (torch.zeros(n, 3, 8, 8).double(),)).module() for n in (1, 2))
    with pytest.raises(ShapeError, match=r"input of shape \(1, 3, 8, 8\): .*dynamic_shapes="):
        vizkit.saliency(vizkit.wrap(two, **options), x, target=1)
    model = vizkit.wrap(one, **options)
    with pytest.raises(ShapeError, match=r"input of shape \(3, 3, 8, 8\): .*batch_size=1"):
        vizkit.saliency(model, x, target=1)
    made = vizkit.saliency(model, x, target=1, batch_size=1).values
    np.testing.assert_allclose(made, vizkit.saliency(vizkit.wrap(native, **options), x, target=1).values, rtol=1e-10)


class Quantisable(nn.Module):
    """What PyTorch can quantise, and is not yet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.sums = torch.ao.quantization.QuantStub(), torch.ao.nn.quantized.FloatFunctional()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        return self.head(self.sums.add_relu(x, self.conv(x)).mean((2, 3)))


def test_a_network_that_can_be_quantised_is_none_that_is(rng: np.random.Generator) -> None:
    native = Quantisable().double()
    x = torch.from_numpy(rng.normal(size=(1, 3, 8, 8))).requires_grad_()
    (expected,) = torch.autograd.grad(native(x)[0, 1], x)
    model = vizkit.wrap(native, input_size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = vizkit.saliency(model, x.detach().numpy(), target=1)
    np.testing.assert_allclose(found.values, expected.abs().amax(1), rtol=1e-12)
    assert vizkit.gradcam(model, x.detach().numpy(), relu=False).layer == "conv"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_observers_before_quantisation_see_none_of_vizkits_passes(rng: np.random.Generator) -> None:
    """They write their buffers without PyTorch's notice, in inference, too."""
    native = Quantisable().train()
    native.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    torch.ao.quantization.prepare_qat(native, inplace=True)(torch.rand(2, 3, 8, 8))
    before = {name: one.clone() for name, one in native.eval().state_dict().items()}
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    model = vizkit.wrap(native, input_size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.warns(MapWarning, match="beside another one"):
        assert model.layers
    found = [vizkit.saliency(model, x, target=1).values for _ in range(2)]
    assert all(torch.equal(one, before[name]) for name, one in native.state_dict().items())
    given = torch.from_numpy(x).requires_grad_()
    (expected,) = torch.autograd.grad(native(given)[0, 1], given)
    for one in found:
        np.testing.assert_allclose(one, expected.abs().amax(1), rtol=1e-6)


def test_a_spectral_norm_in_training_is_not_turned(rng: np.random.Generator) -> None:
    """To read its weight is a step of its iteration, unless it is in inference."""
    parts = (nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    native = nn.Sequential(*parts, nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))).double().train()
    nn.utils.parametrizations.spectral_norm(native[0])
    before = {name: one.clone() for name, one in native.state_dict().items()}
    model = vizkit.wrap(native, input_size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert vizkit.saliency(model, rng.normal(size=(1, 3, 8, 8)), target=1).values.max() > 0
    assert vizkit.filters(model, "0").values.shape == (2, 3, 3, 3)
    assert native.training
    assert all(torch.equal(one, before[name]) for name, one in native.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_network_is_refused() -> None:
    native = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    quantised = torch.ao.quantization.quantize_dynamic(native, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(SettingError, match=r"is quantised.*Wrap the network that it was made from"):
        vizkit.wrap(quantised, input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_what_a_module_keeps_beside_its_tensors_is_no_parameter() -> None:
    class Keeping(nn.Conv2d):
        def get_extra_state(self) -> Any:
            return {"version": 3}

        def set_extra_state(self, state: Any) -> None:
            pass

    model = vizkit.wrap(nn.Sequential(Keeping(3, 2, 3), nn.Flatten()), input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert [*model.parameter_shapes()] == ["0.weight", "0.bias"]
    assert len(model.sha256()) == 64


@pytest.mark.quick
def test_a_network_spread_over_devices_keeps_its_names() -> None:
    small = Small()
    model = small.wrapped(nn.DataParallel(small.native))
    assert list(model.layers) == list(small.plain.layers)
    assert model.native is small.native


@pytest.mark.quick
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_relus_that_are_functions_follow_the_rule_though_captum_does_not_see_them() -> None:
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12 * 12, 4)
    modules = nn.Sequential(*parts).double()

    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(part for part in copy.deepcopy(modules) if not isinstance(part, nn.ReLU))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second, flat, last = self.parts
            scores: torch.Tensor = last(flat(F.relu(second(torch.relu(first(x))))))
            return scores

    functions = Functions()
    model = vizkit.wrap(functions, input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    x = torch.from_numpy(vizkit.images.prepare(picture, model.spec).tensor).double().requires_grad_()
    ours = vizkit.guided_backprop(model, picture, target=1).extra["attribution"]
    theirs = captum.GuidedBackprop(modules).attribute(x, target=1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
    unseen = captum.GuidedBackprop(functions).attribute(x, target=1)
    torch.testing.assert_close(unseen, captum.Saliency(functions).attribute(x, target=1, abs=False), rtol=0, atol=0)


@pytest.mark.parametrize("norm", [torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_filters_that_are_computed_from_parameters(norm: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), norm(nn.Conv2d(2, 4, 3)), nn.Flatten(), norm(nn.Linear(64, 2)))
    model = vizkit.wrap(network, input_size=8, mean=(0,) * 3, std=(1,) * 3)
    assert model.filter_layers() == ["0", "1"]
    with torch.no_grad():
        for value in network[1].parameters():
            value.mul_(1.5)
    x = torch.zeros(1, 2, 3, 3)
    x[0, 1, 0, 2] = 1
    expected = (network[1](x) - network[1](0 * x))[0, :, 0, 0].detach()
    with torch.no_grad():
        for value in network[1].parameters():
            value.mul_(2)  # since then no pass has run
    np.testing.assert_allclose(model.weight("1")[:, 1, 0, 2], 2 * expected, rtol=1e-5)
    assert model.weight("3").shape == (2, 64)
    assert vizkit.filters(model, "1").values.shape[0] == 4


def test_half_precision_is_called_by_its_name() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)).half()
    with pytest.raises(SettingError, match=r"those of Sequential are float16, read as float32\..*\.double\(\)"):
        vizkit.wrap(network, input_size=8, mean=(0,) * 3, std=(1,) * 3, dtype="float64")
