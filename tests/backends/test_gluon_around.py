"""Gluon's results, whatever the process around has chosen: a recording scope, a mode, MXNet's NumPy interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import SettingError

if "gluon" not in INSTALLED:
    pytest.skip("these are Gluon's", allow_module_level=True)
import mxnet as mx
from mxnet.gluon import nn

SIZE = 48


@contextmanager
def numpy_interface() -> Iterator[None]:
    mx.npx.set_np()
    try:
        yield
    finally:
        mx.npx.reset_np()


AROUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "recording": mx.autograd.record,
    "training mode": mx.autograd.train_mode,
    "NumPy interface": numpy_interface,
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "saliency": lambda model: vizkit.saliency(model, vizkit.images.sample()).values,
    "gradcam": lambda model: vizkit.gradcam(model, vizkit.images.sample()).values,
    "smoothgrad": lambda model: vizkit.smoothgrad(model, vizkit.images.sample(), samples=2).values,
    "dream": lambda model: vizkit.dream(model, "features.6", 2, stages=1, steps=2, size=SIZE).values,
    "features": lambda model: vizkit.feature_maps(model, vizkit.images.sample(), "features.3").values,
    "biases": lambda model: np.concatenate([*model.biases().values()]),
    "weights": lambda model: model.sha256(),
    "graph": lambda model: [node.kind for node in model.graph().nodes],
}


@lru_cache
def plainly(call: str) -> tuple[Any, Any]:
    """A network, and what the call finds on it with nothing around."""
    model = vizkit.load("shapes", backend="gluon")
    return model, CALLS[call](model)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("call", CALLS)
def test_the_process_around_changes_no_digit(around: str, call: str) -> None:
    """Nor when the model is loaded there."""
    (model, before), run = plainly(call), CALLS[call]
    with AROUND[around]():
        inside, fresh = run(model), run(vizkit.load("shapes", backend="gluon"))
        numpy_is_on = mx.util.is_np_array()
    assert numpy_is_on == (around == "NumPy interface")
    for found in (inside, fresh, run(model)):
        np.testing.assert_array_equal(found, before)


def layers() -> Any:
    made = nn.HybridSequential()
    made.add(nn.Conv2D(8, 3, padding=1, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(5))
    return made


@pytest.mark.quick
def test_a_network_of_the_numpy_interface_is_refused_and_can_be_moved() -> None:
    """As every notebook of "Dive into Deep Learning" builds them; the way out that the message names is one."""
    with numpy_interface():
        theirs = layers()
        theirs.initialize(mx.init.Xavier())
        x = np.random.default_rng(0).random((2, 3, SIZE, SIZE), np.float32)
        wanted = theirs(mx.np.array(x)).asnumpy()
        with pytest.raises(SettingError, match=r"npx\.set_np\(\)"):
            vizkit.wrap(theirs, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
        values = [value.data().asnumpy() for value in theirs.collect_params().values()]
    with pytest.raises(SettingError, match=r"set_data\(mx\.nd\.array\("):
        vizkit.wrap(theirs, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    ours = layers()
    ours.initialize()
    ours(mx.nd.zeros((1, 3, SIZE, SIZE)))
    for parameter, value in zip(ours.collect_params().values(), values, strict=True):
        parameter.set_data(mx.nd.array(value))
    model = vizkit.wrap(ours, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    np.testing.assert_allclose(model.ops.numpy(model.forward(model.ops.asarray(x))["output"]), wanted, rtol=1e-5)
    with numpy_interface():
        other = vizkit.wrap(ours, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
        np.testing.assert_array_equal(CALLS["saliency"](other), CALLS["saliency"](model))


@pytest.mark.quick
def test_a_network_that_is_frozen_whole_computes_in_what_its_weights_are_in() -> None:
    native = vizkit.load("shapes", backend="gluon", dtype="float64").native
    assert {parameter.grad_req for parameter in native.collect_params().values()} == {"null"}
    model = vizkit.wrap(native, input_size=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert model.dtype == "float64"
    assert vizkit.saliency(model, vizkit.images.sample()).values.dtype == np.float64
