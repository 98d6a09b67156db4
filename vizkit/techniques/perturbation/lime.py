"""LIME on superpixels: a linear model of the score around the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..common.method import Attribution, ImageInput, Model, Probe, SettingError, Target, held, pictures_only
from .coalitions import lime_samples, lime_weights
from .superpixels import Segments, Switches, fill, ridge, superpixels


@held
def lime(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = 50,
    samples: int = 1000,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    baseline: str = "segment",
    output: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """LIME (Ribeiro, Singh & Guestrin 2016, arXiv 1602.04938), as its authors' code does it for images.

    ``b, c = argmin sum_i w_i (S(I with the superpixels z_i kept) - z_i b - c)^2 + alpha |b|^2`` and a pixel's value is
    its superpixel's coefficient in b. ``z_0`` is all ones, the other ``z_i`` keep each superpixel with probability 1/2.
    ``w_i = sqrt(exp(-d_i^2 / kernel_width^2))`` with ``d_i`` the cosine distance of ``z_i`` to all ones, 1 for none.
    The same ridge regression as scikit-learn's, solved from its moments, so memory does not grow with ``samples``.

    Args: as :func:`vizkit.feature_ablation` has them, and
        samples: evaluations of the network per image, the unchanged one included.
        kernel_width: of the weights; smaller stays nearer to the picture.
        alpha: strength of the ridge penalty; 0 is least squares.
        baseline: what switched-off superpixels show: "segment" (their mean colour, as the authors do), "black", "mean"
            or "blurred".
        output: "probability" or "logit"; None is the authors' probability, and the logit when a target is "all".
        seed: of the samples; sample i depends on the seed, i and the number of superpixels alone.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W), in the score's unit; ``extra["segments"]`` are the labels
        (N, H, W), ``extra["constant"]`` (N,) the constants c.

    Raises:
        VizkitError without scikit-image; ImageError, UnknownNameError (label), SettingError, ShapeError.

    Believe:
        Believe it as far as its linear model fits (see its score) and its superpixels follow the objects.

    Example:
        >>> import numpy as np, vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> quarters = np.kron([[0, 1], [2, 3]], np.ones((112, 112), dtype=int))
        >>> vizkit.lime(model, vizkit.images.sample(), segments=quarters, samples=8).values.shape
        (1, 224, 224)
    """
    if samples < 2 or kernel_width <= 0 or alpha < 0:
        raise SettingError(
            f"samples={samples}, kernel_width={kernel_width}, alpha={alpha}: expected at least 2 samples, a positive "
            "width and a penalty that is not negative."
        )
    pictures_only(model, "lime")
    job = Probe(
        "lime", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, kernel_width=kernel_width, alpha=alpha, baseline=baseline, seed=seed,
    )  # fmt: skip
    labels = superpixels(job.batch, segments)
    switches = Switches(job, labels, fill(baseline, job, labels))
    rows = [lime_samples(count, seed, range(samples)) for count in switches.counts]
    found = zip(rows, job.variants(samples, switches.rows(rows)), strict=True)
    fits = [ridge(z, scores, lime_weights(z, kernel_width), alpha) for z, scores in found]
    result = switches.result([fit for fit, _ in fits], signed=True, segments=switches.counts)
    return replace(result, extra={**result.extra, "constant": np.array([constant for _, constant in fits])})
