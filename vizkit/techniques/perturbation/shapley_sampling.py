"""Shapley values of features, sampled by orders, or exact over all subsets."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Tensor
from ..common.method import Attribution, ImageInput, Model, Probe, SettingError, Target, held, pictures_only
from .coalitions import all_coalitions, coalitions, exact_shapley, gains, growing, orders
from .superpixels import Segments, Switches

ALL = "all"
"""As ``samples``: every subset."""
FEW = 12
"""Features of which all subsets are taken at most: 4096 of them."""


@held
def shapley_sampling(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = 50,
    samples: int | str = 25,
    baseline: str = "black",
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Shapley values by sampled orders (Castro, Gomez & Tejada 2009; Strumbelj & Kononenko 2010).

    ``phi_i = mean over orders of (S(features before i, and i) - S(features before i))``, the others showing the
    baseline. Orders are drawn uniformly; along each, ``K - 1`` pictures are scored. Values add up to ``S(I) -
    S(baseline)`` whatever the samples. With ``samples="all"`` all ``2^K - 2`` subsets are scored, and the values are
    exact. Unlike :func:`vizkit.kernel_shap` the error is known: each order is an independent estimate.

    Args: as :func:`vizkit.feature_ablation` has them, and
        samples: orders for each image, or "all" for exact values of at most 12 features.
        baseline: what switched-off features show: "black", "mean", "blurred", or "segment" (their mean colour).
        seed: of the orders; order i depends on the seed, i and the number of features alone.

    Returns:
        :class:`Attribution` with signed ``values`` (N, H, W), in the score's unit: each feature's share of
        ``S(I) - S(baseline)``, on all of its pixels. ``extra["segments"]`` are the labels (N, H, W); of two orders and
        more, ``extra["standard_error"]`` (N, H, W) is the values' standard error.

    Raises:
        SettingError for all subsets of more than 12 features; VizkitError without scikit-image; ImageError,
        UnknownNameError (label), ShapeError.

    Believe:
        Believe values several standard errors from zero; a picture with holes may be strange to the network.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.shapley_sampling(model, vizkit.images.sample(), segments=(2, 2), samples="all").values.shape
        (1, 224, 224)
    """
    if samples != ALL and (isinstance(samples, str) or samples < 1):
        raise SettingError(f"samples={samples!r}: give a number of orders from 1, or {ALL!r}.")
    pictures_only(model, "shapley_sampling")
    job = Probe(
        "shapley_sampling", model, image, target, output=output, input_range=input_range, fit=fit,
        batch_size=batch_size, samples=samples, seed=seed,
    )  # fmt: skip
    switches = Switches.of(job, segments, baseline)
    if isinstance(samples, str):
        return switches.result(every_subset(job, switches), signed=True)
    found = sampled_orders(job, switches, samples, seed)
    extra = {"standard_error": [one.std(axis=0, ddof=1) / np.sqrt(samples) for one in found]} if samples > 1 else {}
    return switches.result([one.mean(axis=0) for one in found], extra, signed=True)


def sampled_orders(job: Probe, switches: Switches, samples: int, seed: int) -> list[Array]:
    """What each feature adds in each of so many orders, (samples, K) of each image."""
    places = [orders(count, samples, seed) for count in switches.counts]

    def switched(i: int, which: range) -> Tensor:
        return switches.shown(i, growing(places[i], which))

    scores = job.variants([samples * (count - 1) for count in switches.counts], switched)
    return [gains(places[i], one, switches.empty(i), float(job.original[i])) for i, one in enumerate(scores)]


def every_subset(job: Probe, switches: Switches) -> list[Array]:
    """The exact values (K,) of each image's features."""
    most = max(switches.counts)
    if most > FEW:
        raise SettingError(
            f"samples='all' of {most} features would score {2**most} pictures: take at most {FEW} features, such as "
            "segments=(3, 4), or a number of samples."
        )
    counts = [all_coalitions(count) for count in switches.counts]

    def switched(i: int, which: range) -> Tensor:
        return switches.shown(i, coalitions(switches.counts[i], counts[i], 0, which))

    scores = job.variants(counts, switched)
    return [exact_shapley(np.array([switches.empty(i), *one, job.original[i]])) for i, one in enumerate(scores)]
