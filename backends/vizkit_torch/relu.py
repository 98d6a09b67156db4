"""Other backward rules for every ReLU of a network, for the length of one pass, without touching the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class _Deconvnet(torch.autograd.Function):
    """Forward ReLU; backward ReLU of the gradient, whatever the input was (Zeiler & Fergus 2013)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0].clamp(min=0)


class _Guided(torch.autograd.Function):
    """Forward ReLU; backward the gradient where both it and the input are positive (Springenberg et al. 2014)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (positive,) = ctx.saved_tensors
        passed: torch.Tensor = gradients[0].clamp(min=0) * positive
        return passed


class _Redirected(torch.autograd.Function):
    """Forward ReLU; backward its true gradient, except for pictures for which that is zero everywhere: they get the
    gradient where it would raise the input (Lucid's rescue of dead units)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (positive,) = ctx.saved_tensors
        true = gradients[0] * positive
        axes = tuple(range(1, true.ndim))
        dead = true.abs().sum(dim=axes, keepdim=True) == 0
        return torch.where(dead, gradients[0].clamp(min=0), true)


RULES = {"guided": _Guided, "deconvnet": _Deconvnet, "redirected": _Redirected}
RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_}
RELUS |= {torch.ops.aten.relu.default, torch.ops.aten.relu_.default}  # as exported networks call it


class _Replace(TorchFunctionMode):
    """Sends every ReLU call, in-place or not, from a module or a function, to the rule."""

    def __init__(self, rule: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in RELUS:
            return self.rule(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)


@contextmanager
def relu_rule(name: str) -> Iterator[None]:
    """Within the block, ReLUs follow the rule ``name``, one of :data:`RULES`."""
    with _Replace(RULES[name].apply):
        yield
