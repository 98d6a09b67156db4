"""Gradient times input."""

from __future__ import annotations

from ...contract.backend import Model
from ...inputs.images import ImageInput
from ...inputs.targets import Target
from ...results.attribution import Attribution
from ..common.job import Job, held
from ..common.passes import VALUES, input_gradient


@held
def gradient_x_input(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Gradient times input (Shrikumar et al. 2016, arXiv 1605.01713).

    ``M[y, x] = sum_c I[c, y, x] * d S_t / d I[c, y, x]`` with ``S_t`` the target's logit and ``I`` the network's input.
    A network of convolutions, ReLUs and max-pools without biases has ``sum M = S_t``.

    Args: as :func:`vizkit.saliency` has them; defaults: top-1 target, normalised pixels, centre crop.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning of flat or non-finite maps.

    Believe:
        only in networks without biases, where it adds up; pixels that are near zero cannot show.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.gradient_x_input(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    job = Job("gradient_x_input", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    attribution = job.x * job.passes(input_gradient)[VALUES]
    return job.result(attribution.sum(axis=1), signed=True, extra={"attribution": attribution})
