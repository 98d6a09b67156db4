"""DeepLIFT's mean over many references."""

from __future__ import annotations

from collections.abc import Sequence

from ..attribution.baselines import baseline_inputs
from ..attribution.ways import chosen_baselines, named
from ..common.method import Attribution, ImageInput, Job, Model, Target, held
from .deeplift import mean_of


@held
def deeplift_shap(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    baselines: Sequence[ImageInput] = ("blurred", "noise"),
    rule: str = "rescale",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """DeepLiftSHAP (Lundberg & Lee 2017, arXiv 1705.07874): the mean of :func:`vizkit.deeplift` over several baselines.

    ``sum M = S_t(I) - mean_b S_t(B_b)``.

    Args: as :func:`vizkit.deeplift` has them, and
        baselines: a list of names or images, each for all images.

    Returns, raises: as :func:`vizkit.deeplift`.

    Believe:
        Believe it like deeplift, and less at the mercy of one baseline.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.deeplift_shap(model, vizkit.images.sample(), baselines=["blurred", "mean"]).values.shape
        (1, 224, 224)
    """
    chosen = chosen_baselines("blurred", baselines)
    job = Job(
        "deeplift_shap", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        **named(chosen, several=True), rule=rule, seed=seed,
    )  # fmt: skip
    return mean_of(job, [baseline_inputs(job, one, seed) for one in chosen], rule)
