"""Integrated gradients."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Leaves, Model, Tensor
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ...results.attribution import Attribution
from ..common.checks import completeness
from ..common.job import Job, State, held
from ..common.passes import INPUT, SCORES
from .path import baseline_inputs, baseline_name
from .quadrature import quadrature


@held
def integrated_gradients(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    baseline: ImageInput = "black",
    steps: int = 50,
    rule: str = "gausslegendre",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Integrated gradients (Sundararajan, Taly & Yan 2017, arXiv 1703.01365).

    ``M[y, x] = sum_c (I - B)[c, y, x] * sum_k w_k d S_t(B + a_k (I - B)) / d I[c, y, x]`` with the nodes ``a_k`` and
    weights ``w_k`` of a quadrature rule on 0..1. Complete: ``sum M = S_t(I) - S_t(B)`` but for the rule's error.

    Args: as :func:`vizkit.saliency` has them, and
        baseline: "black", "mean" (the normalisation's mean colour), "blurred" (the image itself), "noise" (uniform
            pixels), or an image, or a list of one for each image.
        steps: gradients for each image.
        rule: "gausslegendre", or "riemann_left", "_right", "_middle" (the same nodes and weights as captum's), or
            "riemann_trapezoid" (captum's weights add up to 1 - 1/steps; here to 1).
        seed: of the baseline "noise".
        batch_size: points differentiated together; does not change the result. None fits 1 GiB.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels, and
        ``extra["completeness_error"]`` (N,), ``|sum M - (S_t(I) - S_t(B))| / |S_t(I) - S_t(B)|``, in the provenance
        too.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning when the completeness error exceeds
        5 %, and of flat or non-finite maps.

    Believe:
        as what lies between picture and baseline, complete to the score; compare two baselines.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.integrated_gradients(model, vizkit.images.sample(), steps=8, baseline="blurred").values.shape
        (1, 224, 224)
    """
    nodes, weights = quadrature(rule, steps)
    job = Job(
        "integrated_gradients", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        baseline=baseline_name(baseline), steps=steps, rule=rule, seed=seed,
    )  # fmt: skip
    start = baseline_inputs(job, baseline, seed)
    way = job.x - start
    job.settle()
    ops, first, difference = model.ops, job.uploaded(start), job.uploaded(way)
    # Both ends go along, without a weight, since completeness asks for their scores.
    at, share = (
        ops.asarray(np.append(one, ends)[:, None, None, None]) for one, ends in ((nodes, [0, 1]), (weights, [0, 0]))
    )

    def point(i: int, which: range) -> Tensor:
        return first(i) + at[which.start : which.stop] * difference(i)

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        mean = ops.sum(ops.double(share[which.start : which.stop] * gradients[INPUT]), 0)
        scores = ops.double(gradients[SCORES])
        return (mean, scores) if state is None else (state[0] + mean, ops.concat([state[1], scores]))

    mean, scores = job.samples(steps + 2, point, fold)
    attribution = way * mean
    total = attribution.reshape(len(job), -1).sum(axis=1)
    advice = f"Take more than {steps} steps, or a baseline closer to the image."
    error = completeness(total, scores[:, -1] - scores[:, -2], job.whats, advice)
    return job.result(
        attribution.sum(axis=1),
        signed=True,
        extra={"attribution": attribution, "completeness_error": error},
        cause="image and baseline are the same, or the score does not change between them.",
        completeness_error=error.tolist(),
    )
