"""Score-CAM."""

from __future__ import annotations

import numpy as np

from ..backend import Array, Model
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import Job
from ._cam import choose_layer, finish, upsample, weighted


def scorecam(
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
    """Score-CAM (Wang et al. 2019, arXiv 1910.01279): no gradient, one forward pass for each channel.

    ``M = up(relu(sum_k w_k A_k))``, ``w = softmax over k of S_t(I * norm(up(A_k)))``, ``norm`` from minimum to maximum
    as 0..1, and 0 for a constant channel; ``S_t`` the logit, ``up`` bilinear with half-pixel centres. The paper
    subtracts the score of a baseline image, which the softmax cancels. pytorch-grad-cam upsamples with aligned corners,
    torch-cam normalises before it upsamples; here as the paper has it.

    Args: as :func:`vizkit.gradcam` has them; ``batch_size`` is the number of masked images scored together.

    Returns, raises, example: as :func:`vizkit.gradcam`; ``extra["scores"]`` (N, C) are the logits of the masked images.
    """
    job = Job("scorecam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    name = choose_layer(model, layer)
    _, kept = job.scores((name,))
    activations = kept[name].astype(np.float64)
    scores = np.zeros(activations.shape[:2])

    def masked(i: int, k: int) -> Array:
        mask = upsample(activations[i, k], model.spec.size)
        span = np.ptp(mask)
        return np.asarray(job.x[i] * ((mask - mask.min()) / span if span > 0 else np.zeros_like(mask)))

    def take(i: int, k: int, score: float) -> None:
        scores[i, k] = score

    job.forwards(activations.shape[1], masked, take)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = shifted / shifted.sum(axis=1, keepdims=True)
    return finish(job, weighted(weights, activations), name, relu, extra={"scores": scores})
