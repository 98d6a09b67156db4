"""Gluon blocks with further inputs and several results, on signals and volumes; exported ones; against the block's own
gradient, and PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BOTH, INSTALLED

import vizkit
from vizkit.errors import SettingError

if "gluon" not in INSTALLED:
    pytest.skip("these are Gluon's", allow_module_level=True)
import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn

SIZE = 16
FACTS = np.array([[0.3, -1.0, 2.0]])
NAMES = np.array([2], np.int32)


def picture(seed: int = 3) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def filled(block: Any, dtype: str = "float64") -> Any:
    """With values that do not depend on what was drawn before."""
    block.initialize()
    block.cast(dtype)
    return block


def values(block: Any) -> Any:
    rng = np.random.default_rng(7)
    for parameter in block.collect_params().values():
        parameter.set_data(mx.nd.array(rng.normal(0, 0.3, parameter.shape), dtype=parameter.dtype))
    return block


def wrap(block: Any, **options: Any) -> Any:
    return vizkit.wrap(block, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


class Two(gluon.HybridBlock):
    """A picture, facts whose number counts times the picture's features, and perhaps a name."""

    def __init__(self, embed: bool = False) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2D(4, 3, 2, in_channels=3), nn.Activation("relu")
        self.head, self.facts = nn.Dense(5, in_units=4), nn.Dense(5, in_units=3)
        self.names = nn.Embedding(4, 5) if embed else None

    def hybrid_forward(self, F: Any, x: Any, facts: Any, name: Any = None) -> Any:
        found = self.head(F.mean(self.act(self.conv(x)), axis=(2, 3))) * self.facts(facts)
        return found if self.names is None else found * self.names(name)


def gradient(block: Any, images: Any, model: Any, further: Any, target: int) -> Any:
    """The block's own, at the images."""
    x = mx.nd.array(vizkit.images.prepare(images, model.spec, fit="squash").tensor, dtype="float64")
    x.attach_grad()
    with autograd.record(train_mode=False):
        found = block(x, *further)
        score = found[:, target].sum()
    score.backward()
    return x.grad.asnumpy()


INPUTS: dict[str, tuple[bool, Any]] = {
    "in order": (False, [FACTS]),
    "by name": (False, {"facts": FACTS}),
    "native": (False, lambda: [mx.nd.array(FACTS, dtype="float64")]),
    "float32": (False, [np.float32(FACTS)]),
    "whole numbers": (True, {"name": NAMES, "facts": FACTS}),
}


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("form", INPUTS)
def test_further_inputs(form: str, optimise: bool) -> None:
    embed, inputs = INPUTS[form]
    inputs = inputs() if callable(inputs) else inputs
    block = values(filled(Two(embed)))
    model = wrap(block, inputs=inputs, optimise=optimise)
    images = [picture(1), picture(2)]
    further = [mx.nd.array(np.repeat(FACTS, 2, 0), dtype="float64")]
    further += [mx.nd.array(np.repeat(NAMES, 2), dtype="int32")] if embed else []
    expected = gradient(block, images, model, further, 3)
    exact = 1e-6 if form == "float32" else 1e-12
    found = vizkit.saliency(model, images, target=3, fit="squash")
    np.testing.assert_allclose(found.values, np.abs(expected).max(axis=1), rtol=exact)
    alone = vizkit.saliency(model, images[1], target=3, fit="squash")  # another batch
    np.testing.assert_allclose(alone.values[0], found.values[1], rtol=1e-12)
    integrated = vizkit.integrated_gradients(model, images, target=3, steps=80, fit="squash")
    assert (integrated.extra["completeness_error"] < 0.02).all()
    for method in ("gradcam", "scorecam", "occlusion"):
        options = {"layer": "act"} if "cam" in method else {"window": 8}
        assert np.ptp(getattr(vizkit, method)(model, images, target=3, fit="squash", **options).values) > 0
    assert model.graph().layers["output"]
    assert model.layers["facts"].shape == (1, 5)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [((), "takes 2 inputs beside the picture, facts, name; it got 0"), ([FACTS] * 3, "it got 3"),
     ({"fact": FACTS}, "no input 'fact'")],
)  # fmt: skip
def test_inputs_that_do_not_fit(inputs: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        wrap(values(filled(Two())), inputs=inputs)


def test_parameters_that_wait_for_a_first_input_see_all_inputs() -> None:
    class Waits(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2D(2, 3), nn.Dense(2)

        def hybrid_forward(self, F: Any, x: Any, facts: Any) -> Any:
            return F.mean(self.a(x), axis=(2, 3)) + self.b(facts)

    block = Waits()
    block.initialize()
    assert wrap(block, inputs=[FACTS]).output_shape == (1, 2)


class Several(gluon.HybridBlock):
    def __init__(self, form: Any) -> None:
        super().__init__()
        self.conv, self.head, self.form = nn.Conv2D(4, 3, in_channels=3), nn.Dense(5, in_units=4), form

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        found = self.head(F.mean(F.relu(self.conv(x)), axis=(2, 3)))
        return self.form(found)


FORMS: dict[str, tuple[Any, Any]] = {
    "tuple": (lambda a: (2 * a, a), 1),
    "list": (lambda a: [a, 2 * a], 0),
    "from the end": (lambda a: (2 * a, a), -1),
    "function": (lambda a: (2 * a, [a]), lambda result: result[1][0]),
    "a sum": (lambda a: (0.5 * a, 0.5 * a), lambda result: result[0] + result[1]),
    "the only one, without a word": (lambda a: [a], None),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_of_several_results(form: str) -> None:
    made, wanted = FORMS[form]
    plain = vizkit.saliency(wrap(values(filled(Several(lambda a: a)))), picture(), target=4, fit="squash")
    found = vizkit.saliency(wrap(values(filled(Several(made))), output=wanted), picture(), target=4, fit="squash")
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-12)


@pytest.mark.parametrize(
    ("form", "output", "says"),
    [
        (lambda a: (a, 2 * a), None, "a tuple of 0 an array, 1 an array.*output="),
        (lambda a: (a, 2 * a), 2, "names no part"),
        (lambda a: (a, 2 * a), "logits", "names no part"),
        (lambda a: (a, [a, a]), 1, "expected one array"),
        (lambda a: (a, a), lambda result: None, "NoneType"),
    ],
)
def test_a_result_that_is_not_there(form: Any, output: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        wrap(values(filled(Several(form))), output=output)


def test_a_number_for_each_picture() -> None:
    model = wrap(values(filled(Several(lambda a: a.sum(axis=1)))))
    assert model.output_shape == (1, 1)
    sums = wrap(values(filled(Several(lambda a: a))))
    found = vizkit.saliency(model, [picture(1), picture(2)], fit="squash")
    expected = vizkit.saliency(sums, [picture(1), picture(2)], target="all", fit="squash")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)
    assert 0 < model.predict(picture(), fit="squash")[0].probability < 1


@pytest.mark.filterwarnings("ignore:Cannot decide type")
def test_an_exported_block(tmp_path: Path) -> None:
    """Its operators are its layers; maps are the block's."""
    block = nn.HybridSequential()
    block.add(nn.Conv2D(4, 3, in_channels=3), nn.BatchNorm(in_channels=4), nn.Activation("relu"))
    block.add(nn.Conv2D(5, 3, in_channels=4), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Flatten())
    block.add(nn.Dense(3, in_units=5))
    values(filled(block, "float32"))
    block.hybridize()
    block(mx.nd.zeros((1, 3, SIZE, SIZE)))
    block.export(str(tmp_path / "net"))
    files = str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    imported = wrap(gluon.SymbolBlock.imports(*files))
    own, last = wrap(block), [name for name in imported.layers if "relu" in name][-1]
    for method, options in (("saliency", {}), ("guided_backprop", {}), ("integrated_gradients", {"steps": 5})):
        theirs, ours = (
            getattr(vizkit, method)(one, picture(), target=1, fit="squash", **options).values for one in (imported, own)
        )
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-7 * np.abs(ours).max())
    theirs = vizkit.gradcam(imported, picture(), target=1, layer=last, relu=False, fit="squash").values
    ours = vizkit.gradcam(own, picture(), target=1, layer="4", relu=False, fit="squash").values
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6 * np.abs(ours).max())


