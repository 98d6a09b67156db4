"""The suite's networks in PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

import kits
from vizkit.contract.probes import Case
from vizkit.testing import Kit
from vizkit_torch import doctor


class Reuse(nn.Module):
    """One ReLU module, run twice."""

    def __init__(self, conv: nn.Module, relu: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu, self.last = conv, relu, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.relu(self.relu(self.conv(x)) - 0.1).flatten(1))


class Side(nn.Module):
    """``side`` runs and its result is thrown away; the last layer writes into what ``conv`` returned."""

    turned = False
    """What goes around the layer is the first of what is added up."""

    def __init__(self, conv: nn.Module, side: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.conv, self.side, self.last = conv, side, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.side(y)
        around = x.sum(1, keepdim=True)
        y = around + y if self.turned else y.add_(around)
        return self.last(torch.relu_(y).flatten(1))


class TorchKit(Kit):
    """See :class:`vizkit.testing.Kit`."""

    backend = "torch"
    complete = True

    def build(self, parts: Any, dtype: str) -> nn.Module:
        return doctor.build(Case("", tuple(parts), (3, 1, 1)), kits.DEVICE, dtype).train()

    def reuse(self, size: int = 6) -> nn.Module:
        return Reuse(*self.sequential([("conv", 3, 2, 3, 1), ("relu",), ("dense", 2 * size * size, 4)]))

    def side(self, size: int = 6) -> nn.Module:
        return Side(*self.sequential([("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 2 * size * size, 4)]))

    def variants(self, native: nn.Module) -> dict[str, nn.Module]:
        return {"plain": native, "evaluated": copy.deepcopy(native).eval()}

    def snapshot(self, native: nn.Module) -> Any:
        """Modes, hooks, requires_grad, gradients, values, in-place flags, attributes."""
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

    def leave_gradients(self, native: nn.Module, x: Any) -> None:
        native(torch.as_tensor(x, device=next(native.parameters()).device)).sum().backward()

    def write(self, native: nn.Module, name: str, values: Any) -> None:
        with torch.no_grad():
            native.state_dict(keep_vars=True)[name].copy_(torch.as_tensor(values))

    def oracle(self, native: nn.Module) -> nn.Module:
        """The same network for other people's code, which is asked on the CPU wherever vizkit computes."""
        return native if next(native.parameters()).device.type == "cpu" else copy.deepcopy(native).cpu()

    def watch(self, native: nn.Module, name: str) -> list[int]:
        calls: list[int] = []
        module = native.get_submodule(name)
        original = module.forward

        def counted(*inputs: Any) -> Any:
            calls.append(1)
            return original(*inputs)

        module.forward = counted
        return calls


KIT = TorchKit()
