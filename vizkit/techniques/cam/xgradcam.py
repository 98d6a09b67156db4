"""XGrad-CAM."""

from __future__ import annotations

from ..common.maps import quotient
from ..common.method import Attribution, ImageInput, Job, Model, Ops, Target, Tensor, held
from .combining import gradient_cam, weighted


@held
def xgradcam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """XGrad-CAM (Fu et al. 2020, arXiv 2008.02312).

    ``M = up(relu(sum_k w_k A_k))``, ``w_k = sum_ij (A_k[i, j] / sum_ab A_k[a, b]) dS_t / dA_k[i, j]``; zero for a
    channel that adds up to zero. pytorch-grad-cam and torch-cam add 1e-7 and 1e-8 to the sum below, here nothing is
    added.

    Args, returns, raises, example: as :func:`vizkit.gradcam`.

    Believe:
        Believe it like gradcam, with weights that add up better in networks without biases.
    """
    job = Job("xgradcam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    return gradient_cam(job, layer, relu, by_share)


def by_share(ops: Ops, activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their gradients' mean, each position by its share in the channel."""
    total = ops.sum(activations, (2, 3), keepdims=True)
    return weighted(ops, quotient(ops, ops.sum(activations * gradients, (2, 3), keepdims=True), total), activations)
