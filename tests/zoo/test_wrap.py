"""The user's own networks, in the shapes in which they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE

import vizkit
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
    assert bare.name == type(bare.native).__name__
    with pytest.raises(UnknownNameError, match="no labels"):
        vizkit.saliency(bare, picture, target="cat")
    assert bare.predict(picture)[0].label.startswith("class ")
    assert [rows[0].index for rows in bare.predict([picture, picture])] == [found[0].index] * 2


def test_a_label_of_digits_comes_before_an_index(kit: Any) -> None:
    model = vizkit.wrap(kit.sequential(TRAPS), **SPEC, labels=["1", "2", "3", "4", "0"])
    picture = np.zeros((40, 60, 3), np.uint8)
    for target, index in (("1", 0), ("0", 4), (1, 1), (0, 0)):
        (told,) = vizkit.saliency(model, picture, target=target).provenance["settings"]["target"]
        assert told["index"] == index
    bare = vizkit.wrap(kit.sequential(TRAPS), **SPEC)
    assert vizkit.saliency(bare, picture, target="1").provenance["settings"]["target"][0]["index"] == 1
    for resize in (0, -3, 2.5, "32"):
        with pytest.raises(SettingError, match="expected a number of pixels"):
            vizkit.wrap(kit.sequential(TRAPS), **SPEC, resize=resize)


def test_a_network_cast_after_it_was_wrapped_says_so(kit: Any, rng: Any) -> None:
    native = kit.sequential(TRAPS)
    model, picture = vizkit.wrap(native, **SPEC), rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    model.logits(picture)
    native.float() if model.backend == "torch" else native.cast("float32")
    with pytest.raises(SettingError, match=r"parameters of float32; when .* wrapped they were float64.* wrap it again"):
        model.logits(picture)


@pytest.mark.quick
def test_a_class_is_no_network(kit: Any) -> None:
    with pytest.raises(SettingError, match=r"got the class (\w+) itself.* \1\(\)"):
        vizkit.wrap(type(kit.sequential(TRAPS)), **SPEC)


@pytest.mark.quick
def test_maps_need_layers_that_run_once(name: str, rng: Any) -> None:
    """Else the message says which run more often."""
    from conftest import kit_of

    if name == "torch":
        import torch

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.last = torch.nn.Conv2d(3, 3, 3), torch.nn.Linear(27, 2)

            def forward(self, x: Any) -> Any:
                return self.last(self.conv(self.conv(x)).flatten(1))

        native: Any = Network()
    else:
        kit_of(name)
        from mxnet.gluon import HybridBlock, nn

        class Block(HybridBlock):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.last = nn.Conv2D(3, 3, in_channels=3), nn.Dense(2, in_units=27)

            def hybrid_forward(self, F: Any, x: Any) -> Any:
                return self.last(self.conv(self.conv(x)))

        native = Block()
        native.initialize()
    model = vizkit.wrap(native, input_size=7, mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(LayerError, match="Layers that run more than once in a pass cannot be used, here conv"):
        vizkit.gradcam(model, rng.normal(size=(1, 3, 7, 7)))


@pytest.mark.quick
def test_the_usual_layer_leads_to_the_result(kit: Any, rng: Any) -> None:
    """And not to another: the last layer with maps is thrown away here."""
    model = vizkit.wrap(kit.side(8), input_size=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert list(model.layers)[:2] == ["conv", "side"]
    found = vizkit.gradcam(model, rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), relu=False)
    assert found.provenance["settings"]["layer"] == "conv"


@pytest.mark.quick
@pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's float16")
@pytest.mark.parametrize("norm", [True, False])
def test_a_copy_of_float16_parameters_in_gluon(norm: bool, rng: Any) -> None:
    """Which is read in float32, with or without parameters that stay in float32 as batch norm's do."""
    import mxnet as mx
    from mxnet.gluon import nn

    native = nn.HybridSequential()
    native.add(nn.Conv2D(4, 3, in_channels=3, activation="relu"))
    native.add(nn.BatchNorm(in_channels=4) if norm else nn.Activation("relu"), nn.Dense(2, in_units=64))
    about: dict[str, Any] = {"input_size": 6, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    native.initialize()
    native.cast("float16")
    model, x = vizkit.wrap(native, **about), rng.normal(size=(1, 3, 6, 6)).astype(np.float32)
    assert model.dtype == "float32"
    assert np.dtype(native[0].weight.dtype) == np.float16
    assert "float32 of float16" in str(model.weights.note)
    native.cast("float32")
    np.testing.assert_array_equal(model.logits(x), native(mx.nd.array(x)).asnumpy())
    np.testing.assert_array_equal(model.logits(x), vizkit.wrap(native, **about).logits(x))
    native.cast("float16")
    with pytest.raises(SettingError, match="float16, read as float32"):
        vizkit.wrap(native, **about, dtype="float64")
    waiting = nn.HybridSequential()
    waiting.add(nn.Dense(2))
    waiting.initialize()
    waiting.cast("float16")
    with pytest.raises(SettingError, match="float16 and has parameters without values"):
        vizkit.wrap(waiting, **about)


def test_labels_are_one_for_each_output(kit: Any) -> None:
    for wrong, message in (
        (["cat", "dog"], "2 labels for the 5 outputs"),
        ("imagenet", "1000 labels"),
        ("cat", "list"),
    ):
        with pytest.raises(SettingError, match=message):
            vizkit.wrap(kit.sequential(TRAPS), **SPEC, labels=wrong)


@pytest.mark.quick
def test_a_single_output_is_a_sigmoids(kit: Any, rng: Any) -> None:
    """Softmax over one number is 1 whatever it is."""
    layers = [("conv", 3, 4, 3, 1), ("relu",), ("flatten",), ("dense", 4 * TRAPS_SIZE**2, 1)]
    picture = rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    logit, ended = (vizkit.wrap(kit.sequential(one), **SPEC) for one in (layers, [*layers, ("sigmoid",)]))
    (found,), (same,) = (one.predict(picture, fit="squash") for one in (logit, ended))
    assert found.probability == pytest.approx(1 / (1 + np.exp(-found.logit)))
    assert 0.0 < found.probability < 1.0
    assert (same.probability, same.logit) == (pytest.approx(found.probability), pytest.approx(found.logit))


@pytest.mark.quick
def test_a_network_on_gray_pictures_that_are_not_square(kit: Any, rng: Any) -> None:
    layers = [("conv", 1, 4, 3, 1), ("relu",), ("pool",), ("flatten",), ("dense", 4 * 6 * 10, 3)]
    model = vizkit.wrap(kit.sequential(layers), input_size=(12, 20), mean=(0.5,), std=(0.5,))
    result = vizkit.saliency(model, rng.integers(0, 256, (50, 80, 3), dtype=np.uint8), fit="squash")
    assert result.values.shape == (1, 12, 20)
    assert result.values.max() > 0
    assert vizkit.filters(model).channel == "mean"
    assert vizkit.dream(model, "1", 2, stages=2, steps=2, size=8).pictures().shape == (1, 8, 8, 3)


gluon_only = pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's own forms of a network")


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


@pytest.mark.quick
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


@pytest.mark.quick
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


@pytest.mark.parametrize(("size", "channels"), [((1, 100), 3), (3, 3), ((4, 8, 8), 3), (16, 5)])
def test_inputs_that_the_network_cannot_take(kit: Any, size: Any, channels: int) -> None:
    """The first look says what was given and how to say it, in the place of the framework's own words alone."""
    model = vizkit.wrap(kit.sequential(TRAPS), input_size=size, mean=(0.5,) * channels, std=(0.5,) * channels)
    with pytest.raises(ShapeError, match=r"cannot take an input of shape .*input_size=224"):
        _ = model.layers
    with pytest.raises(ShapeError, match=r"cannot take an input of shape"):
        _ = model.output_shape
