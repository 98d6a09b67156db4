"""Gradient times input."""

from __future__ import annotations

from ..common.job import Job, held, input_first
from ..common.method import Attribution, ImageInput, Model, Neuron, Target
from .place import Place, total


@input_first
@held
def gradient_x_input(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    neuron: Neuron | None = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Gradient times input (Shrikumar et al. 2016, arXiv 1605.01713).

    ``M[y, x] = sum_c I[c, y, x] * d S_t / d I[c, y, x]`` with ``S_t`` the target's logit and ``I`` the network's input.
    A network of convolutions, ReLUs and max-pools without biases has ``sum M = S_t``. At a layer, activation times
    gradient, enlarged; unlike :func:`vizkit.hirescam`, which has the same map, it keeps every channel.

    Args: as :func:`vizkit.saliency` has them, with ``layer`` and ``neuron``; defaults: top-1 target, normalised pixels,
    centre crop.

    Returns:
        :class:`Attribution`, signed, (N, H, W); ``extra["attribution"]`` (N, C, H, W) before the sum over channels.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning of flat or non-finite maps.

    Believe:
        Believe it where the network has no biases; elsewhere it misses what integrated gradients count.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.gradient_x_input(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    job = Job(
        "gradient_x_input", model, image, target, neuron=neuron, input_range=input_range, fit=fit, batch_size=batch_size
    )
    place = Place(job, layer)
    # In float64 at the input, as there is no more of it.
    attribution = job.x * place.gradients() if layer is None else place.gradients(times_value=True)
    return place.result(attribution, total, signed=True)
