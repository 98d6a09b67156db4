"""IS-CAM, integrated Score-CAM."""

from __future__ import annotations

import numpy as np

from ..common.job import Job, held, needs_patience
from ..common.method import Attribution, ImageInput, Model, SettingError, Target, Tensor
from .combining import choose_layer
from .masking import by_scores, channel_masks, varied_scores


@needs_patience
@held
def is_cam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    samples: int = 10,
    summed: bool = False,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """IS-CAM (Naidu et al. 2020, arXiv 2010.03023): Score-CAM, integrated from nothing to the masked picture.

    ``M = up(relu(sum_k w_k A_k))``, ``w = softmax over k of mean over i of S_t(i / n * I * norm(up(A_k)))`` for ``i``
    from 1 to ``n = samples``, with ``norm`` of :func:`vizkit.scorecam`. With ``summed=True`` the factors are added up,
    1 / n, 3 / n, 6 / n, ..., to (n + 1) / 2, as torch-cam has them: most masks are then brighter than the picture.

    Args: as :func:`vizkit.gradcam` has them, and samples: steps of the integral; one is Score-CAM. summed: see above.
        ``batch_size`` is the number of masked images scored together.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w), ``extra["scores"]`` (N, C) the mean logits.

    Raises: as :func:`vizkit.gradcam`; SettingError for no samples.

    Believe:
        Believe it as Score-CAM, at ten times its price; when they differ much, the score jumps as the picture darkens.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> photo = vizkit.zoo.shapes.sample(8, seed=2026).images[7]
        >>> vizkit.is_cam(model, photo, target="triangle", samples=2).values.shape
        (1, 96, 96)
    """
    if samples < 1:
        raise SettingError(f"is_cam with {samples} samples: take at least 1.")
    job = Job(
        "is_cam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, samples=samples,
        summed=summed,
    )  # fmt: skip
    (name, grid), ops = choose_layer(model, layer), model.ops
    activations = [grid.maps(ops, one) for one in job.scores((name,))[1][name]]
    steps = np.arange(1, samples + 1) / samples
    factors = ops.asarray((np.cumsum(steps) if summed else steps).reshape(-1, 1, 1, 1))

    def dimmed(mask: Tensor, _: int, which: range) -> Tensor:
        return mask * factors[which.start : which.stop]

    scores = varied_scores(job, channel_masks(job, grid, activations), grid.channels, samples, dimmed)
    return by_scores(job, name, grid, activations, scores, relu)
