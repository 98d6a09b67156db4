"""HiResCAM."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Job, Model, Ops, Target, Tensor, held
from .combining import gradient_cam


@held
def hirescam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    relu: bool = False,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """HiResCAM (Draelos & Carin 2020, arXiv 2011.08891).

    ``M = up(sum_k A_k * dS_t / dA_k)``, element by element. Where one affine layer, or a pool and one, turns the layer
    into logits, the map at the layer's resolution adds up to ``S_t`` less its bias. So nothing is clipped unless
    ``relu=True`` asks for it, as pytorch-grad-cam always does.

    Args, returns, raises, example: as :func:`vizkit.gradcam`, but for the default of ``relu``.

    Believe:
        Believe it as what the layer gives to the class, exactly, where only pooling and one dense layer follow it.
    """
    job = Job("hirescam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    return gradient_cam(job, layer, relu, products)


def products(ops: Ops, activations: Tensor, gradients: Tensor) -> Tensor:
    """Element by element, added up over the channels."""
    return ops.sum(activations * gradients, 1)
