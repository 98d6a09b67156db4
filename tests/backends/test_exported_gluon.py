"""Exported Gluon blocks: graphs without Python code, whose operators are their layers; against the block's own maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import LayerError, SettingError

if "gluon" not in INSTALLED:
    pytest.skip("these are Gluon's", allow_module_level=True)
import mxnet as mx
from kits.gluon import KIT
from mxnet import gluon
from mxnet.gluon import nn
from test_call_gluon import FACTS, SIZE, filled, picture, values, wrap

pytestmark = pytest.mark.filterwarnings("ignore:Cannot decide type")


@pytest.fixture(name="block")
def fixture_block() -> Any:
    block = nn.HybridSequential()
    block.add(nn.Conv2D(4, 3, in_channels=3), nn.BatchNorm(in_channels=4), nn.Activation("relu"))
    block.add(nn.Conv2D(5, 3, in_channels=4), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Flatten())
    block.add(nn.Dense(3, in_units=5))
    values(filled(block))
    block[1].running_var.set_data(mx.nd.array([0.5, 1, 1.5, 2], dtype="float64"))
    return block


@pytest.fixture(name="imported")
def fixture_imported(block: Any, tmp_path: Path) -> Any:
    block.hybridize()
    block(mx.nd.zeros((1, 3, SIZE, SIZE), dtype="float64"))
    block.export(str(tmp_path / "net"))
    return gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))


def own_name(names: Any, kind: str) -> str:
    """The last layer of a kind; Gluon numbers its names through the process."""
    return [name for name in names if kind in name][-1]


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("saliency", {}),
        ("guided_backprop", {}),
        ("deconvnet", {}),
        ("smoothgrad", {"samples": 3}),
        ("integrated_gradients", {"steps": 50}),
        ("gradcam", {"relu": False}),
        ("gradcam", {"relu": False, "layer": "4"}),
        ("scorecam", {"layer": "4"}),
    ],
)
def test_maps_are_the_blocks_own(
    block: Any, imported: Any, method: str, options: dict[str, Any], optimise: bool
) -> None:
    theirs, ours = wrap(imported, optimise=optimise), wrap(block, optimise=optimise)
    other = options | ({"layer": own_name(theirs.layers, "relu")} if "layer" in options else {})
    images = [picture(1), picture(2)]
    found = getattr(vizkit, method)(theirs, images, target=1, fit="squash", **other).values
    wanted = getattr(vizkit, method)(ours, images, target=1, fit="squash", **options).values
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.quick
def test_what_a_model_tells(block: Any, imported: Any) -> None:
    theirs, ours = wrap(imported), wrap(block)
    assert [one.shape for one in theirs.layers.values()] == [one.shape for one in ours.layers.values()]
    assert [node.kind for node in theirs.graph().nodes] == [node.kind for node in ours.graph().nodes]
    assert [node.parameters for node in theirs.graph().nodes] == [node.parameters for node in ours.graph().nodes]
    for found, wanted in zip(theirs.biases().values(), ours.biases().values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert sorted(theirs.parameter_shapes().values()) == sorted(ours.parameter_shapes().values())


@pytest.mark.quick
def test_the_exported_block_is_left_as_it_was(imported: Any) -> None:
    before = KIT.snapshot(imported)
    vizkit.gradcam(wrap(imported), picture(), fit="squash")
    assert KIT.snapshot(imported) == before


@pytest.mark.quick
def test_an_exported_block_with_a_new_head(block: Any, imported: Any) -> None:
    """As one fine-tunes: its operators are layers behind its own name."""
    network = nn.HybridSequential()
    head = values(filled(nn.Dense(4, in_units=3)))
    network.add(imported, head)
    plain = nn.HybridSequential()
    plain.add(block, head)
    model, layers = wrap(network), list(wrap(network).layers)
    assert layers[-2:] == ["0", "1"]
    assert all(name.startswith("0.") for name in layers[:-2])
    found = vizkit.gradcam(model, picture(), target=2, layer=own_name(layers, "relu"), relu=False, fit="squash").values
    wanted = vizkit.gradcam(wrap(plain), picture(), target=2, layer="0.4", relu=False, fit="squash").values
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


def convolved(*inputs: str) -> tuple[Any, ...]:
    """Variables, and the first one's channels after a convolution."""
    variables = tuple(map(mx.sym.var, inputs))
    conv = mx.sym.Convolution(variables[0], kernel=(3, 3), num_filter=3, pad=(1, 1), name="c")
    return *variables, mx.sym.Activation(conv, act_type="relu", name="r")


