"""Gradients at noisy copies, folded: what SmoothGrad, VarGrad and SmoothGrad-squared share."""

from __future__ import annotations

from typing import Any

from ...contract.backend import Array, Model
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ..common.job import Fold, Job
from ..common.noise import Noise
from .place import Place


def folded(
    technique: str,
    model: Model,
    image: ImageInput,
    target: Target,
    fold: Fold,
    layer: str | None,
    samples: int,
    noise: float,
    seed: int,
    **options: Any,
) -> tuple[Place, list[Array]]:
    """What ``fold`` makes of the gradients at noisy copies. The target None is the top-1 of the image without noise."""
    job = Job(technique, model, image, target, samples=samples, noise=noise, seed=seed, **options)
    place, drawn = Place(job, layer), Noise(job, noise, seed, samples)
    job.settle()
    return place, job.samples(samples, drawn.noisy, fold, **place.options)
