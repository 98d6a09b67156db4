"""Score-CAM."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Job, Model, Target, held
from .combining import choose_layer
from .masking import by_scores, channel_masks


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
        Believe it as gradcam without gradients; softmax of few channels decides it, so compare with ablationcam.
    """
    job = Job("scorecam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    name, grid = choose_layer(model, layer)
    ops = model.ops
    activations = [grid.maps(ops, one) for one in job.scores((name,))[1][name]]
    masks = channel_masks(job, grid, activations)
    scores = job.forwards(grid.channels, lambda i, which: job.image(i) * masks(i, which))
    return by_scores(job, name, grid, activations, scores, relu)