def test_an_exported_block_whose_input_has_another_name() -> None:
    x = mx.sym.var("picture")
    y = mx.sym.Activation(mx.sym.Convolution(x, kernel=(3, 3), num_filter=2, name="c"), act_type="relu", name="r")
    block = gluon.SymbolBlock(mx.sym.mean(y, axis=(2, 3)), x)
    block.initialize()
    model = wrap(block)
    assert [name for name in model.layers if name in ("c", "r")] == ["c", "r"]
    assert vizkit.gradcam(model, picture(), layer="r", relu=False, fit="squash").values.shape == (1, SIZE, SIZE)


def test_two_inputs_and_an_exported_block() -> None:
    x, facts = mx.sym.var("picture"), mx.sym.var("facts")
    features = mx.sym.mean(mx.sym.Convolution(x, kernel=(3, 3), num_filter=3, name="c"), axis=(2, 3))
    block = gluon.SymbolBlock(features * facts, [x, facts])
    block.initialize()
    model = wrap(block, inputs=[np.float32(FACTS)])
    one = vizkit.saliency(model, picture(), target=0, fit="squash").values
    two = vizkit.saliency(wrap(block, inputs=[np.float32(2 * FACTS)]), picture(), target=0, fit="squash").values
    np.testing.assert_allclose(two, 2 * one, rtol=1e-5)


def test_the_block_is_left_as_it_was() -> None:
    block = values(filled(Two()))
    before = {name: (one.data().asnumpy(), one.grad_req) for name, one in block.collect_params().items()}
    state = {name: set(vars(child)) for name, child in block._children.items()}
    vizkit.gradcam(wrap(block, inputs=[FACTS]), picture(), layer="act", fit="squash")
    for name, one in block.collect_params().items():
        np.testing.assert_array_equal(one.data().asnumpy(), before[name][0])
        assert one.grad_req == before[name][1]
    assert {name: set(vars(child)) for name, child in block._children.items()} == state


@pytest.mark.skipif(not BOTH, reason="compares both backends")
def test_both_backends_agree() -> None:
    import torch

    class Same(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.head = torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.Linear(4, 5)
            self.facts = torch.nn.Linear(3, 5)

        def forward(self, x: Any, facts: Any) -> Any:
            return {"y": self.head(self.act(self.conv(x)).mean((2, 3))) * self.facts(facts), "x": x}

    block, network = values(filled(Two())), Same().double()
    arrays = {name: torch.from_numpy(one.data().asnumpy()) for name, one in block._collect_params_with_prefix().items()}
    network.load_state_dict(arrays)
    images = [picture(k) for k in range(3)]
    for method, options in (
        ("saliency", {}), ("smoothgrad", {"samples": 3}), ("gradcam", {"layer": "act"}), ("scorecam", {"layer": "act"}),
        ("occlusion", {"window": 8}), ("rise", {"samples": 10}),
    ):  # fmt: skip
        ours, theirs = (
            getattr(vizkit, method)(one, images, target=2, fit="squash", **options).values
            for one in (wrap(block, inputs=[FACTS]), wrap(network, inputs=[FACTS], output="y"))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * np.abs(theirs).max(), err_msg=method)
