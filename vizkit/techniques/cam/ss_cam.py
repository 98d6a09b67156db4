"""SS-CAM, smoothed Score-CAM."""

from __future__ import annotations

from ...contract import draws
from ..common.job import Job, held, needs_patience
from ..common.method import Attribution, ImageInput, Model, SettingError, Target, Tensor
from .combining import choose_layer
from .masking import by_scores, channel_masks, varied_scores


@needs_patience
@held
def ss_cam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    samples: int = 10,
    noise: float = 2.0,
    seed: int = 0,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """SS-CAM (Wang et al. 2020, arXiv 2006.14255): Score-CAM, averaged over noisy masks.

    ``M = up(relu(sum_k w_k A_k))``, ``w = softmax over k of mean over n of S_t(I * (norm(up(A_k)) + d_n))``, with
    ``norm`` of :func:`vizkit.scorecam`, and ``d_n`` Gaussian of standard deviation ``noise`` at every pixel. This is
    the paper's noise on the feature maps, of which it takes 35 samples. torch-cam scales before it enlarges.

    Args: as :func:`vizkit.gradcam` has them, and samples: noisy masks of each channel. noise: its standard deviation,
        where a mask reaches from 0 to 1; without it this is Score-CAM. seed: of the noise; sample n of a channel
        depends on the seed and its number alone. ``batch_size`` is the number of masked images scored together.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w), ``extra["scores"]`` (N, C) the mean logits.

    Raises: as :func:`vizkit.gradcam`; SettingError for no samples, or noise below zero.

    Believe:
        Believe it as Score-CAM, with care: the paper's noise is twice a mask's height, so the scores are of near-random
        pixels.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> photo = vizkit.zoo.shapes.sample(8, seed=2026).images[7]
        >>> vizkit.ss_cam(model, photo, target="triangle", samples=2, noise=0.5).values.shape
        (1, 96, 96)
    """
    if samples < 1 or not noise >= 0:
        raise SettingError(
            f"samples={samples}, noise={noise}: expected at least 1 sample, and a deviation of 0 or more."
        )
    job = Job(
        "ss_cam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, samples=samples,
        noise=noise, seed=seed,
    )  # fmt: skip
    (name, grid), ops = choose_layer(model, layer), model.ops
    numbers = [n * grid.channels + channel for channel in range(grid.channels) for n in range(samples)]
    keys = ops.asarray(draws.keys(seed, numbers))
    activations = [grid.maps(ops, one) for one in job.scores((name,))[1][name]]

    def noisy(mask: Tensor, channel: int, which: range) -> Tensor:
        own = keys[channel * samples + which.start : channel * samples + which.stop]
        return mask + noise * ops.normal(own, (1, *model.spec.size))

    scores = varied_scores(job, channel_masks(job, grid, activations), grid.channels, samples, noisy)
    return by_scores(job, name, grid, activations, scores, relu)
