"""Eigen-CAM."""

from __future__ import annotations

from functools import partial

from ..common.method import Attribution, ImageInput, Job, Model, Target, held
from .projecting import projected, projection


@held
def eigencam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    centre: bool = False,
    relu: bool = False,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299): what the layer holds most of, whatever the class.

    ``M = up(A v)``: ``A`` (h*w, C) the layer's activations, ``v`` its first right singular vector, signed so that the
    map agrees with the channels' mean. After a ReLU it is nowhere negative. It is the same for every ``target``, which
    is only noted in the result.

    Args: ``model``, ``image``, ``target``, ``layer``, ``batch_size``, ``input_range``, ``fit`` as
        :func:`vizkit.gradcam` has them, and centre: subtract each channel's mean over the positions first, as
        pytorch-grad-cam does and the paper does not. relu: clip what is negative.

    Returns:
        :class:`Attribution` (N, H, W), signed unless clipped; ``extra["cam"]`` (N, h, w).

    Raises, example: as :func:`vizkit.gradcam`.

    Believe:
        Believe it as what the layer mostly reacts to: it does not know the class.
    """
    job = Job("eigencam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, centre=centre)
    return projected(job, layer, relu, partial(projection, centre=centre))
