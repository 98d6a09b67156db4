"""Noise."""

from __future__ import annotations

import numpy as np

from ..common.method import Attribution, ImageInput, Model, Probe, Target


def random_map(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Uniform noise in 0..1, drawn from the seed and the picture's own pixels: a control.

    Args:
        model, image, target, input_range, fit: as for any technique; the network only chooses the target, which does
            not change the map.
        seed: another seed, another map; the same picture and seed give the same map alone and in any batch.
        batch_size: images in one pass.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) in 0..1.

    Believe:
        Never: what a method must beat.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.random_map(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    job = Probe("random_map", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    keys = [int(digest[:16], 16) for digest in job.batch.digest()]
    values = np.stack([np.random.default_rng([seed, key]).random(job.size) for key in keys])
    return job.result(values, seed=seed)
