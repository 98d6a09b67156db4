"""Ablation-CAM."""

from __future__ import annotations

import numpy as np

from ..common.method import Attribution, ImageInput, Job, Leaves, Model, Target, Tensor, held
from .combining import by_weights, choose_layer


@held
def ablationcam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Ablation-CAM (Desai & Ramaswamy 2020, WACV): no gradient, one forward pass for each channel.

    ``M = up(relu(sum_k w_k A_k))``, ``w_k = (S_t - S_t with A_k = 0) / |S_t|``, ``S_t`` the logit. The paper divides by
    ``S_t``, which turns the map over where the logit is negative; for a positive one it is the same. pytorch-grad-cam
    ablates to far below the minimum where a layer has negative values; here always to zero, as the paper.

    Args: as :func:`vizkit.gradcam` has them; ``batch_size`` is the number of ablated passes made together.

    Returns, raises, example: as :func:`vizkit.gradcam`; ``extra["scores"]`` (N, C) are the logits without each channel.

    Believe:
        Believe it as what the score loses without each channel; slow and plain.
    """
    job = Job("ablationcam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    name, grid = choose_layer(model, layer)
    ops = model.ops
    whole, kept = job.scores((name,))
    activations = [grid.maps(ops, one) for one in kept[name]]
    each = ops.asarray(-np.eye(grid.channels)[:, :, None, None])

    def unchanged(i: int, which: range) -> Tensor:
        return ops.concat([job.image(i)] * len(which))

    def without(i: int, which: range) -> Leaves:
        return {name: grid.back(ops, each[which.start : which.stop] * activations[i])}

    scores = job.forwards(grid.channels, unchanged, without)
    weights = (whole[:, None] - scores) / np.abs(whole)[:, None]
    return by_weights(job, name, grid, weights, activations.__getitem__, relu, {"scores": scores})
