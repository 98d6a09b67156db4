"""How much of a class's score depends on each concept."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Leaves, Tensor
from ...contract.grid import Grid
from ..common.job import Job
from .crops import non_negative
from .factors import read
from .sobol import design, total_indices


def importance(job: Job, layer: str, grid: Grid, parts: Array, designs: int, seed: int) -> Array:
    """(K,): the mean over the job's pictures of the total Sobol indices of K concepts ``parts`` (K, C).

    The layer's maps become ``(m * U) W``, with ``U`` the concepts' shares at each position and ``m`` (K,) in 0..1 drawn
    by :func:`sobol.design`; what changes of the target's score is shared out.
    """
    ops, count = job.model.ops, len(parts)
    _, kept = job.scores((layer,))
    maps = [grid.maps(ops, one) for one in kept[layer]]
    places = [
        non_negative(ops.numpy(one)[0].reshape(grid.channels, -1).T.astype(np.float64), layer) for one in maps
    ]  # fmt: skip
    shares = [ops.asarray(read(one, parts)[None]) for one in places]  # (1, positions, K)
    points = design(count, designs, seed)
    masks, directions = ops.asarray(points[:, None]), ops.asarray(parts)

    def make(i: int, which: range) -> Tensor:
        return ops.concat([job.image(i)] * len(which))

    def add(i: int, which: range) -> Leaves:
        mixed = ops.reshape(shares[i] * masks[which.start : which.stop], (-1, count))
        rebuilt = ops.reshape(ops.matmul(mixed, directions), (len(which), grid.height, grid.width, grid.channels))
        return {layer: grid.back(ops, ops.transpose(rebuilt, (0, 3, 1, 2)) - maps[i])}

    scores = job.forwards(len(points), make, add)
    return np.asarray(np.mean([total_indices(one, count) for one in scores], axis=0))
