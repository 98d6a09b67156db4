"""Eigen-Grad-CAM."""

from __future__ import annotations

from dataclasses import dataclass

from ...contract.grid import Grid
from ..common.method import Attribution, ImageInput, Job, Leaves, Model, Ops, Target, Tensor, held
from ..common.passes import Pass
from .combining import choose_layer, combined, finish
from .projecting import projection


@held
def eigen_gradcam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    centre: bool = True,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Eigen-Grad-CAM: Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299) of activations times gradients, as
    pytorch-grad-cam has it; there is no paper of its own.

    ``M = up(relu(P v))``: ``P`` (h*w, C) is ``A * dS_t / dA`` at the layer, each channel less its mean, and ``v`` its
    first right singular vector, signed so that the map agrees with :func:`vizkit.hirescam`, the sum of ``P`` over the
    channels. pytorch-grad-cam leaves the sign to the decomposition, so that its map may be the negative one.

    Args: ``model``, ``image``, ``target``, ``layer``, ``batch_size``, ``input_range``, ``fit`` as
        :func:`vizkit.gradcam` has them, and centre: subtract each channel's mean over the positions first. relu: clip
        what is negative; False keeps it, and the map is signed.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w).

    Raises: as :func:`vizkit.gradcam`.

    Believe:
        Believe it where one thing carries the evidence; of several it shows the one that varies most, its size means
        nothing.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.eigen_gradcam(model, vizkit.images.sample(), target="tabby").extra["cam"].shape
        (1, 13, 13)
    """
    job = Job(
        "eigen_gradcam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, centre=centre
    )
    (name, grid), ops = choose_layer(model, layer), model.ops
    products = job.passes(Products(name, grid), layers=(name,), at_input=False)["products"]

    def maps(i: int) -> Tensor:
        return ops.asarray(projection(products[i], centre)[None])

    return finish(job, combined(job, grid, maps, relu), name, relu)


@dataclass(frozen=True)
class Products:
    """A reduction of a pass: activations times gradients of a layer, element by element."""

    layer: str
    grid: Grid

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        activations, gradients = (self.grid.maps(ops, one[self.layer]) for one in (done.activations, done.gradients))
        return {"products": activations * gradients}
