"""HSIC attribution: how far the score depends on whether a feature is there."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Model, Probe, SettingError, Target, held, pictures_only
from .coalitions import halves
from .designs import dependence
from .superpixels import Segments, Switches


@held
def hsic(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = (7, 7),
    samples: int = 500,
    baseline: str = "black",
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """HSIC attribution (Novello, Fel & Vigouroux 2022, arXiv 2206.06219): a measure of dependence.

    ``HSIC_i = tr(K_i H L H) / N^2`` with ``H = 1 - 1/N``, over N masks ``z`` that keep each feature with probability
    1/2. ``K_i[a, b]`` is 1 where ``z_a`` and ``z_b`` agree on feature i, else 0; ``L[a, b] = exp(-(Y_a - Y_b)^2 / (2
    s^2))`` of the scores ``Y``, ``s`` the median of their distances above zero. Zero for independence, up to the
    estimate's noise. The authors' code takes the median of the scores themselves for ``s``, which may be negative for
    logits, a quasi-random design, and a factor of N.

    Args: as :func:`vizkit.feature_ablation` has them, and
        samples: masks, at least 2. Time and memory beside the passes grow with their square.
        baseline: what switched-off features show: "black", "mean", "blurred", or "segment" (their mean colour).
        seed: of the masks; mask i depends on the seed, i and the number of features alone.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) in 0..1/4, without a unit.
        ``extra["segments"]`` are the labels (N, H, W).

    Raises:
        VizkitError without scikit-image where it is needed; ImageError, UnknownNameError (label), SettingError,
        ShapeError.

    Believe:
        Believe the order of the strongest cells; there is no sign, and weak cells are noise.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.hsic(model, vizkit.images.sample(), segments=(2, 2), samples=8).values.shape
        (1, 224, 224)
    """
    if samples < 2:
        raise SettingError(f"samples={samples}: dependence needs at least 2 masks, and some hundreds to be seen.")
    pictures_only(model, "hsic")
    job = Probe(
        "hsic", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, seed=seed,
    )  # fmt: skip
    switches = Switches.of(job, segments, baseline)
    rows = [halves(count, seed, range(samples)) for count in switches.counts]
    scores = job.variants(samples, switches.rows(rows))
    return switches.result([dependence(z, one) for z, one in zip(rows, scores, strict=True)])
