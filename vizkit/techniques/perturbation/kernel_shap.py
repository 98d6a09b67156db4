"""Kernel SHAP on superpixels: Shapley values of the game in which superpixels are switched on."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Model, Probe, SettingError, Target, held, pictures_only
from .coalitions import all_coalitions, coalitions, shapley_weights
from .superpixels import Segments, Switches, constrained, fill, superpixels


@held
def kernel_shap(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = 50,
    samples: int = 1000,
    baseline: str = "black",
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Kernel SHAP (Lundberg & Lee 2017, arXiv 1705.07874) over superpixels.

    ``b = argmin sum_z w(z) (S(I with the superpixels z kept) - S(baseline) - z b)^2`` subject to
    ``sum b = S(I) - S(baseline)``, and a pixel's value is its superpixel's coefficient: an estimate of its Shapley
    value. ``w(z) = (K - 1) / (C(K, k) k (K - k))`` for z with k of K ones. When all ``2^K - 2`` such z are no more than
    ``samples``, they are all taken and the Shapley values are exact. Else, as in captum, k is drawn with probability
    proportional to ``1 / (k (K - k))`` and z uniformly among those with k ones, each weighing the same. captum puts a
    weight of a million on the two end points where the constraint stands here; the limit of its weight is this.

    Args: as :func:`vizkit.feature_ablation` has them, and
        samples: evaluations of the network per image besides the two end points; at least the number of superpixels.
        baseline: what switched-off superpixels show: "black", "mean", "blurred", or "segment" (their mean colour).
        seed: of the samples; sample i depends on the seed, i and the number of superpixels alone.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W), in the score's unit: each superpixel's share of
        ``S(I) - S(baseline)``, on all of its pixels. ``extra["segments"]`` are the labels (N, H, W).

    Raises:
        VizkitError without scikit-image; ImageError, UnknownNameError (label), SettingError, ShapeError.

    Believe:
        Believe it as Shapley values of superpixels, to the sampling error; the baseline decides what absence is.

    Example:
        >>> import numpy as np, vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> quarters = np.kron([[0, 1], [2, 3]], np.ones((112, 112), dtype=int))
        >>> vizkit.kernel_shap(model, vizkit.images.sample(), segments=quarters, samples=14).values.shape
        (1, 224, 224)
    """
    pictures_only(model, "kernel_shap")
    job = Probe(
        "kernel_shap", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        baseline=baseline, seed=seed,
    )  # fmt: skip
    labels = superpixels(job.batch, segments)
    features = [int(one.max()) + 1 for one in labels]
    if samples < max(features):
        raise SettingError(f"samples={samples} cannot tell {max(features)} superpixels apart: give at least as many.")
    switches = Switches(job, labels, fill(baseline, job, labels))
    counts = [min(samples, all_coalitions(count)) for count in features]
    rows = [coalitions(k, samples, seed, range(count)) for k, count in zip(features, counts, strict=True)]
    values = [
        constrained(z, scores, shapley_weights(z, samples), switches.empty(i), float(job.original[i]))
        for i, (z, scores) in enumerate(zip(rows, job.variants(counts, switches.rows(rows)), strict=True))
    ]
    return switches.result(values, signed=True, segments=features, samples=counts)
