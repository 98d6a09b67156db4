"""What Score-CAM and its kin share: a channel as a mask over the picture, and channels weighted by masked scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...contract.backend import Array, Tensor
from ...contract.grid import Grid
from ...results.attribution import Attribution
from ..common.job import Job
from ..common.maps import stretched
from .combining import by_weights

Masks = Callable[[int, range], Tensor]
"""The masks (B, 1, H, W) in 0..1 of an image's channels with these numbers."""


def channel_masks(job: Job, grid: Grid, activations: Sequence[Tensor]) -> Masks:
    """Channels enlarged to the picture, each scaled from its minimum and maximum to 0..1, and 0 where it is constant;
    ``activations`` (1, C, h, w) of each image."""
    ops, spec = job.model.ops, job.model.spec

    def masks(i: int, which: range) -> Tensor:
        layer = ops.transpose(activations[i][:, which.start : which.stop], (1, 0, 2, 3))
        mask = grid.enlarged(ops, layer, spec)
        return stretched(ops, mask, mask)

    return masks


def varied_scores(
    job: Job, masks: Masks, channels: int, samples: int, vary: Callable[[Tensor, int, range], Tensor]
) -> Array:
    """For each image and channel the mean (N, channels) of the scores of ``samples`` masked images: ``vary(mask,
    channel, samples)`` makes their masks of that of the channel (1, 1, H, W)."""
    ops = job.model.ops

    def masked(i: int, which: range) -> Tensor:
        parts = [vary(masks(i, range(c, c + 1)), c, some) for c, some in _channels(which, samples)]
        return job.image(i) * ops.concat(parts)

    return np.asarray(job.forwards(channels * samples, masked).reshape(len(job), -1, samples).mean(axis=2))


def _channels(which: range, samples: int) -> Iterator[tuple[int, range]]:
    """The channels that these variants are of, and which of each."""
    for channel in range(which.start // samples, (which.stop - 1) // samples + 1):
        first = channel * samples
        yield channel, range(max(which.start - first, 0), min(which.stop - first, samples))


def by_scores(
    job: Job, layer: str, grid: Grid, activations: Sequence[Tensor], scores: Array, relu: bool
) -> Attribution:
    """The channels, weighted by the softmax over them of these scores (N, C)."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = shifted / shifted.sum(axis=1, keepdims=True)
    return by_weights(job, layer, grid, weights, activations.__getitem__, relu, {"scores": scores})
