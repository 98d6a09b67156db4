"""Guided Grad-CAM."""

from __future__ import annotations

from ..attribution.place import Place
from ..common.checks import CLIPPED
from ..common.job import Job, held, needs_relu
from ..common.maps import CAM
from ..common.method import Attribution, ImageInput, Model, Target
from ..common.passes import VALUES, strongest
from ..common.relu import relu_mode
from .combining import cam_maps, choose_layer
from .gradcam import channel_means


@needs_relu
@held
def guided_gradcam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Guided Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391).

    ``M[y, x] = max_c |G[c, y, x] * C[y, x]|``: ``G`` of :func:`vizkit.guided_backprop`, ``C`` of
    :func:`vizkit.gradcam`, bilinear (captum's default is the nearest neighbour). It has the fine edges of the one and
    the place of the other; for the edges, see the warning at guided backpropagation.

    Args, raises, example: as :func:`vizkit.gradcam`.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["attribution"]`` (N, C, H, W) is ``G * C``, signed, and
        ``extra["cam"]`` (N, h, w) Grad-CAM at the layer's resolution.

    Believe:
        Believe it as gradcam's place with edges for looks: the fine lines explain nothing.
    """
    job = Job("guided_gradcam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    name, grid = choose_layer(model, layer)
    maps = cam_maps(job, name, grid, channel_means, relu=True)
    product = Place(job, None).gradients(mode=relu_mode("guided")) * maps[VALUES][:, None]
    return job.result(strongest(product), layer=name, extra={"attribution": product, CAM: maps[CAM]}, cause=CLIPPED)
