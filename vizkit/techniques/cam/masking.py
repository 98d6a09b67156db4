"""What Score-CAM and its kin share: a channel as a mask over the picture, and channels weighted by masked scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...contract.backend import Array, Tensor
from ...contract.grid import Grid
from ...results.attribution import Attribution
from ..common.job import Job
from ..common.maps import quotient
from .combining import combined, finish, weighted

Masks = Callable[[int, range], Tensor]
"""The masks (B, 1, H, W) in 0..1 of an image's channels with these numbers."""


def channel_masks(job: Job, grid: Grid, activations: Sequence[Tensor]) -> Masks:
    """Channels enlarged to the picture, each scaled from its minimum and maximum to 0..1, and 0 where it is constant;
    ``activations`` (1, C, h, w) of each image."""
    ops, spec = job.model.ops, job.model.spec

    def masks(i: int, which: range) -> Tensor:
        layer = ops.transpose(activations[i][:, which.start : which.stop], (1, 0, 2, 3))
        mask = grid.enlarged(ops, layer, spec)
        low, high = (ops.max(one, (2, 3), keepdims=True) for one in (-1.0 * mask, mask))
        return quotient(ops, mask + low, high + low + 0.0 * mask)

    return masks


def varied(
    job: Job, masks: Masks, samples: int, vary: Callable[[Tensor, int, range], Tensor]
) -> Callable[[int, range], Tensor]:
    """Masked images (B, C, H, W) for ``samples`` variants of each channel, those of one channel after another:
    ``vary(mask, channel, samples)`` makes them of a mask (1, 1, H, W)."""
    ops = job.model.ops

    def masked(i: int, which: range) -> Tensor:
        parts = [vary(masks(i, range(c, c + 1)), c, some) for c, some in _channels(which, samples)]
        return job.image(i) * ops.concat(parts)

    return masked


def _channels(which: range, samples: int) -> Iterator[tuple[int, range]]:
    """The channels that these variants are of, and which of each."""
    for channel in range(which.start // samples, (which.stop - 1) // samples + 1):
        first = channel * samples
        yield channel, range(max(which.start - first, 0), min(which.stop - first, samples))


def by_scores(
    job: Job, layer: str, grid: Grid, activations: Sequence[Tensor], scores: Array, relu: bool
) -> Attribution:
    """The channels, weighted by the softmax over them of these scores (N, C)."""
    ops = job.model.ops
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = ops.asarray((shifted / shifted.sum(axis=1, keepdims=True))[:, :, None, None])
    maps = combined(job, grid, lambda i: weighted(ops, weights[i : i + 1], activations[i]), relu)
    return finish(job, maps, layer, relu, extra={"scores": scores})
