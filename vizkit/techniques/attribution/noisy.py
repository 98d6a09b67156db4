"""Gradients at noisy copies, folded: what SmoothGrad, VarGrad and SmoothGrad-squared share."""

from __future__ import annotations

from ...contract.backend import Array, Model
from ...inputs.images import ImageInput
from ...inputs.targets import Neuron, Target
from ..common.job import Fold, Job
from ..common.noise import Noise
from .place import Place


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
    layer: str | None = None,
    neuron: Neuron | None = None,
) -> tuple[Place, list[Array]]:
    """What ``fold`` makes of the gradients at noisy copies. The target None is the top-1 of the image without noise."""
    job = Job(
        technique, model, image, target, neuron=neuron, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    place, drawn = Place(job, layer), Noise(job, noise, seed, samples)
    job.settle()
    return place, job.samples(samples, drawn.noisy, fold, **place.options)
