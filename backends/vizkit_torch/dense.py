"""The input gradient of a large dense layer for one image, without the weights that no gradient reaches.

Behind a ReLU about half of a dense layer's outputs get no gradient, and before one class's logit all but one. Their
rows of the weight need not be read, and reading is what such a pass waits for: in VGG19 half a gigabyte of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

LEAST = 10**6
"""Weights below which the whole product takes no longer."""
MOST = 0.8
"""Share of rows beyond which the whole product is as fast."""
PARTS = 8
"""Sums that are made side by side, and then added: for threads, and since a short sum rounds less than a long one."""


class Dense(torch.autograd.Function):
    """``linear(x, weight, bias)`` for arguments for which :func:`single` holds."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        gradient = gradients[0][0]
        rows = gradient.nonzero().squeeze(1)
        if len(rows) > MOST * len(gradient):
            return gradients[0] @ weight, None, None
        if not len(rows):
            return weight.new_zeros(1, weight.shape[1]), None, None
        starts = torch.arange(0, len(rows), -(-len(rows) // PARTS))
        sums = F.embedding_bag(rows, weight, starts, mode="sum", per_sample_weights=gradient[rows])
        return sums.sum(0, keepdim=True), None, None


def single(args: Sequence[Any]) -> bool:
    """Whether these are arguments of ``linear`` for one image and a large frozen weight in plain memory."""
    if len(args) != 3 or not isinstance(args[0], torch.Tensor) or not isinstance(args[1], torch.Tensor):
        return False
    x, weight, bias = args
    if any(one is not None and one.requires_grad for one in (weight, bias)) or not x.requires_grad:
        return False
    plain = all(not one.is_mkldnn and one.dtype == torch.float32 for one in (x, weight))
    return plain and x.dim() == 2 and len(x) == 1 and weight.numel() >= LEAST and weight.is_contiguous()
