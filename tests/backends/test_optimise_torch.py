"""What a PyTorch network's own forward may do around its folded convolutions: write into them, view them, read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.backend import Mode
from vizkit.techniques.common.relu import ReluRule

if "torch" not in INSTALLED:
    pytest.skip("these networks are PyTorch's", allow_module_level=True)
import torch
import torch.nn.functional as F
from torch import nn

SIZE = 20
ROUNDING = 1e-12
"""Relative L2 in float64."""


class Squared(torch.autograd.Function):
    """Keeps its input and reads it in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * gradients[0] * x


def residual(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["b"](F.relu(net["a"](x), inplace=True))
    y += x
    return F.relu(y)


def branches(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    return torch.cat([net["a"](x), F.max_pool2d(x, 3, 1, 1), net["b"](x.tanh())], 1)[:, ::3]


def shuffle(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    y = y.view(len(y), 2, 3, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
    return net["b"](y) * y.mean((2, 3), keepdim=True)


def written(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    y[:, :2] *= 3
    return net["b"](y)


def written_in_a_view(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    y.view(-1).clamp_(min=0.1)
    return net["b"](y)


def ignored_result(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    F.hardtanh(y, -0.2, 0.2, True)
    return net["b"](y)


def own_function(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    made: torch.Tensor = net["b"](Squared.apply(net["a"](x)))  # type: ignore[no-untyped-call]
    return made


def read(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    return net["b"](y) if float(y.detach().numpy().max()) > -1e9 else y


FORWARDS = {
    each.__name__: each
    for each in (residual, branches, shuffle, written, written_in_a_view, ignored_result, own_function, read)
}


class Small(nn.Module):
    """Six channels, two convolutions with batch norm that the forward function combines, a head."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        convs = {name: nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)) for name in "ab"}
        self.first, self.net, self.head = nn.Conv2d(3, 6, 3), nn.ModuleDict(convs), nn.Linear(6, 4)
        self.combine = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.combine(self.first(x), self.net)
        scores: torch.Tensor = self.head(F.relu(x).mean((2, 3)))
        return scores


def network(which: str) -> Any:
    """With statistics that are not those of a fresh network."""
    torch.manual_seed(3)
    made = Small(FORWARDS[which]).double().eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made


def wrap(native: Any, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def maps(model: Any, x: Any, layers: tuple[str, ...] = (), **options: Any) -> Any:
    """Activations, and gradients at the input and at ``layers``."""
    ops = model.ops
    leaves = {name: ops.asarray(np.zeros((len(x), *model.layers[name].shape[1:]))) for name in layers}

    def score(given: Any) -> Any:
        kept = model.forward(given["x"], (*layers, "output"), {name: given[name] for name in layers}, Mode(**options))
        return kept["output"][:, 1], kept

    _, found, kept = ops.value_and_grad(score, {"x": ops.asarray(x), **leaves})
    return {f"d{key}": ops.numpy(value) for key, value in found.items()} | {k: ops.numpy(v) for k, v in kept.items()}


def folded(model: Any) -> set[nn.Module]:
    """Convolutions that passes of this model took with their batch norm in them."""
    return {pair.conv for pair in model._preparation._made}


def close(got: Any, wanted: Any) -> None:
    for key, value in wanted.items():
        assert np.linalg.norm(got[key] - value) <= ROUNDING * np.linalg.norm(value), key


@pytest.mark.parametrize("layers", [(), ("net.a",), ("net.a.0", "net.b"), ("first", "net.a", "net.b")])
@pytest.mark.parametrize("which", FORWARDS)
def test_prepared_and_plain_are_one(rng: Any, which: str, layers: tuple[str, ...]) -> None:
    """Twice, since the second pass finds what the first has made; and without a gradient."""
    native, x = network(which), rng.normal(size=(3, 3, SIZE, SIZE))
    model, plain = wrap(native), wrap(native, optimise=False)
    for _ in range(2):
        close(maps(model, x, layers), maps(plain, x, layers))
    seen = {native.get_submodule(name) for name in layers}
    assert folded(model) == {native.net["a"][0], native.net["b"][0]} - seen
    unrecorded = [one.forward(one.ops.asarray(x), (*layers, "output")) for one in (model, plain)]
    close(*({name: value.numpy() for name, value in kept.items()} for kept in unrecorded))


@pytest.mark.quick
def test_a_convolution_that_others_read_is_not_folded(rng: Any) -> None:
    def read_twice(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
        conv, norm = net["a"]  # type: ignore[misc]
        y = conv(x)
        made: torch.Tensor = net["b"](norm(y) + y.tanh())
        return made

    native, x = network("residual"), rng.normal(size=(3, 3, SIZE, SIZE))
    native.combine = read_twice
    model = wrap(native)
    close(maps(model, x), maps(wrap(native, optimise=False), x))
    assert folded(model) == {native.net["b"][0]}


@pytest.mark.parametrize("relu", ["guided", "deconvnet", "redirected"])
@pytest.mark.parametrize("which", ["residual", "branches"])
def test_with_other_rules_for_relus(rng: Any, which: str, relu: str) -> None:
    native, x = network(which), rng.normal(size=(3, 3, SIZE, SIZE))
    close(maps(wrap(native), x, rules=ReluRule(relu)), maps(wrap(native, optimise=False), x, rules=ReluRule(relu)))


@pytest.mark.quick
def test_the_users_hook_on_a_convolution_sees_its_own_result(rng: Any) -> None:
    """Not the folded one, whether it was hooked before the first pass or after."""
    native, x = network("residual"), rng.normal(size=(1, 3, SIZE, SIZE))
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        wanted = native.net["a"][0](native.first(torch.from_numpy(x)))
    model = wrap(native)
    maps(model, x)
    native.net["a"][0].register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach().clone()))
    for one in (model, wrap(native)):
        seen.clear()
        maps(one, x)
        np.testing.assert_allclose(seen[-1].numpy(), wanted.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.quick
def test_every_layer_at_once_is_as_each_alone(rng: Any) -> None:
    """A layer that is overwritten later is kept as it was."""
    native, x = network("residual"), rng.normal(size=(2, 3, SIZE, SIZE))
    model = wrap(native)
    given, layers = model.ops.asarray(x), tuple(model.layers)
    every = model.forward(given, (*layers, "output"))
    assert {"net.a", "net.b"} <= model._written
    assert {"first", "net.a.0"}.isdisjoint(model._written)
    for name in layers:
        alone = model.forward(given, (name,))[name]
        np.testing.assert_allclose(every[name].numpy(), alone.numpy(), rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.quick
@pytest.mark.parametrize("optimise", [True, False])
def test_a_network_that_begins_to_overwrite_is_seen(rng: Any, optimise: bool) -> None:
    """In-place since the layers were first listed."""
    native, x = network("branches"), rng.normal(size=(2, 3, SIZE, SIZE))
    model = wrap(native, optimise=optimise)
    given = model.ops.asarray(x)
    before = model.forward(given, ("first", "output"))["first"].clone()
    native.combine = lambda x, net: residual(x.mul_(0.5), net)
    np.testing.assert_array_equal(model.forward(given, ("first", "output"))["first"].numpy(), before.numpy())
