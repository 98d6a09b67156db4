"""Shapley values of the game in which features are switched on."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Tensor
from ...contract.errors import SettingError
from ..common.probe import Probe
from .coalitions import all_coalitions, coalitions, exact_shapley, gains, growing, orders
from .superpixels import Switches

FEW = 12
"""Features of which all subsets are taken at most: 4096 of them."""


def sampled_orders(job: Probe, switches: Switches, samples: int, seed: int) -> list[Array]:
    """What each feature adds in each of so many orders, (samples, K) of each image."""
    places = [orders(count, samples, seed) for count in switches.counts]

    def switched(i: int, which: range) -> Tensor:
        return switches.shown(i, growing(places[i], which))

    scores = job.variants([samples * (count - 1) for count in switches.counts], switched)
    return [gains(places[i], one, switches.empty(i), float(job.original[i])) for i, one in enumerate(scores)]


def every_subset(job: Probe, switches: Switches) -> list[Array]:
    """The exact values (K,) of each image's features."""
    most = max(switches.counts)
    if most > FEW:
        raise SettingError(
            f"samples='all' of {most} features would score {2**most} pictures: take at most {FEW} features, such as "
            "segments=(3, 4), or a number of samples."
        )
    counts = [all_coalitions(count) for count in switches.counts]

    def switched(i: int, which: range) -> Tensor:
        return switches.shown(i, coalitions(switches.counts[i], counts[i], 0, which))

    scores = job.variants(counts, switched)
    return [exact_shapley(np.array([switches.empty(i), *one, job.original[i]])) for i, one in enumerate(scores)]
