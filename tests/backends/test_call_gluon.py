"""Gluon blocks with further inputs and several results, against the block's own gradient, and PyTorch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from conftest import BOTH, INSTALLED

import vizkit
from vizkit.errors import SettingError, ShapeError, VizkitError

if "gluon" not in INSTALLED:
    pytest.skip("these are Gluon's", allow_module_level=True)
import mxnet as mx
from kits.gluon import KIT
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


def gradient(block: Any, images: Any, model: Any, further: Any, target: int, share: float = 1.0) -> Any:
    """The block's own, at the images or a share of them."""
    x = share * mx.nd.array(vizkit.images.prepare(images, model.spec, fit="squash").tensor, dtype="float64")
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
    for method in ("scorecam", "occlusion"):
        options = {"layer": "act"} if "cam" in method else {"window": 8}
        assert np.ptp(getattr(vizkit, method)(model, images, target=3, fit="squash", **options).values) > 0
    assert model.graph().layers["output"]
    assert model.layers["facts"].shape == (1, 5)


class Older(gluon.HybridBlock):
    """A picture, and an age by which its features are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2D(4, 3, in_channels=3), nn.Dense(5, in_units=4)

    def hybrid_forward(self, F: Any, x: Any, age: Any) -> Any:
        return self.head(F.broadcast_mul(F.mean(self.conv(x), axis=(2, 3)), age))


@pytest.mark.parametrize("optimise", [True, False])
def test_a_row_for_each_picture_is_refused(optimise: bool) -> None:
    model = wrap(values(filled(Older())), inputs={"age": np.array([[0.3], [1.7], [-2.0]])}, optimise=optimise)
    with pytest.raises(SettingError, match=r"returns \(3, 5\) for one picture; .* give one row"):
        vizkit.smoothgrad(model, picture(1), target=1, samples=3, fit="squash")


@pytest.mark.quick
@pytest.mark.parametrize("optimise", [True, False])
def test_gradcam_and_integrated_gradients_by_hand(optimise: bool) -> None:
    block, images = values(filled(Two())), [picture(1), picture(2)]
    model = wrap(block, inputs=[FACTS], optimise=optimise)
    x = mx.nd.array(vizkit.images.prepare(images, model.spec, fit="squash").tensor, dtype="float64")
    facts = mx.nd.array(np.repeat(FACTS, 2, 0), dtype="float64")
    features = block.act(block.conv(x))
    features.attach_grad()
    with autograd.record(train_mode=False):
        score = (block.head(features.mean(axis=(2, 3))) * block.facts(facts))[:, 3].sum()
    score.backward()
    weights = features.grad.asnumpy().mean((2, 3), keepdims=True)
    for _ in range(3):  # compiled at last, where it is to be
        found = vizkit.gradcam(model, images, target=3, layer="act", relu=False, fit="squash").extra["cam"]
        np.testing.assert_allclose(found, (weights * features.asnumpy()).sum(1), rtol=1e-12)
    slopes = [gradient(block, images, model, [facts], 3, share=(k + 0.5) / 4) for k in range(4)]
    options = {"baseline": "mean", "steps": 4, "rule": "riemann_middle"}
    found = vizkit.integrated_gradients(model, images, target=3, fit="squash", **options).values
    wanted = (x.asnumpy() * np.mean(slopes, 0)).sum(1)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.quick
@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ((), "takes 2 inputs beside the picture, facts, name; it got 0"),
        ([FACTS] * 3, "it got 3"),
        ({"fact": FACTS}, "no input 'fact'"),
        ({"name": NAMES}, "'facts' is missing"),
        ([np.ones((1, 0))], r"inputs\[0\] has shape \(1, 0\)"),
        (["a name"], "cannot be traced"),
    ],
)
def test_inputs_that_do_not_fit(inputs: Any, says: str, capfd: Any) -> None:
    with pytest.raises(SettingError, match=says):
        wrap(values(filled(Two())), inputs=inputs)
    assert capfd.readouterr() == ("", "")


@pytest.mark.quick
@pytest.mark.parametrize("further", [np.ones((1, 7)), np.ones((2, 3)), FACTS[0]])
def test_shapes_that_do_not_fit(further: Any, capfd: Any) -> None:
    model = wrap(values(filled(Two())), inputs=[further])
    for look in (lambda: model.layers, lambda: model.output_shape):
        with pytest.raises(ShapeError, match=re.escape(f"With it went inputs= of shape {further.shape}.")):
            look()
    assert capfd.readouterr() == ("", "")


@pytest.mark.quick
def test_inputs_that_a_block_names_none_of() -> None:
    class Star(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(3, 3, in_channels=3)

        def hybrid_forward(self, F: Any, x: Any, *more: Any) -> Any:
            return F.mean(self.conv(x), axis=(2, 3)) * more[0]

    block, alone = values(filled(Star())), nn.HybridSequential()
    assert wrap(block, inputs=[FACTS]).output_shape == (1, 3)
    with pytest.raises(SettingError, match="by position only; got 'facts'"):
        wrap(block, inputs={"facts": FACTS})
    with pytest.raises(SettingError, match="cannot be traced"):
        wrap(block)
    alone.add(nn.Conv2D(3, 3, in_channels=3))
    with pytest.raises(SettingError, match="takes a picture alone; it got 1 beside it"):
        wrap(values(filled(alone)), inputs=[FACTS])


class Perhaps(gluon.HybridBlock):
    """Features, a times, with b and c added where there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 3, in_channels=3)

    def hybrid_forward(self, F: Any, x: Any, a: Any, b: Any = None, c: Any = None) -> Any:
        found = F.mean(self.conv(x), axis=(2, 3)) * a
        for factor, one in ((10, b), (100, c)):
            found = found if one is None else found + factor * one
        return found


