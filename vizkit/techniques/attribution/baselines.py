"""Baselines of path methods: what an image is compared with."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ...inputs import images
from ...inputs.images import ImageInput
from ...inputs.references import REFERENCES, reference
from ..common.job import Job
from ..common.noise import generator

NOISE = "noise"


def baseline_inputs(job: Job, baseline: ImageInput, seed: int) -> Array:
    """Baselines as network inputs, float64 (N, C, H, W), one for each of the job's images.

    ``baseline`` is a name of :data:`vizkit.references.REFERENCES` ("black", "mean", "blurred"), "noise" (uniform pixels
    drawn from ``seed``, the same for every image), or an image: path, Pillow image, array, or a list of one for each.
    """
    spec, input_range = job.model.spec, job.settings["input_range"]
    if isinstance(baseline, str) and baseline in REFERENCES:
        return reference(baseline, job.batch, spec).astype(np.float64)
    if isinstance(baseline, str) and baseline == NOISE:
        pixels = generator(seed, 0).random(job.x.shape[1:])[None]
        found = images.normalise(pixels, spec) if input_range != "unit" else pixels
    else:
        reading = "unit" if input_range == "unit" else "imagenet"
        found = images.prepare(baseline, spec, fit=job.settings["fit"], input_range=reading).tensor
    if len(found) not in (1, len(job)):
        raise SettingError(f"{len(found)} baseline images for {len(job)} images: give one for all, or one for each.")
    return np.broadcast_to(found.astype(np.float64), job.x.shape)


def baseline_name(baseline: object) -> str:
    """How the provenance names a baseline: its name or path, or that it is an image."""
    if isinstance(baseline, list | tuple):
        return ", ".join(map(baseline_name, baseline))
    return f"image of shape {baseline.shape}" if isinstance(baseline, np.ndarray) else str(baseline)


def draw(seed: int, sample: int, count: int) -> tuple[int, float]:
    """Which of ``count`` baselines a sample starts from, and how far along the way it lies."""
    random = generator(seed, sample)
    return int(random.integers(count)), float(random.random())
