"""DeepLIFT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.backend import Array, Leaves, Mode, Model, Ops
from ...contract.errors import check_known
from ..attribution.baselines import baseline_inputs, baseline_name
from ..attribution.place import Place, total
from ..attribution.ways import reported
from ..common.checks import completeness
from ..common.method import Attribution, ImageInput, Job, Target, held
from ..common.passes import INPUT, SCORES, VALUES, Pass
from .differences import RULES

ADVICE = "Rounding where picture and reference are nearly equal; take dtype='float64', or another reference."


@held
def deeplift(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    baseline: ImageInput = "blurred",
    rule: str = "rescale",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """DeepLIFT (Shrikumar, Greenside & Kundaje 2017, arXiv 1704.02685).

    ``M[y, x] = sum_c (I - B)[c, y, x] m[c, y, x]`` with multipliers ``m`` that follow the chain rule, where everything
    that bends has ``(f(x) - f(x')) / (x - x')`` in the place of its derivative, ``x'`` its value for the baseline
    ``B``. A max-pool gives each of the two places of its maxima their part, a product of two things the derivative
    half-way. Complete: ``sum M = S_t(I) - S_t(B)``. Every operation follows, of modules and functions, used once or
    several times.

    Args: as :func:`vizkit.saliency` has them, and
        baseline: "blurred" (the image itself), "noise" (uniform pixels), "black", "mean" (the normalisation's mean
            colour), or an image, or a list of one for each image. Where it has one colour, many values are equal but
            for rounding, which then decides to which of them a max-pool gives its part: two frameworks may differ by
            some pixels there, not in the sum.
        rule: "rescale", or "reveal_cancel": at a ReLU right behind a convolution or dense layer, with or without batch
            norm, what raises its input's difference and what lowers it have a multiplier each, so that parts which
            cancel are seen: of ``min(a, b) = a - relu(a - b)`` each gets half, where rescale gives all to one. Takes
            about twice as long.
        seed: of the baseline "noise".

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels,
        ``extra["completeness_error"]`` (N,), relative.

    Raises:
        ImageError, UnknownNameError (label, rule), SettingError, also for an operation without a rule (softmax, layer
        norm). Warns with MapWarning when the completeness error exceeds 5 %, and of flat or non-finite maps.

    Believe:
        Believe it as what the picture has that the baseline lacks, in two passes; integrated gradients say so with
        fewer tricks.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.deeplift(model, vizkit.images.sample(), baseline="noise").values.shape
        (1, 224, 224)
    """
    job = Job(
        "deeplift", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        baseline=baseline_name(baseline), rule=rule, seed=seed,
    )  # fmt: skip
    return mean_of(job, [baseline_inputs(job, baseline, seed)], rule)


def mean_of(job: Job, baselines: Sequence[Array], rule: str) -> Attribution:
    """The mean of the attributions by each of the baselines (N, C, H, W)."""
    check_known("rule", rule, RULES)
    job.settle()
    job.targets = job.settled  # a picture's own, for its reference, too
    attribution, rise = np.zeros(job.x.shape), np.zeros(len(job))
    for one in baselines:
        found = job.passes(multipliers, beside=one, mode=Mode(rules=RULES[rule]))
        attribution += (job.x - one) * found[VALUES] / len(baselines)
        rise += found[SCORES] / len(baselines)
    error = completeness(attribution.reshape(len(job), -1).sum(axis=1), rise, job.whats, ADVICE)
    cause = "image and baseline are the same, or the score does not differ between them."
    return Place(job, None).result(attribution, total, signed=True, cause=cause, **reported(error))


def multipliers(ops: Ops, done: Pass) -> Leaves:
    """Those at the image (N, C, H, W), and by how much the scores (N,) differ."""
    return {VALUES: done.gradients[INPUT], SCORES: done.scores - done.beside}
