"""Other backward rules for every ReLU of a network, for the length of one pass, without touching the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The gradient at a ReLU's input, from that at its output and from where the input is positive."""


def redirected(gradient: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """The true gradient, except for pictures for which that is zero everywhere: they get the gradient where it would
    raise the input (Lucid's rescue of dead units)."""
    true = gradient * positive
    dead = true.abs().sum(dim=tuple(range(1, true.ndim)), keepdim=True) == 0
    return torch.where(dead, gradient.clamp(min=0), true)


RULES: dict[str, Rule] = {
    "guided": lambda gradient, positive: gradient.clamp(min=0) * positive,
    "deconvnet": lambda gradient, _positive: gradient.clamp(min=0),
    "redirected": redirected,
}
RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_}
RELUS |= {torch.ops.aten.relu.default, torch.ops.aten.relu_.default}  # as exported networks call it


class _Relu(torch.autograd.Function):
    """Forward ReLU; backward the rule."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rule: Rule) -> torch.Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return ctx.rule(gradients[0], *ctx.saved_tensors), None


class _Replace(TorchFunctionMode):
    """Sends every ReLU call, in-place or not, from a module or a function, to the rule."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in RELUS:
            return _Relu.apply(args[0] if args else kwargs["input"], self.rule)
        return func(*args, **kwargs)


@contextmanager
def relu_rule(name: str) -> Iterator[None]:
    """Within the block, ReLUs follow the rule ``name``, one of :data:`RULES`."""
    with _Replace(RULES[name]):
        yield
