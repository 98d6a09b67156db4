"""The input gradient of a network's first convolution, where that has a stride.

oneDNN takes two to three times as long for it as for a convolution without a stride of the same work, since pixels have
few channels: a tenth of GoogLeNet's whole pass. Here it is such a convolution: pixels that lie a stride apart see the
same part of the kernel, so each of the ``stride * stride`` phases is a channel of its own until the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

FEW = 15
"""Channels up to which it is faster: less than a block."""


class StridedConvolution(torch.autograd.Function):
    """``conv2d(x, weight, bias, stride, padding)`` of an image in plain memory, in oneDNN's blocks. Only ``x`` has a
    gradient, in plain memory. ``kernel()`` gives :func:`phases` of the weight."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: int,
        padding: Sequence[int],
        kernel: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        ctx.given = kernel, weight.shape[2:], x.shape[2:], stride, padding
        return torch.conv2d(x.to_mkldnn(), weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        kernel, *geometry = ctx.given
        return input_gradient(gradients[0], kernel(), *geometry), None, None, None, None, None


def fits(args: Sequence[Any]) -> bool:
    """Whether these are arguments of ``conv2d`` that :class:`StridedConvolution` takes, and gains with."""
    if len(args) != 7 or not torch.is_grad_enabled():
        return False
    x, weight, bias, stride, padding, dilation, groups = args
    if not (x.requires_grad and x.layout is torch.strided and x.dtype == torch.float32 and x.dim() == 4):
        return False
    if weight.requires_grad or (bias is not None and bias.requires_grad) or weight.shape[1] > FEW:
        return False
    if not all(isinstance(one, tuple) and len(one) == 2 for one in (stride, padding, dilation)):
        return False  # as functions may be called; modules always give pairs
    inside = all(p < k for p, k in zip(padding, weight.shape[2:], strict=True))
    return stride[0] == stride[1] > 1 and dilation == (1, 1) and groups == 1 and inside


def phases(weight: torch.Tensor, stride: int) -> torch.Tensor:
    """The kernel (I s s, O, ceil(kH / s), ceil(kW / s)) of the convolution that :func:`input_gradient` is, for a weight
    (O, I, kH, kW): for every phase a part of it, flipped, and filled up with zeros."""
    out, channels, height, width = weight.shape
    down, along = math.ceil(height / stride), math.ceil(width / stride)
    filled = F.pad(weight, (0, along * stride - width, 0, down * stride - height))
    parts = filled.reshape(out, channels, down, stride, along, stride).flip(2, 4)
    return parts.permute(1, 3, 5, 0, 2, 4).reshape(channels * stride**2, out, down, along)


def input_gradient(
    gradient: torch.Tensor,
    kernel: torch.Tensor,
    extent: Sequence[int],
    size: Sequence[int],
    stride: int,
    padding: Sequence[int],
) -> torch.Tensor:
    """Of a convolution of an image ``size`` with a weight of ``extent``, given the ``gradient`` at its result.

    In coordinates of the padded image ``d x[s q + r] = sum_t weight[r + s t] gradient[q - t]``: for every phase ``r`` a
    convolution with its part of ``kernel``, from :func:`phases`.
    """
    made = torch.conv2d(gradient, kernel, None, 1, [math.ceil(side / stride) - 1 for side in extent])
    made = F.pixel_shuffle(made.to_dense() if made.is_mkldnn else made, stride)
    top, left = padding
    below, right = (max(0, p + n - have) for p, n, have in zip(padding, size, made.shape[2:], strict=True))
    return F.pad(made, (0, right, 0, below))[:, :, top : top + size[0], left : left + size[1]]
