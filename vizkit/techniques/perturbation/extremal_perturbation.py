"""Extremal perturbation: the mask of a given area under which the score is highest."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.method import Attribution, ImageInput, Job, Model, SettingError, Target, held, pictures_only
from .mask_search import VARIANTS, MaskSearch

NOWHERE = "the search ended without a region. Take more steps, or areas that are larger than a cell's disk."


@held
def extremal_perturbation(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    areas: float | Sequence[float] = 0.1,
    variant: str = "preserve",
    baseline: str = "blurred",
    steps: int = 200,
    cell: int | None = None,
    sigma: float | None = None,
    jitter: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Extremal perturbations (Fong, Patrick & Vedaldi 2019, arXiv 1910.08485).

    ``m = argmax S(I under m) - w mean((m - top_a(m))^2)`` over smooth masks m in 0..1, where ``top_a(m)`` is 1 at the
    share ``a`` of pixels in which m is largest, else 0: the area is a constraint, and nothing has to be weighed against
    it. A mask is a smooth maximum of soft disks, one around each cell. Gradient ascent with momentum 0.9 from a mask of
    ones; the rates of all steps add up to 8, and ``w`` grows from 300 to 16 times that, as over the authors' 800 steps.
    As theirs, the mask goes on beyond the picture, where its area counts, too; but ``a`` is a share of the picture.

    Args: as :func:`vizkit.occlusion` has them, without windows and output, and
        areas: the mask's size as a share of the picture, between 0 and 1, or several: a mask for each. What lies beyond
            the edge counts.
        variant: "preserve", the region that alone keeps the score high; "delete", the one without which it is lowest.
        baseline: what is outside of the mask: "blurred" (a pyramid of blurs, the wider the lower the mask), "black" or
            "mean".
        steps: of the ascent, for each area; the authors take 800.
        cell: pixels of a cell's side; None is 1/32 of the shorter side (7 of 224).
        sigma: radius of the disks in pixels; None is three cells.
        jitter: mirror the picture left to right at every other step, so that the mask suits both.
        batch_size: masks that are sought together; bounds memory, does not change the map. None takes as many as fit.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) in 0..1, the mean of the masks over the areas;
        ``extra["masks"]`` (N, A, H, W) are the masks, ``extra["areas"]`` (N, A) their means, ``extra["scores"]``
        (N, A) the scores under them, with "delete" without what they cover.

    Raises:
        SettingError, ImageError, UnknownNameError (label), ShapeError.

    Believe:
        Believe a region under which the score stays near the picture's own; a better one may have been missed.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.extremal_perturbation(model, vizkit.images.sample(), areas=(0.1, 0.3), steps=2)
        >>> found.values.shape, found.extra["masks"].shape
        ((1, 224, 224), (1, 2, 224, 224))
    """
    wanted = [float(areas)] if isinstance(areas, int | float) else [float(one) for one in areas]
    if not wanted or not all(0 < one < 1 for one in wanted) or steps < 1 or variant not in VARIANTS:
        raise SettingError(
            f"areas={areas}, steps={steps}, variant={variant!r}: expected shares between 0 and 1, at least 1 step, and "
            f"{' or '.join(map(repr, VARIANTS))}."
        )
    pictures_only(model, "extremal_perturbation")
    side = min(model.spec.size)
    cell = max(1, round(side / 32)) if cell is None else cell
    sigma = 3.0 * cell if sigma is None else sigma
    if not 1 <= cell <= side or not sigma > 0:
        raise SettingError(f"cell={cell}, sigma={sigma}: expected 1 to {side} pixels, and a radius above 0.")
    job = Job(
        "extremal_perturbation", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        areas=wanted, variant=variant, baseline=baseline, steps=steps, cell=cell, sigma=sigma, jitter=jitter,
    )  # fmt: skip
    job.settle()
    found, scores = MaskSearch(job, cell, sigma, variant, jitter, steps).every(wanted, baseline)
    extra = {"masks": found, "areas": found.mean(axis=(2, 3)), "scores": scores}
    return job.result(found.mean(axis=1), extra=extra, cause=NOWHERE)
