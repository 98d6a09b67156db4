"""MXNet's operators that need help, by hand in float64, and what the graph of a network does not follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.backend import Mode, Rule, Rules
from vizkit.errors import SettingError

if "gluon" not in INSTALLED:
    pytest.skip("these are Gluon's", allow_module_level=True)
import mxnet as mx
from mxnet.gluon import nn

ROUNDING = 4e-15
"""Measured 4e-16."""


def wrapped(*layers: Any, **options: Any) -> Any:
    """A 1x1 convolution of one channel by one, then these layers, on pictures of 2 by 3."""
    network = nn.HybridSequential()
    network.add(nn.Conv2D(1, 1, in_channels=1, use_bias=False), *layers)
    network.initialize(mx.init.One())
    network.cast("float64")
    return vizkit.wrap(network, input_size=(2, 3), mean=(0.0,), std=(1.0,), **options)


def gradient(model: Any, x: Any, mode: Mode) -> Any:
    """Of the output's sum at the picture."""

    def score(leaves: Any) -> Any:
        return model.ops.sum(model.forward(leaves["x"], mode=mode)["output"], axis=1), None

    return model.ops.numpy(model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})[1]["x"])


class Pull(Rules):
    """The true derivative, as a rule."""

    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        return (lambda done, back: done.pull(back)) if kind == "selu" else None


@pytest.mark.parametrize("rules", [None, Pull()])
@pytest.mark.parametrize("optimise", [True, False])
def test_selu_has_its_own_gradient(optimise: bool, rules: Any) -> None:
    """MXNet's below zero has another factor than lambda alpha exp(x), and its values those two in float32."""
    model = wrapped(nn.SELU(), nn.Flatten(), optimise=optimise)
    x = np.array([-3.0, -1.0, -0.1, 0.1, 0.5, 2.0]).reshape(1, 1, 2, 3)
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    wanted = scale * np.where(x > 0, x, alpha * np.expm1(x))
    made = model.ops.numpy(model.forward(model.ops.asarray(x))["output"])
    np.testing.assert_allclose(made, wanted.reshape(1, -1), rtol=ROUNDING)
    slopes = scale * np.where(x > 0, 1.0, alpha * np.exp(x))
    np.testing.assert_allclose(gradient(model, x, Mode(rules=rules)), slopes, rtol=ROUNDING)


@pytest.mark.quick
@pytest.mark.parametrize("end", ["softmax", "log_softmax"])
def test_a_softmax_of_joined_columns_has_a_gradient(end: str) -> None:
    """More columns than rows, in float32: MXNet's own gradient of it ends the process."""

    def heads(F: Any, x: Any) -> Any:
        return getattr(F, end)(F.concat(*(F.reshape(k * x, (-1, 1)) for k in (1, 2, 3)), dim=1))

    network = nn.HybridSequential()
    network.add(nn.Conv2D(1, 1, in_channels=1, use_bias=False), nn.HybridLambda(heads))
    network.initialize(mx.init.One())
    model = vizkit.wrap(network, input_size=(1, 1), mean=(0.0,), std=(1.0,))
    x, k = np.array([0.3, -0.7], np.float32).reshape(2, 1, 1, 1), np.arange(1.0, 4.0)
    shares = np.exp(k * x.reshape(2, 1)) / np.exp(k * x.reshape(2, 1)).sum(1, keepdims=True)
    slopes = k - shares @ k[:, None]  # of the logarithms
    wanted = (k * slopes * (shares if end == "softmax" else 1.0)).sum(1)

    def weighed(output: Any) -> Any:
        return model.ops.sum(output * model.ops.asarray(k.astype(np.float32)[None]), axis=1), None

    def through_functions(leaves: Any) -> Any:
        joined = model.ops.concat([model.ops.reshape(float(one) * leaves["x"], (-1, 1)) for one in k], 1)
        return weighed(model.ops.softmax(joined))

    def through_network(leaves: Any) -> Any:
        return weighed(model.forward(leaves["x"])["output"])

    for score in [through_network, *[through_functions] * (end == "softmax")]:
        found = model.ops.numpy(model.ops.value_and_grad(score, {"x": model.ops.asarray(x)})[1]["x"])
        np.testing.assert_allclose(found.ravel(), wanted, rtol=2e-4)  # log_softmax: 5e-5


