"""Noise that depends on the seed and the sample's number alone: not on the batch size, the backend, or other images."""

from __future__ import annotations

import numpy as np

from ...contract import draws
from ...contract.backend import Tensor
from ...contract.errors import SettingError
from .job import Job


def generator(seed: int, sample: int) -> np.random.Generator:
    """The generator of one sample's few numbers, so that a batch repeated in halves draws the same again."""
    if seed < 0:
        raise SettingError(f"seed={seed}: give a number from 0.")
    return np.random.default_rng([seed, sample])


class Noise:
    """Gaussian noise whose standard deviation is the fraction ``level`` of each image's range, its largest input less
    its smallest, as SmoothGrad's authors measure it."""

    def __init__(self, job: Job, level: float, seed: int, samples: int) -> None:
        if not level >= 0:
            raise SettingError(f"noise={level}: give a fraction of the input's range, 0 or more; 0.1 to 0.2 is usual.")
        self._job = job
        flat = job.batch.tensor.reshape(len(job), -1)
        self._deviation = level * (flat.max(axis=1).astype(np.float64) - flat.min(axis=1))
        self._keys = job.model.ops.asarray(draws.keys(seed, range(samples)))

    def noisy(self, image: int, which: range) -> Tensor:
        """Noisy inputs (B, C, H, W), native, of these samples."""
        x = self._job.image(image)
        drawn = self._job.model.ops.normal(self._keys[which.start : which.stop], tuple(x.shape[1:]))
        return x + float(self._deviation[image]) * drawn
