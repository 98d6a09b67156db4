"""Networks in oneDNN's memory layout: the digits of plain memory, for whatever a network does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.backend import Mode

if "torch" not in INSTALLED:
    pytest.skip("this layout is PyTorch's", allow_module_level=True)
import torch
import torch.nn.functional as F
from torch import nn

SIZE = 20
ROUNDING = 2e-6
"""Relative L2 in float32 that another order of additions makes."""


class Scaled(torch.autograd.Function):
    """Keeps its input and reads it in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * gradients[0] * torch.where(x > 0, x, x)


def residual(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["b"](F.relu(net["a"](x), inplace=True))
    y += x
    return F.relu(y)


def plain_first(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x) * 0.5
    y += net["b"](x)
    return y


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
    made: torch.Tensor = net["b"](Scaled.apply(net["a"](x)))  # type: ignore[no-untyped-call]
    return made


def read(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    return net["b"](y) if float(y.detach().numpy().max()) > -1e9 else y


FORWARDS = {
    each.__name__: (each, stays)
    for each, stays in (
        (residual, True), (plain_first, True), (branches, True), (shuffle, True), (own_function, False),
        (written, False), (written_in_a_view, False), (ignored_result, False), (read, True),
    )
}  # fmt: skip


class Small(nn.Module):
    """Six channels, two convolutions that the forward function combines, a head."""

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
    made = Small(FORWARDS[which][0]).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Are worth it here."""
    monkeypatch.setattr("vizkit_torch.prepare.LEAST", 0)


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
    assert not any(value.is_mkldnn for value in (*found.values(), *kept.values()))
    return {f"d{key}": ops.numpy(value) for key, value in found.items()} | {k: ops.numpy(v) for k, v in kept.items()}


def close(got: Any, wanted: Any) -> None:
    for key, value in wanted.items():
        assert np.linalg.norm(got[key] - value) <= ROUNDING * np.linalg.norm(value), key


@pytest.mark.parametrize("layers", [(), ("net.a",), ("net.a.0", "net.b"), ("first", "net.a", "net.b")])
@pytest.mark.parametrize("which", FORWARDS)
def test_the_digits_are_those_of_plain_memory(rng: Any, which: str, layers: tuple[str, ...]) -> None:
    """Also where the network writes into what it got, or has functions of its own: then in plain memory."""
    native, x = network(which), rng.normal(size=(3, 3, SIZE, SIZE))
    model, plain = wrap(native), wrap(native, optimise=False)
    for _ in range(2):
        close(maps(model, x, layers), maps(plain, x, layers))
    assert model._preparation.blocked == FORWARDS[which][1]
    unrecorded = [one.forward(one.ops.asarray(x), (*layers, "output")) for one in (model, plain)]
    close(*({name: value.numpy() for name, value in kept.items()} for kept in unrecorded))


@pytest.mark.parametrize("relu", ["guided", "deconvnet", "redirected"])
@pytest.mark.parametrize("which", ["residual", "branches"])
def test_with_other_rules_for_relus(rng: Any, which: str, relu: str) -> None:
    native, x = network(which), rng.normal(size=(3, 3, SIZE, SIZE))
    model = wrap(native)
    close(maps(model, x, relu=relu), maps(wrap(native, optimise=False), x, relu=relu))
    assert model._preparation.blocked


def test_the_users_hooks_see_plain_memory(rng: Any) -> None:
    native, x = network("residual"), rng.normal(size=(1, 3, SIZE, SIZE))
    seen: list[torch.Tensor] = []
    model = wrap(native)
    maps(model, x)
    with torch.no_grad():
        handle = native.net["a"].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        model.forward(model.ops.asarray(x))
        handle.remove()
        model.forward(model.ops.asarray(x))
    (output,) = seen
    assert output.numpy().shape == (1, 6, SIZE - 2, SIZE - 2)


def test_every_layer_at_once_is_as_each_alone(rng: Any) -> None:
    """So many are not kept in blocks; and a layer that is overwritten later is kept as it was."""
    native, x = network("residual"), rng.normal(size=(2, 3, SIZE, SIZE))
    model = wrap(native)
    given, layers = model.ops.asarray(x), tuple(model.layers)
    assert len(layers) >= 8
    every = model.forward(given, (*layers, "output"))
    assert {"net.a", "net.b"} <= model._written
    assert {"first", "net.a.0"}.isdisjoint(model._written)
    for name in layers:
        alone = model.forward(given, (name,))[name]
        np.testing.assert_allclose(every[name].numpy(), alone.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_network_that_begins_to_overwrite_is_seen(rng: Any) -> None:
    """In-place since the layers were first listed."""
    native, x = network("branches"), rng.normal(size=(2, 3, SIZE, SIZE))
    model = wrap(native, optimise=False)
    given = model.ops.asarray(x)
    before = model.forward(given, ("first", "output"))["first"].clone()
    native.combine = lambda x, net: residual(x.mul_(0.5), net)
    np.testing.assert_array_equal(model.forward(given, ("first", "output"))["first"].numpy(), before.numpy())


@pytest.mark.parametrize(("options", "expected"), [({}, True), ({"optimise": False}, False)])
def test_what_lies_in_blocks(rng: Any, options: dict[str, Any], expected: bool) -> None:
    """What a convolution returns; not in float64, which oneDNN does not know."""
    seen: list[bool] = []

    def watch(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
        seen.append(x.is_mkldnn)
        return residual(x, net)

    native = network("residual")
    native.combine = watch
    model = wrap(native, **options)
    maps(model, rng.normal(size=(1, 3, SIZE, SIZE)))
    exact = wrap(native.double(), **options)
    before = len(seen)
    maps(exact, rng.normal(size=(1, 3, SIZE, SIZE)))
    assert seen[before - 1] == expected
    assert not any(seen[before:])


def overwritten_in_plain_memory(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = x.tanh()
    first = net["a"](y)
    y.mul_(3)
    return first.sigmoid() + net["b"](y)


def overwritten_in_blocks(x: torch.Tensor, net: nn.ModuleDict) -> torch.Tensor:
    y = net["a"](x)
    before = y.tanh()
    F.relu(y, inplace=True)
    return net["b"](y.sigmoid() + before)


@pytest.mark.parametrize("forward", [overwritten_in_plain_memory, overwritten_in_blocks])
def test_what_is_overwritten_between_two_readers_is_read_anew(rng: Any, forward: Any) -> None:
    native, x = network("residual"), rng.normal(size=(2, 3, SIZE, SIZE))
    native.combine = forward
    model, plain = wrap(native), wrap(native, optimise=False)
    assert model.layers
    model._preparation.blocked = True  # It has no gradient, with blocks or without, but activations.
    got, wanted = (one.forward(one.ops.asarray(x))["output"].numpy() for one in (model, plain))
    close({"output": got}, {"output": wanted})
    assert model._preparation.blocked
