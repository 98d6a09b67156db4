"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.job import Job, held, input_first
from ..common.method import Attribution, ImageInput, Model, Neuron, Target
from .place import Place, total
from .quadrature import quadrature
from .ways import Ways, chosen_baselines, complete, named, reported, starts_of


@input_first
@held
def integrated_gradients(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    neuron: Neuron | None = None,
    baseline: ImageInput = "black",
    baselines: Sequence[ImageInput] | None = None,
    steps: int = 50,
    rule: str = "gausslegendre",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Integrated gradients (Sundararajan, Taly & Yan 2017, arXiv 1703.01365).

    ``M[y, x] = sum_c (I - B)[c, y, x] * sum_k w_k d S_t(B + a_k (I - B)) / d I[c, y, x]`` with the nodes ``a_k`` and
    weights ``w_k`` of a quadrature rule on 0..1. Complete: ``sum M = S_t(I) - S_t(B)`` but for the rule's error. At a
    layer, the way between its activations for ``B`` and ``I`` stands for that between the inputs; what passes the layer
    by, on another branch, stays as it is for ``I``.

    Args: as :func:`vizkit.saliency` has them, ``layer`` and ``neuron`` too, and
        baseline: "black", "mean" (the normalisation's mean colour), "blurred" (the image itself), "noise" (uniform
            pixels), or an image, or a list of one for each image.
        baselines: several of these, each for all images: the mean of the maps from each, which adds up to the rise from
            the mean of their scores. None takes ``baseline``.
        steps: gradients for each image and baseline.
        rule: "gausslegendre", or "riemann_left", "_right", "_middle" (the same nodes and weights as captum's), or
            "riemann_trapezoid" (captum's weights add up to 1 - 1/steps; here to 1).
        seed: of the baseline "noise".
        batch_size: points differentiated together; does not change the result. None takes as many as fit.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels, and
        ``extra["completeness_error"]`` (N,), ``|sum M - (S_t(I) - S_t(B))| / |S_t(I) - S_t(B)|``, in the provenance
        too; with several baselines ``S_t(B)`` is the mean, and at a layer the score with its activation for ``B``.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning when the completeness error exceeds
        5 %, and of flat or non-finite maps.

    Believe:
        Believe it relative to its baseline, and only while the completeness error is small.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.integrated_gradients(model, vizkit.images.sample(), steps=8, baseline="blurred").values.shape
        (1, 224, 224)
    """
    nodes, weights = quadrature(rule, steps)
    chosen = chosen_baselines(baseline, baselines)
    job = Job(
        "integrated_gradients", model, image, target, neuron=neuron, input_range=input_range, fit=fit,
        batch_size=batch_size, **named(chosen, baselines is not None), steps=steps, rule=rule, seed=seed,
    )  # fmt: skip
    place = Place(job, layer)
    job.settle()
    attribution, rise = Ways(place, starts_of(job, chosen, seed), nodes).integral(weights)
    error = complete(job, attribution, rise, steps)
    return place.result(
        attribution,
        total,
        signed=True,
        cause="image and baseline are the same, or the score does not change between them.",
        **reported(error),
    )
