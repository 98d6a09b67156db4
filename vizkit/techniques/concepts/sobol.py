"""Total Sobol indices: the share of a number's variance in which an input has a part, alone or with others."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ..perturbation.designs import replicated


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