@pytest.mark.quick
@pytest.mark.parametrize(
    ("inputs", "factor", "added"),
    [
        ({"c": FACTS, "a": FACTS}, FACTS, 100 * FACTS),
        ({"b": FACTS, "a": FACTS}, FACTS, 10 * FACTS),
        ([FACTS, None, FACTS], FACTS, 100 * FACTS),
        ([2.0], 2.0, 0),
        ([np.float32(2)], 2.0, 0),
        ([2, FACTS], 2.0, 10 * FACTS),
        ([FACTS > 0], FACTS > 0, 0),
        ([FACTS.tolist()], FACTS, 0),
    ],
)
def test_inputs_go_where_their_names_say_and_what_is_no_array_as_it_is(inputs: Any, factor: Any, added: Any) -> None:
    block = values(filled(Perhaps()))
    model = wrap(block, inputs=inputs)
    x = np.random.default_rng(5).normal(size=(2, 3, SIZE, SIZE))
    found = model.forward(model.ops.asarray(x))["output"].asnumpy()
    features = block.conv(mx.nd.array(x, dtype="float64")).mean(axis=(2, 3)).asnumpy()
    np.testing.assert_allclose(found, features * factor + added, rtol=1e-12)


@pytest.mark.quick
def test_whole_numbers_are_refused_where_the_block_computes_with_them(capfd: Any) -> None:
    with pytest.raises(SettingError, match=r"inputs\[0\] of int64 beside pictures of float64.*as they are"):
        wrap(values(filled(Perhaps())), inputs=[np.int64(FACTS)])
    assert capfd.readouterr() == ("", "")


