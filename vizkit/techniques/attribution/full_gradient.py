"""Full-gradient decomposition."""

from __future__ import annotations

from ..common.checks import completeness
from ..common.method import Attribution, ImageInput, Job, Model, Target, held, one_of
from ..common.passes import VALUES
from .terms import SCORE, TOTAL, passes
from .ways import reported

SCALES = ("channel", "none")


@held
def full_gradient(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    scale: str = "channel",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """FullGrad (Srinivas & Fleuret 2019, arXiv 1905.00780).

    A network of affine layers, ReLUs and pools has ``S_t = sum(I * dS_t/dI) + sum_l sum(b_l * dS_t/dz_l)`` exactly,
    with ``z_l`` the output of affine layer ``l`` and ``b_l`` its constant: a bias, or a batch norm's implicit one,
    ``beta - gamma mean / sqrt(var + eps)``. The map adds up these terms where they lie: ``M = sum_c psi(I * dS_t/dI) +
    sum_l sum_c psi(b_l * dS_t/dz_l)``, ``psi`` the absolute value, rescaled, then upsampled bilinearly (half-pixel
    centres). Layers without extent (dense) are in the sum, not in the map; layers off the score's path, as those of
    another head, are in neither.

    Args: as :func:`vizkit.saliency` has them, and
        scale: "channel" rescales every channel of every layer to 0..1 before the sum, as the paper does, so that the
            map counts channels; "none" keeps the terms' own size.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["completeness_error"]`` (N,), relative: large where a constant
        cannot be observed (functional layers with a bias, layers used twice) or the network has other nonlinearities.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning when the completeness error exceeds
        5 %, and of flat or non-finite maps.

    Believe:
        Believe the exact sum more than the map: rescaling each layer decides what is seen.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.full_gradient(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    one_of("scale", scale, SCALES)
    job = Job(
        "full_gradient", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, scale=scale
    )
    found = passes(job, scale, model.biases())
    advice = (
        "Some constants are out of reach (functional layers with a bias, layers used twice), or the network is not "
        "made of affine layers, ReLUs and pools; the map lacks their part."
    )
    error = completeness(found[TOTAL], found[SCORE], job.whats, advice)
    return job.result(found[VALUES], **reported(error))