@pytest.mark.quick
def test_a_convolution_with_channels_last_is_refused_on_a_cpu() -> None:
    """MXNet says so when a value is read, of a descriptor, and of whatever was read."""
    network = nn.HybridSequential()
    network.add(
        nn.HybridLambda(lambda F, x: F.transpose(x, (0, 2, 3, 1))), nn.Conv2D(1, 1, layout="NHWC", in_channels=1)
    )
    network.initialize()
    with pytest.raises(SettingError, match=r"layout='NHWC'.*GPU alone.*layout='NCHW'"):
        vizkit.wrap(network, input_size=(2, 3), mean=(0.0,), std=(1.0,)).logits(np.zeros((1, 2, 3), np.float32))


def test_lrn_is_refused_in_float64() -> None:
    """MXNet has no such kernel, and says it only where the result is read."""
    layers = nn.HybridLambda(lambda F, x: F.LRN(x, nsize=3)), nn.Flatten()
    with pytest.raises(SettingError, match="cast it to float32"):
        wrapped(*layers)
    network = wrapped(nn.Flatten()).native
    network.add(*layers)
    network.cast("float32")
    model = vizkit.wrap(network, input_size=(2, 3), mean=(0.0,), std=(1.0,))
    assert model.logits(np.ones((1, 1, 2, 3))).shape == (1, 6)


def append(network: Any) -> None:
    network.add(nn.Dense(2, in_units=6, dtype="float64"))


def replace(network: Any) -> None:
    network._children["1"] = nn.Activation("sigmoid")


@pytest.mark.parametrize("change", [append, replace])
def test_another_network_than_was_traced_is_refused(change: Any) -> None:
    model = wrapped(nn.Activation("relu"), nn.Flatten())
    x = model.ops.asarray(np.ones((1, 1, 2, 3)))
    assert model.forward(x)["output"].shape == (1, 6)
    change(model.native)
    model.native.initialize(mx.init.One())
    for run in (lambda: model.forward(x), model.sha256):
        with pytest.raises(SettingError, match="wrap it again"):
            run()
    again = vizkit.wrap(model.native, input_size=(2, 3), mean=(0.0,), std=(1.0,))
    made, wanted = again.ops.numpy(again.forward(x)["output"]), model.native(x).asnumpy()
    np.testing.assert_allclose(made, wanted, rtol=ROUNDING)


def recurrent(kind: str, **options: Any) -> Any:
    """Recurrent layers over the rows of a picture of 5 by 4."""
    network = nn.HybridSequential()
    rows = nn.HybridLambda(lambda F, x: F.reshape(x, (0, -1, 4)))
    network.add(rows, getattr(mx.gluon.rnn, kind)(3, layout="NTC", **options), nn.Dense(2))
    mx.random.seed(3)
    network.initialize(mx.init.Uniform(0.7))
    network.cast("float64")
    network(mx.nd.zeros((1, 1, 5, 4), dtype="float64"))
    return vizkit.wrap(network, input_size=(5, 4), mean=(0.0,), std=(1.0,))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("LSTM", {}), ("GRU", {"bidirectional": True}), ("RNN", {"activation": "tanh"}), ("GRU", {"num_layers": 2})],
)
def test_recurrent_layers_by_finite_differences(kind: str, options: dict[str, Any]) -> None:
    """MXNet's gradient of a GRU, and of tanh, is wrong where nobody asks for that of their weights."""
    model = recurrent(kind, **options)
    x = np.random.default_rng(0).normal(size=(2, 1, 5, 4))

    def total(x: Any) -> Any:
        return model.ops.numpy(model.forward(model.ops.asarray(x))["output"]).sum(1)

    step = 1e-6 * np.eye(20).reshape(20, 1, 5, 4)
    wanted = np.stack([(total(one + step) - total(one - step)) / 2e-6 for one in x]).reshape(x.shape)
    np.testing.assert_allclose(gradient(model, x, Mode()), wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


def test_recurrent_layers_drop_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 5, 4))
    model = recurrent("LSTM", num_layers=2, dropout=0.9)
    first, again = (gradient(model, x, Mode()) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, gradient(recurrent("LSTM", num_layers=2), x, Mode()))
    with pytest.raises(SettingError, match="dropout of single values only"):
        model.forward(model.ops.asarray(x), mode=Mode(training=np.random.default_rng(0)))


def test_recurrent_layers_of_relus_are_not_differentiated() -> None:
    """MXNet's gradient of theirs is wrong in every case."""
    model = recurrent("RNN", activation="relu")
    x = np.random.default_rng(0).normal(size=(1, 1, 5, 4))
    assert model.forward(model.ops.asarray(x))["output"].shape == (1, 2)
    with pytest.raises(SettingError, match="recurrent layer of ReLUs"):
        gradient(model, x, Mode())
