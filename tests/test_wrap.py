"""The user's own networks, in the shapes in which they come."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit.backend import Mode
from vizkit.errors import LayerError, SettingError, ShapeError, UnknownNameError

SPEC: dict[str, Any] = {"input_size": TRAPS_SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3}


def test_labels_sizes_and_targets(kit: Any, rng: Any) -> None:
    labels = ["ant", "bee", "cat", "dog", "emu"]
    model = vizkit.wrap(kit.sequential(TRAPS), **SPEC, labels=labels, name="zoo")
    picture = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    found = model.predict(picture, top=5)
    assert sum(one.probability for one in found) == pytest.approx(1)
    assert {one.label for one in found} == set(labels)
    assert [one.logit for one in found] == sorted((one.logit for one in found), reverse=True)
    by_name = vizkit.saliency(model, picture, target="Cat")
    by_index = vizkit.saliency(model, picture, target=2)
    np.testing.assert_array_equal(by_name.values, by_index.values)
    assert by_name.provenance["model"] == "zoo"
    assert by_name.provenance["weights"]["source"] == "as given"
    with pytest.raises(UnknownNameError, match="'dog'"):
        vizkit.saliency(model, picture, target="dgo")
    bare = vizkit.wrap(kit.sequential(TRAPS), **SPEC)
    with pytest.raises(UnknownNameError, match="no labels"):
        vizkit.saliency(bare, picture, target="cat")
    assert bare.predict(picture)[0].label.startswith("class ")
    assert [rows[0].index for rows in bare.predict([picture, picture])] == [found[0].index] * 2


def test_a_network_on_gray_pictures_that_are_not_square(kit: Any, rng: Any) -> None:
    layers = [("conv", 1, 4, 3, 1), ("relu",), ("pool",), ("flatten",), ("dense", 4 * 6 * 10, 3)]
    model = vizkit.wrap(kit.sequential(layers), input_size=(12, 20), mean=(0.5,), std=(0.5,))
    result = vizkit.saliency(model, rng.integers(0, 256, (50, 80, 3), dtype=np.uint8), fit="squash")
    assert result.values.shape == (1, 12, 20)
    assert result.values.max() > 0
    assert vizkit.filters(model).channel == "mean"
    assert vizkit.dream(model, "1", 2, stages=2, steps=2, size=8).pictures().shape == (1, 8, 8, 3)


torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch's own forms of a network")
gluon_only = pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's own forms of a network")


@torch_only
def test_torch_networks_that_return_more_than_a_tensor(rng: Any) -> None:
    import torch
    from torch import nn

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
    with pytest.raises(SettingError, match="float16"):
        vizkit.wrap(nn.Conv2d(3, 2, 3).half(), **options)


class Small:
    """A network of PyTorch with three stages, in the forms that PyTorch can give it."""

    size = 8

    def __init__(self) -> None:
        import torch
        from torch import nn

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


@torch_only
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("form", ["traced", "scripted", "one part scripted"])
def test_torch_script_shows_neither_layers_nor_relus(form: str) -> None:
    import torch

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


@torch_only
def test_exported_networks_show_their_relus() -> None:
    import torch

    small = Small()
    model = small.wrapped(torch.export.export(small.native.eval(), (small.blank,)).module())
    small.agree(model, "saliency", target=1)
    small.agree(model, "guided_backprop", target=1)
    with pytest.raises(ShapeError, match="input of shape"):
        vizkit.smoothgrad(model, small.picture, samples=3)
    small.agree(model, "smoothgrad", target=1, samples=3, batch_size=1)


@torch_only
@pytest.mark.parametrize("form", ["whole", "whole, in place", "a part", "a part, in place"])
def test_compiled_networks_are_run_as_what_they_were_compiled_from(form: str) -> None:
    import torch

    runs = []

    def backend(graph: Any, _: Any) -> Any:
        return lambda *given: runs.append(1) or graph(*given)

    small = Small()
    native: Any = copy.deepcopy(small.native).eval()
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


CALLS = {
    "F.dropout": lambda F, torch, x, _: F.dropout(x),
    "F.dropout, by name": lambda F, torch, x, _: F.dropout(input=x, p=0.3, training=True),
    "F.dropout2d": lambda F, torch, x, _: F.dropout2d(x, 0.5, True),
    "F.alpha_dropout": lambda F, torch, x, _: F.alpha_dropout(x, training=True),
    "torch.dropout": lambda F, torch, x, _: torch.dropout(x, 0.5, True),
    "F.batch_norm": lambda F, torch, x, norm: F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, eps=norm.eps
    ),
    "F.batch_norm, by name": lambda F, torch, x, norm: F.batch_norm(
        x, running_mean=norm.running_mean, running_var=norm.running_var, weight=norm.weight, training=True
    ),
}


def called(call: str | None) -> Any:
    """A network in inference mode that makes one of these calls, or in its place what it is in inference."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            if call is not None:
                x = CALLS[call](F, torch, x, self.norm)
            return self.last(F.relu(x).mean((2, 3)))

    torch.manual_seed(0)
    net = Net()
    for value in (*net.parameters(), net.norm.running_mean):
        nn.init.normal_(value, 0, 0.5)
    net.norm.running_var.uniform_(0.5, 2)
    return net.eval()


