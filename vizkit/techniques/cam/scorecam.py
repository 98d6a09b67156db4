"""Score-CAM."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Model, Tensor
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ...results.attribution import Attribution
from ..common.job import Job, held
from ..common.maps import quotient
from .combining import choose_layer, combined, finish, weighted


@held
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

    Believe:
        as gradcam without gradients; softmax of few channels decides it, so compare with ablationcam.
    """
    job = Job("scorecam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    name, grid = choose_layer(model, layer)
    ops = model.ops
    activations = [grid.maps(ops, one) for one in job.scores((name,))[1][name]]

    def masked(i: int, which: range) -> Tensor:
        layer = ops.transpose(activations[i][:, which.start : which.stop], (1, 0, 2, 3))
        mask = grid.enlarged(ops, layer, model.spec)
        low, high = (ops.max(one, (2, 3), keepdims=True) for one in (-1.0 * mask, mask))
        return job.image(i) * quotient(ops, mask + low, high + low + 0.0 * mask)

    scores = job.forwards(grid.channels, masked)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = ops.asarray((shifted / shifted.sum(axis=1, keepdims=True))[:, :, None, None])
    maps = combined(job, grid, lambda i: weighted(ops, weights[i : i + 1], activations[i]), relu)
    return finish(job, maps, name, relu, extra={"scores": scores})
