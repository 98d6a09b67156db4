"""Feature ablation: what the score loses when one feature is taken away."""

from __future__ import annotations

import numpy as np

from ..common.method import Attribution, ImageInput, Model, Probe, Target, Tensor, held, pictures_only
from .superpixels import Segments, Switches


@held
def feature_ablation(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = 50,
    baseline: str = "black",
    output: str = "logit",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Feature ablation, in captum's definition.

    ``M[p] = S(I) - S(I with the feature of p replaced by the baseline)``. As :func:`vizkit.occlusion`, with features in
    the place of windows: each pixel belongs to one. High where its absence hurts, negative where it helps.

    Args: as :func:`vizkit.occlusion` has them, without windows, and
        segments: about how many SLIC superpixels (needs scikit-image), (rows, columns) of a grid, or integer labels
            (H, W) or (N, H, W).
        baseline: what a feature is replaced by: "black", "mean", "blurred", or "segment" (its own mean colour).

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W): the loss of score, in the score's unit, on all pixels of
        the feature. ``extra["segments"]`` are the labels (N, H, W).

    Raises:
        VizkitError without scikit-image; ImageError, UnknownNameError (label), SettingError, ShapeError.

    Believe:
        Believe it as "what if this part were gone"; of two parts that each suffice it shows neither.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.feature_ablation(model, vizkit.images.sample(), segments=(2, 2)).values.shape
        (1, 224, 224)
    """
    pictures_only(model, "feature_ablation")
    job = Probe(
        "feature_ablation", model, image, target, output=output, input_range=input_range, fit=fit,
        batch_size=batch_size,
    )  # fmt: skip
    switches = Switches.of(job, segments, baseline)

    def ablated(i: int, which: range) -> Tensor:
        return switches.shown(i, 1.0 - np.eye(switches.counts[i])[which.start : which.stop])

    scores = job.variants(switches.counts, ablated)
    return switches.result([full - one for full, one in zip(job.original, scores, strict=True)], signed=True)
