"""Layer-wise relevance propagation."""

from __future__ import annotations

from ...contract.backend import Mode, Model, Ops, Tensor
from ...contract.errors import warn
from ..attribution.place import Place, total
from ..common.checks import relative_error
from ..common.method import Attribution, ImageInput, Job, Target, held
from ..common.passes import INPUT, SCORES, gradients_and_scores
from .composites import Composite, composite

BLOWN_UP = 1.0
"""Relative conservation error beyond which relevance is that of the rules, and not of the score."""


@held
def lrp(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    rules: str | Composite = "epsilon_plus_flat",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Layer-wise relevance propagation (Bach et al. 2015; composites: Montavon et al. 2019, Kohlbrenner et al. 2020,
    arXiv 1910.09840).

    The target's logit is its relevance; every operation shares the relevance of its output out among its inputs, ``R_i
    = sum_j x_i w_ij / z_j R_j`` in the simplest case, down to the pixels: ``M[y, x] = sum_c R[c, y, x]``. Biases keep
    their share.

    Args: as :func:`vizkit.saliency` has them, and
        rules: a composite's name, or a :class:`vizkit.rules.Composite` of the rules in :mod:`vizkit.rules`. "epsilon":
            the epsilon rule everywhere; "epsilon_plus": z-plus at convolutions, epsilon at dense layers;
            "epsilon_alpha2_beta1": alpha-beta at convolutions; each of these two with "_flat": the flat rule at the
            first layer; "epsilon_gamma_box": gamma at convolutions, z-box at the pixels; "gamma"; "deep_taylor":
            z-plus, z-box at the pixels; "w_square": z-plus, w-square at the pixels.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels, and
        ``extra["conservation_error"]`` (N,), how far the sum is from the logit, relative to it: what biases and
        stabilisers have kept.

    Raises:
        ImageError, UnknownNameError (label, composite), SettingError, also for an operation without a rule (softmax,
        products of matrices). Warns with MapWarning when more relevance arrives, or is lost, than the logit had, and of
        flat or non-finite maps.

    Believe:
        Believe it as a calm account of what the logit is made of; "_plus" composites hardly depend on the class, so
        compare two.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.lrp(model, vizkit.images.sample(), rules="epsilon_gamma_box").values.shape
        (1, 224, 224)
    """
    chosen = composite(rules, model)
    job = Job(
        "lrp", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        rules=rules if isinstance(rules, str) else repr(rules),
    )  # fmt: skip
    found = job.passes(gradients_and_scores, mode=Mode(rules=chosen), start=relevant)
    whole, score = found[INPUT].reshape(len(job), -1).sum(axis=1), found[SCORES]
    error = relative_error(whole, score)
    other = "deep_taylor" if rules == "epsilon_plus_flat" else "epsilon_plus_flat"
    for what, one, got, wanted in zip(job.whats, error, whole, score, strict=True):
        if not one <= BLOWN_UP:
            warn(
                f"{what}: the relevance of all pixels is {got:.4g}, that of the logit was {wanted:.4g}. Somewhere what "
                f"speaks for and against an output nearly cancels, and is divided by; take rules={other!r}."
            )
    kept = {"extra": {"conservation_error": error}, "conservation_error": error.tolist()}
    return Place(job, None).result(found[INPUT], total, signed=True, **kept)


def relevant(ops: Ops, output: Tensor) -> Tensor:
    """The output, whose derivative is multiplied by its value: a logit's relevance is the logit."""
    fixed = ops.detach(output)
    return fixed + (output - fixed) * fixed
