"""Full gradients where the constants of a network are hard to reach: complete in float64, or the terms are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both

import vizkit
from vizkit.errors import DisconnectedError

torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch's own layers")
gluon_only = pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's own layers")
SPEC: dict[str, Any] = {"input_size": 6, "mean": (0.0,) * 3, "std": (1.0,) * 3}


def picture() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, 6, 6))


def drawn(network: Any, seed: int = 1) -> Any:
    """A Gluon network in float64, its parameters drawn, with variances above zero."""
    import mxnet as mx

    rng = np.random.default_rng(seed)
    network.initialize()
    network.cast("float64")
    for parameter in network.collect_params().values():
        values = rng.normal(0.0, 0.4, parameter.shape)
        parameter.set_data(mx.nd.array(np.abs(values) + 0.5 if "var" in parameter.name else values, dtype="float64"))
    return network


def sequential(*layers: Any) -> Any:
    from mxnet.gluon import nn

    network = nn.HybridSequential()
    network.add(*layers)
    return network


def complete(model: Any, **options: Any) -> np.ndarray:
    """The map, whose terms must add up to the score."""
    found = vizkit.full_gradient(model, picture(), scale="none", **{"target": 0, **options})
    assert found.extra["completeness_error"].max() < 1e-12
    return found.values


@both()
@pytest.mark.quick
def test_layers_with_an_activation_of_their_own_keep_their_constants() -> None:
    """The same network in three ways: Gluon's ``activation=``, blocks apart, and PyTorch."""
    import torch
    from mxnet.gluon import nn

    fused = sequential(
        nn.Conv2D(4, 3, activation="relu", in_channels=3),
        nn.Dense(5, activation="relu", in_units=64),
        nn.Dense(2, in_units=5),
    )
    apart = sequential(
        nn.Conv2D(4, 3, in_channels=3), nn.Activation("relu"), nn.Dense(5, in_units=64), nn.Activation("relu"),
        nn.Dense(2, in_units=5),
    )  # fmt: skip
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 5), torch.nn.ReLU(),
        torch.nn.Linear(5, 2),
    ).double()  # fmt: skip
    values = [p.data().asnumpy() for p in drawn(fused).collect_params().values()]
    drawn(apart)
    with torch.no_grad():
        for own, value in zip(twin.parameters(), values, strict=True):
            own.copy_(torch.from_numpy(value))
    model, other = vizkit.wrap(fused, **SPEC), vizkit.wrap(apart, **SPEC)
    np.testing.assert_array_equal(model.logits(picture()), other.logits(picture()))
    assert list(model.biases()) == ["0.act:input", "1.act:input", "2"]
    assert [model.layers[name].kind for name in model.biases()] == ["Conv2D", "Dense", "Dense"]
    assert list(model.layers) == ["0.act:input", "0.act", "0", "1.act:input", "1.act", "1", "2"]
    np.testing.assert_array_equal(complete(model), complete(other))
    np.testing.assert_allclose(complete(model), complete(vizkit.wrap(twin, **SPEC)), rtol=1e-12)
    x = model.ops.asarray(picture())
    kept = [model.ops.numpy(one.forward(x, (name,))[name]) for one, name in ((model, "0.act:input"), (other, "0"))]
    np.testing.assert_array_equal(*kept)
    scopes = {node.name: node.scope for node in model.graph().nodes}
    assert ":input" not in "".join(scopes.values())


