"""Concatenation of activations in oneDNN's blocks, which PyTorch has for plain memory alone.

Blocks of 16 channels lie one after the other, so joining channels is copying memory, as long as each part fills its
blocks. PyTorch tells where a tensor in blocks lies, and in which form by a record that is opaque but equal for equal
forms. What the record of a shape means is found out by writing known values and reading memory: where that does not
show blocks of 16 channels, as on another processor, plain memory is taken.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

BLOCK = 16
"""Channels."""
LEAST = 2 * 2**20
"""Bytes of a result below which plain memory is as fast."""
LOOKS = 512
"""Values of a shape that are looked up to see in which order they lie."""

TOLD = all(hasattr(torch.ops.mkldnn, name) for name in ("data_ptr", "_nbytes", "_get_mkldnn_serialized_md"))
"""Whether this PyTorch says where a tensor in blocks lies, and in which form."""

Shape = tuple[int, ...]


class Joined(torch.autograd.Function):
    """``torch.cat(parts, 1)`` of parts for which :func:`joins` holds."""

    @staticmethod
    def forward(ctx: Any, *parts: torch.Tensor) -> torch.Tensor:
        ctx.parts = parts  # Not saved, since only their form is read: the network may write into them.
        count, _, height, width = shape = _whole(parts)
        made = _as_convolutions_do(torch.zeros(count, 1, height, width), torch.zeros(shape[1]))
        if not _in_blocks(made):  # as after another number of threads was set
            return torch.cat([part.to_dense() for part in parts], 1).to_mkldnn()
        torch.cat([_memory(part) for part in parts], 1, out=_memory(made))
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        parts: tuple[torch.Tensor, ...] = ctx.parts
        made = [part.clone() for part in parts]  # for its form alone
        if not all(map(_in_blocks, (gradient, *made))):
            split = torch.split(gradient.to_dense(), [part.shape[1] for part in parts], 1)
            return tuple(one.to_mkldnn() for one in split)
        split = torch.split(_memory(gradient), [part.shape[1] // BLOCK for part in parts], 1)
        for one, values in zip(made, split, strict=True):
            _memory(one).copy_(values)
        return tuple(made)


def joins(args: Sequence[Any]) -> bool:
    """Whether these are arguments of ``cat`` that :class:`Joined` takes, and gains with."""
    if not TOLD or len(args) != 2 or args[1] != 1 or not isinstance(args[0], list | tuple):
        return False
    parts = args[0]
    if not all(isinstance(part, torch.Tensor) and part.is_mkldnn and part.dim() == 4 for part in parts):
        return False
    if len({(len(part), *part.shape[2:]) for part in parts}) != 1 or any(part.shape[1] % BLOCK for part in parts):
        return False
    large = 4 * sum(part.numel() for part in parts) >= LEAST
    return large and _form(_whole(parts)) is not None and all(map(_in_blocks, parts))


def _whole(parts: Sequence[torch.Tensor]) -> Shape:
    count, _, height, width = parts[0].shape
    return count, sum(part.shape[1] for part in parts), height, width


def _in_blocks(tensor: torch.Tensor) -> bool:
    return tensor.is_mkldnn and _form(tuple(tensor.shape)) == _record(tensor)


@lru_cache(maxsize=1024)
def _form(shape: Shape) -> bytes | None:
    """The record of this shape in blocks of 16 channels without gaps; None if convolutions lay it out otherwise."""
    count, channels, height, width = shape
    pixels = torch.arange(count * height * width).reshape(count, 1, height, width)
    made = _as_convolutions_do((pixels % 4093).float(), 4096 * (torch.arange(channels) % 4093).float())
    if torch.ops.mkldnn._nbytes(made) != 4 * made.numel():
        return None
    at = np.random.default_rng(0).integers(made.numel(), size=LOOKS)
    n, block, y, x, within = np.unravel_index(at, (count, channels // BLOCK, height, width, BLOCK))
    wanted = ((n * height + y) * width + x) % 4093 + 4096 * ((block * BLOCK + within) % 4093)
    return _record(made) if np.array_equal(_memory(made).reshape(-1).numpy()[at], wanted) else None


def _as_convolutions_do(image: torch.Tensor, channel: torch.Tensor) -> torch.Tensor:
    """``image[n, 0, y, x] + channel[c]``."""
    return torch.conv2d(image.to_mkldnn(), torch.ones(len(channel), 1, 1, 1), channel)


def _record(tensor: torch.Tensor) -> bytes:
    return bytes(torch.ops.mkldnn._get_mkldnn_serialized_md(tensor).numpy())


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """A view (N, C / 16, H * W * 16) of a tensor in blocks, which must outlive it."""
    values = (ctypes.c_float * tensor.numel()).from_address(torch.ops.mkldnn.data_ptr(tensor))
    return torch.frombuffer(values, dtype=torch.float32).view(len(tensor), tensor.shape[1] // BLOCK, -1)