@torch_only
@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_torch_dropout_and_batch_norm_called_as_functions_are_in_inference_mode(
    call: str, optimise: bool, rng: Any
) -> None:
    import torch

    net, still = called(call), called(None)
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


@torch_only
def test_a_torch_batch_norm_without_statistics_takes_those_of_the_batch(rng: Any) -> None:
    import torch
    from torch import nn

    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(144, 3)
    )
    model = vizkit.wrap(net, input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    x = torch.from_numpy(rng.normal(size=(2, 3, 8, 8))).float()
    torch.testing.assert_close(model.forward(x)["output"], net(x))


@torch_only
def test_a_network_exported_in_training_is_in_inference_mode(rng: Any) -> None:
    import torch
    from torch import nn

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


@torch_only
def test_a_network_spread_over_devices_keeps_its_names() -> None:
    from torch import nn

    small = Small()
    model = small.wrapped(nn.DataParallel(small.native))
    assert list(model.layers) == list(small.plain.layers)
    assert model.native is small.native


@gluon_only
def test_gluon_networks_of_every_kind(tmp_path: Path, rng: Any) -> None:
    """Not hybrid, exported and imported again, or waiting for a first input: the same maps."""
    import mxnet as mx
    from mxnet.gluon import SymbolBlock, nn

    x = mx.nd.array(rng.normal(size=(1, 3, 16, 16)))
    picture = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def build(kind: Any) -> Any:
        network = kind()
        network.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.MaxPool2D(2), nn.Dense(3))
        return network

    hybrid = build(nn.HybridSequential)
    hybrid.initialize(mx.init.Xavier())
    waiting = vizkit.wrap(hybrid, **SPEC)
    expected = vizkit.saliency(waiting, picture, target=1).values
    hybrid.hybridize()
    hybrid(x)
    hybrid.export(str(tmp_path / "net"))
    imported = SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))
    plain = build(nn.Sequential)
    plain.initialize()
    plain(x)
    for mine, theirs in zip(hybrid.collect_params().values(), plain.collect_params().values(), strict=True):
        theirs.set_data(mine.data())
    for network in (hybrid, imported, plain):
        model = vizkit.wrap(network, **SPEC)
        np.testing.assert_allclose(vizkit.saliency(model, picture, target=1).values, expected, rtol=1e-4, atol=1e-7)
        assert len(model.layers) >= 5
        layer = next(name for name, found in model.layers.items() if found.shape == (1, 4, 7, 7))
        assert vizkit.feature_maps(model, picture, layer).values.shape == (1, 4, 7, 7)
    fresh = build(nn.HybridSequential)
    with pytest.raises(SettingError, match="initialize"):
        vizkit.wrap(fresh, **SPEC)


@gluon_only
def test_gluon_networks_that_no_graph_can_show() -> None:
    import mxnet as mx
    from mxnet.gluon import HybridBlock, nn

    class Shapes(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Dense(2, in_units=3)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return self.dense(x[:, :, 0, : x.shape[0]].mean(axis=2))

    network = Shapes()
    network.initialize(mx.init.Xavier())
    with pytest.raises(SettingError, match="cannot be traced"):
        vizkit.wrap(network, **SPEC)


@gluon_only
def test_gluon_dropout_and_batch_norm_called_as_functions_are_in_inference_mode(rng: Any) -> None:
    """Recording in training mode must not wake what the network calls as a function."""
    import mxnet as mx
    from mxnet.gluon import HybridBlock, nn

    class Functional(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(3, 3, in_channels=3)
            self.gamma = self.params.get("gamma", shape=(3,), init="ones")
            self.beta = self.params.get("beta", shape=(3,), init="zeros")
            self.mean = self.params.get("mean", shape=(3,), init=mx.init.Constant(0.3), grad_req="null")
            self.var = self.params.get("var", shape=(3,), init=mx.init.Constant(2.0), grad_req="null")

        def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
            y = F.BatchNorm(self.conv(x), gamma, beta, mean, var, fix_gamma=False)
            return F.mean(F.Dropout(F.LeakyReLU(y, act_type="rrelu")[0], p=0.5), axis=(2, 3))

    network = Functional()
    network.initialize(mx.init.Xavier())
    model = vizkit.wrap(network, input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    x = model.ops.asarray(rng.normal(size=(2, 3, 8, 8)))
    native = network(x).asnumpy()

    def score(leaves: Any) -> Any:
        out = model.forward(leaves["x"])["output"]
        return out[:, 0], out

    _, first, out = model.ops.value_and_grad(score, {"x": x})
    _, again, _ = model.ops.value_and_grad(score, {"x": x})
    np.testing.assert_allclose(model.ops.numpy(out), native, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.ops.numpy(first["x"]), model.ops.numpy(again["x"]))
