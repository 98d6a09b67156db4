"""Gradients at noisy copies, folded: what SmoothGrad, VarGrad and SmoothGrad-squared share."""

from __future__ import annotations

from ...contract.backend import Array, Model
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ..common.job import Fold, Job
from ..common.noise import Noise


def folded(
    technique: str,
    model: Model,
    image: ImageInput,
    target: Target,
    samples: int,
    noise: float,
    seed: int,
    batch_size: int | None,
    input_range: str,
    fit: str,
    fold: Fold,
) -> tuple[Job, list[Array]]:
    """What ``fold`` makes of the gradients at noisy copies. The target None is the top-1 of the image without noise."""
    job = Job(
        technique, model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    drawn = Noise(job, noise, seed, samples)
    job.settle()
    return job, job.samples(samples, drawn.noisy, fold)
