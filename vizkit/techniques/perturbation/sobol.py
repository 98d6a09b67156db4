"""Sobol attribution: how much of the score's variance each feature has a part in."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Model, Probe, Target, Tensor, held, pictures_only
from .designs import replicated, sobol_points, total_indices
from .superpixels import Segments, Switches


@held
def sobol(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    segments: Segments = (8, 8),
    samples: int = 32,
    baseline: str = "black",
    output: str = "logit",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Total Sobol indices (Fel, Cadene, Chalvidal, Cord, Vigouroux & Serre 2021, arXiv 2111.04138).

    ``ST_i = E[Var(Y | m without m_i)] / Var(Y)`` for ``Y = S(m I + (1 - m) baseline)``, where each feature has its own
    share ``m_i``, uniform in 0..1: the part of the score's variance that goes when all others are fixed, interactions
    included. Jansen's estimator, ``1 / (2 N Var) sum_n (Y(A_n) - Y(A_n with i from B_n))^2``, on two designs A and B
    of a scrambled Sobol sequence; ``N (K + 1)`` passes for K features. The authors' code also scores B, which this
    estimator does not read, and lays the cells' values on the pixels with a cubic filter; here a cell is a cell.

    Args: as :func:`vizkit.feature_ablation` has them, and
        segments: (rows, columns) of a grid; the paper's is (11, 11). Or about how many SLIC superpixels (needs
            scikit-image), or integer labels (H, W) or (N, H, W).
        samples: rows of each design, a power of two.
        baseline: what a feature fades to: "black", "mean", "blurred", or "segment" (its own mean colour).
        seed: of the designs' scrambling; the same designs serve every image of as many features.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) >= 0: total indices, 1 for a feature that alone decides. They add
        up to 1 where features do not interact, else to more. ``extra["segments"]`` are the labels (N, H, W).

    Raises:
        SettingError unless ``samples`` is a power of two; VizkitError without scipy; ImageError, UnknownNameError
        (label), ShapeError.

    Believe:
        Believe the order of the strongest cells; there is no sign, so evidence against the class is as bright.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.sobol(model, vizkit.images.sample(), segments=(2, 2), samples=4).values.shape
        (1, 224, 224)
    """
    pictures_only(model, "sobol")
    job = Probe(
        "sobol", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, seed=seed,
    )  # fmt: skip
    switches = Switches.of(job, segments, baseline)
    designs = {count: sobol_points(count, samples, seed) for count in set(switches.counts)}

    def masked(i: int, which: range) -> Tensor:
        return switches.shown(i, replicated(*designs[switches.counts[i]], which))

    scores = job.variants([samples * (count + 1) for count in switches.counts], masked)
    return switches.result([total_indices(one, samples) for one in scores])
