"""How much of a class's score depends on each concept."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Leaves, Tensor
from ...contract.errors import SettingError
from ...contract.grid import Grid
from ..common.job import Job
from ..perturbation.designs import replicated
from .crops import non_negative
from .factors import read


def importance(job: Job, layer: str, grid: Grid, parts: Array, designs: int, seed: int) -> Array:
    """(K,): the mean over the job's pictures of the total Sobol indices of K concepts ``parts`` (K, C).

    The layer's maps become ``(m * U) W``, with ``U`` the concepts' shares at each position and ``m`` (K,) in 0..1 drawn
    by :func:`design`; what changes of the target's score is shared out.
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


def design(inputs: int, count: int, seed: int) -> Array:
    """Points (count * (inputs + 2), inputs) in 0..1: two scrambled Sobol sequences A and B, and for each input A with
    that column of B. Raises SettingError where ``count`` is no power of 2, of which the sequence is made."""
    from scipy.stats import qmc

    if count < 2 or count & (count - 1):
        raise SettingError(f"designs={count}: expected a power of 2, such as 32.")
    both = qmc.Sobol(2 * inputs, scramble=True, seed=seed).random(count)
    a, b = both[:, :inputs], both[:, inputs:]
    return np.concatenate([a, b, replicated(a, b, range(count, count * (inputs + 1)))])


def total_indices(scores: Array, inputs: int) -> Array:
    """(inputs,) from the scores of the points of :func:`design`, by Jansen's estimator (1999): ``mean (f(A) -
    f(A_i))^2 / (2 Var f)``; zero where nothing varies."""
    parts = scores.reshape(inputs + 2, -1)
    variance = float(parts[:2].var())
    if variance == 0:
        return np.zeros(inputs)
    return np.asarray(((parts[0] - parts[2:]) ** 2).mean(axis=1) / (2 * variance))