@pytest.mark.quick
def test_a_block_that_runs_twice_has_no_layers_inside() -> None:
    x, y = convolved("picture")
    inner = gluon.SymbolBlock(y, x)
    inner.initialize()

    class Twice(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return F.mean(self.inner(self.inner(x)), axis=(2, 3))

    model = wrap(Twice())
    assert list(model.layers) == []
    with pytest.raises(LayerError, match="more than once"):
        model.layer("inner")


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_input_of_another_name_and_parameters_that_wait(dtype: str) -> None:
    x, y = convolved("picture")
    block = gluon.SymbolBlock(mx.sym.mean(y, axis=(2, 3)), x)
    block.initialize()
    block.cast(dtype)
    model = wrap(block)
    assert [name for name in model.layers if name in ("c", "r")] == ["c", "r"]
    assert vizkit.gradcam(model, picture(), layer="r", relu=False, fit="squash").values.shape == (1, SIZE, SIZE)


@pytest.mark.parametrize("names", [("picture", "facts"), ("picture", "data"), ("input.1", "input.2")])
def test_two_inputs(names: tuple[str, str]) -> None:
    x, facts, y = convolved(*names)
    block = gluon.SymbolBlock(mx.sym.mean(y, axis=(2, 3)) * facts, [x, facts])
    block.initialize()
    one, two = (
        vizkit.saliency(wrap(block, inputs=inputs), [picture(1), picture(2)], target=0, fit="squash").values
        for inputs in ([np.float32(FACTS)], {names[1]: np.float32(2 * FACTS)})
    )
    np.testing.assert_allclose(two, 2 * one, rtol=1e-5)
    for inputs in ((), [FACTS, FACTS]):
        with pytest.raises(SettingError, match=f"takes 1 input beside the picture, {names[1]}; it got {len(inputs)}"):
            wrap(block, inputs=inputs)


@pytest.mark.quick
def test_several_results() -> None:
    x, y = convolved("picture")
    block = gluon.SymbolBlock([y, mx.sym.mean(y, axis=(2, 3))], [x])
    block.initialize()
    assert wrap(block, output=0).output_shape == (1, 3, SIZE, SIZE)
    assert wrap(block, output=lambda result: result[-1]).output_shape == (1, 3)
    with pytest.raises(SettingError, match=r"a list of 0 an array, 1 an array.*output="):
        wrap(block)


def shaped(block: Any, *inputs: Any) -> Any:
    """The model of a block whose parameters have got their shapes from a pass."""
    filled(block)(*(mx.nd.array(one, dtype="float64") for one in (np.zeros((1, 3, SIZE, SIZE)), *inputs)))
    return wrap(values(block), inputs=list(inputs))


@pytest.mark.parametrize(
    ("end", "options", "plain"),
    [
        ("SoftmaxOutput", {}, lambda y: mx.sym.softmax(y, axis=1)),
        ("SoftmaxOutput", {"multi_output": True}, lambda y: mx.sym.softmax(y, axis=1)),
        ("SoftmaxOutput", {"preserve_shape": True, "grad_scale": 7.0}, lambda y: mx.sym.softmax(y, axis=-1)),
        ("LogisticRegressionOutput", {}, mx.sym.sigmoid),
        ("LinearRegressionOutput", {}, mx.sym.identity),
        ("MAERegressionOutput", {}, mx.sym.identity),
        ("SVMOutput", {}, mx.sym.identity),
        ("MakeLoss", {}, mx.sym.identity),
    ],
)
def test_ends_of_training_are_what_they_give(end: str, options: dict[str, Any], plain: Any) -> None:
    """The gradient of MXNet's own is that of a loss, whatever is asked of them."""
    x, y = convolved("data")
    scores = mx.sym.mean(y, axis=(2, 3))
    labels = [] if end == "MakeLoss" else [mx.sym.var("label")]
    ended = gluon.SymbolBlock(getattr(mx.sym, end)(scores, *labels, name="end", **options), [x, *labels])
    own = gluon.SymbolBlock(plain(scores), [x])
    label = np.zeros(1 if end in ("SoftmaxOutput", "SVMOutput") else (1, 3))
    found, wanted = (
        vizkit.saliency(shaped(block, *inputs), [picture(1), picture(2)], target=[0, 2], fit="squash").values
        for block, inputs in ((ended, [label] if labels else []), (own, []))
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * wanted.max())


@pytest.mark.quick
def test_a_softmax_output_of_maps_is_over_all_values() -> None:
    """That is how MXNet has it where it is told no axis; of the maps of (2, 4) pictures, 3 channels."""
    x, y = convolved("data")
    label = mx.sym.var("label")
    model = shaped(gluon.SymbolBlock(mx.sym.SoftmaxOutput(y, label), [x, label]), np.zeros((1, 3, SIZE)))
    x = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE))
    found = model.ops.numpy(model.forward(model.ops.asarray(x))["output"])
    own = model.native(mx.nd.array(x, dtype="float64"), mx.nd.zeros((1, 3, SIZE), dtype="float64")).asnumpy()
    np.testing.assert_allclose(found, own, rtol=1e-12)
    assert found.sum() == pytest.approx(1.0)