@pytest.mark.quick
def test_an_input_that_the_output_does_not_read() -> None:
    class Aside(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(3, 3, in_channels=3)

        def hybrid_forward(self, F: Any, x: Any, facts: Any) -> Any:
            found = F.mean(self.conv(x), axis=(2, 3))
            return found, found * facts

    block = values(filled(Aside()))
    aside, used = (wrap(block, inputs=[FACTS], output=i) for i in (0, 1))
    maps = [vizkit.saliency(model, picture(), target=0, fit="squash").values for model in (aside, used)]
    np.testing.assert_allclose(FACTS[0, 0] * maps[0], maps[1], rtol=1e-12)
    assert aside.graph().layers["output"]


@pytest.mark.quick
def test_wrapping_while_the_user_records() -> None:
    block, facts = values(filled(Two())), mx.nd.array(FACTS, dtype="float64")
    facts.attach_grad()
    with autograd.record():
        model = wrap(block, inputs=[2 * facts])
    wanted = vizkit.saliency(wrap(block, inputs=[2 * FACTS]), picture(), target=1, fit="squash").values
    np.testing.assert_array_equal(vizkit.saliency(model, picture(), target=1, fit="squash").values, wanted)


@pytest.mark.quick
def test_a_diagram_counts_the_parameters_of_further_inputs() -> None:
    model = wrap(values(filled(Two())), inputs=[FACTS])
    wanted = sum(int(np.prod(shape)) for shape in model.parameter_shapes().values())
    assert sum(node.parameters for node in model.graph().nodes) == wanted


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_wait_for_a_first_input_see_all_inputs(dtype: str) -> None:
    class Waits(gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2D(2, 3), nn.Dense(2)

        def hybrid_forward(self, F: Any, x: Any, facts: Any) -> Any:
            return F.mean(self.a(x), axis=(2, 3)) + self.b(facts)

    block = Waits()
    block.initialize()
    block.cast(dtype)
    with pytest.raises(SettingError, match="takes 1 input beside the picture, facts; it got 0"):
        wrap(block)
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
    "key": (lambda a: {"x": 2 * a, "y": a}, "y"),
    "key by number": (lambda a: {"x": 2 * a, "y": a}, 1),
    "logits, without a word": (lambda a: {"features": 2 * a, "logits": a}, None),
    "a method": (lambda a: (a, a), lambda result: result[0].slice_axis(axis=1, begin=0, end=5)),
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
        (lambda a: {"x": a, "y": (a, a)}, None, "a dict of 'x' an array, 'y' a tuple of 0 an array, 1 an array"),
        (lambda a: {"x": a, "y": a}, "z", "a dict of 'x' an array, 'y' an array; output='z' names no part"),
        (lambda a: a, lambda result: result[:, :2], "function given as output= fails.*symbols"),
        (lambda a: a.sum(), None, r"an array of shape \(1,\) for any number of pictures"),
    ],
)
def test_a_result_that_is_not_there(form: Any, output: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        wrap(values(filled(Several(form))), output=output)


@pytest.mark.quick
def test_a_number_for_each_picture() -> None:
    model = wrap(values(filled(Several(lambda a: a.sum(axis=1)))))
    assert model.output_shape == (1, 1)
    sums = wrap(values(filled(Several(lambda a: a))))
    found = vizkit.saliency(model, [picture(1), picture(2)], fit="squash")
    expected = vizkit.saliency(sums, [picture(1), picture(2)], target="all", fit="squash")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)
    assert 0 < model.predict(picture(), fit="squash")[0].probability < 1


@pytest.mark.parametrize("hybridised", [True, False])
def test_the_block_is_left_as_it_was(hybridised: bool) -> None:
    block = values(filled(Two()))
    block.hybridize(hybridised)
    block.act.register_forward_hook(lambda *_: None)
    facts = mx.nd.array(FACTS, dtype="float64")
    with autograd.record():
        total = block(mx.nd.ones((1, 3, SIZE, SIZE), dtype="float64"), facts).sum()
    total.backward()
    before = KIT.snapshot(block)
    vizkit.gradcam(wrap(block, inputs=[facts]), [picture(1), picture(2)], layer="act", fit="squash")
    for inputs in ((), [np.ones((1, 7))]):
        with pytest.raises(VizkitError):
            _ = wrap(block, inputs=inputs).layers
    assert KIT.snapshot(block) == before
    np.testing.assert_array_equal(facts.asnumpy(), FACTS)


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
        ("integrated_gradients", {"steps": 50}),        ("occlusion", {"window": 8}), ("rise", {"samples": 10}),
    ):  # fmt: skip
        ours, theirs = (
            getattr(vizkit, method)(one, images, target=2, fit="squash", **options).values
            for one in (wrap(block, inputs=[FACTS]), wrap(network, inputs=[FACTS], output="y"))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12 * np.abs(theirs).max(), err_msg=method)


def test_a_relu_by_another_name_follows_the_rule() -> None:
    class Rectified(gluon.HybridBlock):
        def __init__(self, relu: Any) -> None:
            super().__init__()
            self.conv, self.head, self.relu = nn.Conv2D(4, 3, in_channels=3), nn.Dense(3, in_units=4), relu

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return self.head(F.mean(self.relu(F, self.conv(x)), axis=(2, 3)))

    values = np.random.default_rng(0)
    arrays = [values.normal(size=shape) for shape in ((4, 3, 3, 3), (4,), (3, 4), (3,))]
    arrays[2] = np.abs(arrays[2]) * [1, -1, 1, -1]
    found = []
    for relu in (lambda F, h: F.relu(h), lambda F, h: F.maximum(h, 0), lambda F, h: F.clip(h, 0, 1e3)):
        network = Rectified(relu)
        network.initialize()
        for parameter, value in zip(network.collect_params().values(), arrays, strict=True):
            parameter.set_data(mx.nd.array(value))
        model = vizkit.wrap(network, input_size=6, mean=(0.0,) * 3, std=(1.0,) * 3)
        x = np.random.default_rng(1).normal(size=(1, 3, 6, 6))
        found.append(vizkit.guided_backprop(model, x, target=1).values)
        assert np.abs(found[-1] - vizkit.saliency(model, x, target=1).values).max() > 0.01 * found[0].max()
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-6)