@gluon_only
@pytest.mark.quick
def test_a_block_that_calls_operators_of_its_own_shows_what_its_next_block_gets() -> None:
    from mxnet.gluon import nn

    class Own(nn.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            with self.name_scope():
                self.weight = self.params.get("weight", shape=(4, 3, 3, 3))
                self.bias = self.params.get("bias", shape=(4,))
                self.relu, self.last = nn.Activation("relu"), nn.Dense(2, in_units=64)

        def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:
            return self.last(self.relu(F.Convolution(x, weight, bias, kernel=(3, 3), num_filter=4)))

    model = vizkit.wrap(drawn(Own()), **SPEC)
    assert list(model.layers) == ["relu:input", "relu", "last"]
    assert model.layers["relu:input"].kind == "Convolution"
    complete(model)


@gluon_only
@pytest.mark.quick
@pytest.mark.parametrize("channels", [4, 5])
def test_a_batch_norm_over_channels_that_come_last(channels: int) -> None:
    """As many channels as rows and columns, and not."""
    from mxnet.gluon import nn

    def network(*norm: Any) -> Any:
        conv, dense = nn.Conv2D(channels, 3, in_channels=3), nn.Dense(2, in_units=16 * channels)
        return drawn(sequential(conv, *norm, nn.Activation("relu"), dense))

    def turn(*axes: int) -> Any:
        return nn.HybridLambda(lambda F, x: F.transpose(x, axes))

    plain = vizkit.wrap(network(nn.BatchNorm(in_channels=channels)), **SPEC)
    last = nn.BatchNorm(axis=-1, in_channels=channels)
    turned = vizkit.wrap(network(turn(0, 2, 3, 1), last, turn(0, 3, 1, 2)), **SPEC)
    assert [turned.bias_axis(name) for name in turned.biases()] == [1, -1, -1]
    np.testing.assert_allclose(complete(turned), complete(plain), rtol=1e-10)


@torch_only
@pytest.mark.quick
@pytest.mark.parametrize("channels", [4, 5])
def test_a_dense_layer_over_channels_that_come_last(channels: int) -> None:
    """Whatever its class is called."""
    import torch

    class Mixed(torch.nn.Linear):
        pass

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix = torch.nn.Conv2d(3, channels, 3), Mixed(channels, channels)
            self.last = torch.nn.Linear(channels, 2)

        def forward(self, x: Any) -> Any:
            return self.last(self.mix(self.conv(x).relu().permute(0, 2, 3, 1)).relu().mean((1, 2)))

    torch.manual_seed(0)
    network = Network().double()
    model = vizkit.wrap(network, **SPEC)
    found = complete(model)
    x = torch.from_numpy(picture()).requires_grad_()
    conv = network.conv(x)
    mixed = network.mix(conv.relu().permute(0, 2, 3, 1))
    score = network.last(mixed.relu().mean((1, 2)))[0, 0]
    inner, here, outer = torch.autograd.grad(score, [x, conv, mixed])
    term = (conv.new_tensor(model.biases()["conv"])[:, None, None] * here).abs().sum(1)
    term = term + (network.mix.bias * outer).abs().sum(-1)
    larger = torch.nn.functional.interpolate(term[:, None], (6, 6), mode="bilinear", align_corners=False)[:, 0]
    np.testing.assert_allclose(found, ((x * inner).abs().sum(1) + larger).detach().numpy(), rtol=1e-10)


@pytest.mark.quick
def test_layers_of_another_head_have_no_part(name: str) -> None:
    """Alone where nobody named them."""
    model = vizkit.wrap(two_heads(name), **SPEC, output=0)
    assert list(model.biases()) == ["conv", "first", "second"]
    complete(model)
    with pytest.raises(DisconnectedError, match="'second'"):
        vizkit.saliency(model, picture(), target=0, layer="second")


def two_heads(backend: str) -> Any:
    if backend == "torch":
        import torch

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.first = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(64, 3)
                self.second = torch.nn.Conv2d(4, 2, 3)

            def forward(self, x: Any) -> Any:
                x = self.conv(x).relu()
                return self.first(x.flatten(1)), self.second(x)

        return Network().double()
    from mxnet.gluon import nn

    class Block(nn.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.first = nn.Conv2D(4, 3, in_channels=3), nn.Dense(3, in_units=64)
            self.second = nn.Conv2D(2, 3, in_channels=4)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            x = F.relu(self.conv(x))
            return self.first(x), self.second(x)

    return drawn(Block())
