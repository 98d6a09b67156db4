"""The suite's networks in PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

import kits

from . import parameters

MAKE: dict[str, Any] = {
    "conv": lambda i, o, k, p: nn.Conv2d(i, o, k, padding=p),
    "norm": nn.BatchNorm2d,
    "relu": lambda: nn.ReLU(inplace=True),
    "sigmoid": nn.Sigmoid,
    "pool": lambda: nn.MaxPool2d(2),
    "dropout": nn.Dropout,
    "flatten": nn.Flatten,
    "dense": nn.Linear,
}
BUFFERS = {"weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def sequential(layers: list[tuple[Any, ...]], *, seed: int = 0, dtype: str = "float64") -> nn.Module:
    """The layers in a row, with the suite's parameters, in training mode, as a user may have left it."""
    network = nn.Sequential(*(MAKE[kind](*sizes) for kind, *sizes in layers)).to(getattr(torch, dtype))
    for module, arrays in zip(network, parameters(layers, seed), strict=True):
        for name, array in arrays.items():
            getattr(module, BUFFERS[name]).data.copy_(torch.from_numpy(array))
    return network.to(kits.DEVICE).train()


class Reuse(nn.Module):
    """One ReLU module, run twice."""

    def __init__(self, conv: nn.Module, relu: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu, self.last = conv, relu, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.relu(self.relu(self.conv(x)) - 0.1).flatten(1))


class Side(nn.Module):
    """``side`` runs and its result is thrown away; the last layer writes into what ``conv`` returned."""

    def __init__(self, conv: nn.Module, side: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.conv, self.side, self.last = conv, side, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.side(y)
        y += x.sum(1, keepdim=True)
        return self.last(torch.relu_(y).flatten(1))


def reuse(size: int = 6) -> nn.Module:
    """See :class:`Reuse`; layers "conv", "relu", "last"."""
    parts = sequential([("conv", 3, 2, 3, 1), ("relu",), ("dense", 2 * size * size, 4)])
    return Reuse(*parts)


def side(size: int = 6) -> nn.Module:
    """See :class:`Side`; layers "conv", "side", "last"."""
    parts = sequential([("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 2 * size * size, 4)])
    return Side(*parts)


def variants(native: nn.Module) -> dict[str, nn.Module]:
    """The same network in every guise in which a user may hand it over."""
    return {"plain": native, "evaluated": copy.deepcopy(native).eval()}


def snapshot(native: nn.Module) -> Any:
    """All that must not change: modes, hooks, requires_grad, gradients, values, in-place flags, attributes."""
    modules = {
        name: (
            module.training,
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
            getattr(module, "inplace", None),
            getattr(module, "track_running_stats", None),
            sorted(module.__dict__),
        )
        for name, module in native.named_modules()
    }
    values = {
        name: (value.requires_grad, None if value.grad is None else value.grad.tolist(), value.tolist())
        for name, value in native.state_dict(keep_vars=True).items()
    }
    return modules, values, torch.is_grad_enabled(), torch.get_num_threads()


def leave_gradients(native: nn.Module, x: Any) -> None:
    """Train one step's worth, so that there are gradients to disturb."""
    native(torch.as_tensor(x, device=next(native.parameters()).device)).sum().backward()


def oracle(native: nn.Module) -> nn.Module:
    """The same network for other people's code, which is asked on the CPU wherever vizkit computes."""
    return native if next(native.parameters()).device.type == "cpu" else copy.deepcopy(native).cpu()


def watch(native: nn.Module, name: str) -> list[int]:
    """A list that grows whenever the module ``name`` computes."""
    calls: list[int] = []
    module = native.get_submodule(name)
    original = module.forward

    def counted(*inputs: Any) -> Any:
        calls.append(1)
        return original(*inputs)

    module.forward = counted
    return calls
