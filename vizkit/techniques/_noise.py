"""Noise that depends on the seed and the sample's number alone: not on the batch size, the backend, or other images."""

from __future__ import annotations

import numpy as np

from ..backend import Array
from ..errors import SettingError
from ._attribution import Job


def generator(seed: int, sample: int) -> np.random.Generator:
    """The generator of one sample, so that a batch repeated in halves draws the same again."""
    if seed < 0:
        raise SettingError(f"seed={seed}: give a number from 0.")
    return np.random.default_rng([seed, sample])


class Noise:
    """Gaussian noise whose standard deviation is the fraction ``level`` of each image's range, its largest input less
    its smallest, as SmoothGrad's authors measure it."""

    def __init__(self, job: Job, level: float, seed: int) -> None:
        if not level >= 0:
            raise SettingError(f"noise={level}: give a fraction of the input's range, 0 or more; 0.1 to 0.2 is usual.")
        self.x = job.x
        self.deviation: Array = level * np.ptp(job.x.reshape(len(job), -1), axis=1)
        self.seed = seed

    def noisy(self, image: int, sample: int) -> Array:
        """One noisy input (C, H, W), float64."""
        drawn = generator(self.seed, sample).standard_normal(self.x.shape[1:])
        return np.asarray(self.x[image] + self.deviation[image] * drawn)
