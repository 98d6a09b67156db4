"""Grad-CAM."""

from __future__ import annotations

from ..common.method import Attribution, ImageInput, Job, Model, Ops, Target, Tensor, held
from .combining import gradient_cam, weighted


@held
def gradcam(
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
    """Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391).

    ``M = up(relu(sum_k w_k A_k))``, ``w_k = mean over (i, j) of dS_t / dA_k[i, j]``: ``A_k`` the channels of a layer,
    ``S_t`` the target's logit, ``up`` bilinear with half-pixel centres. Only the network behind the layer is
    differentiated.

    Args: ``model``, ``image``, ``target``, ``batch_size``, ``input_range``, ``fit`` as :func:`vizkit.saliency` has
        them, and layer: a layer with feature maps; None takes the last one of more than 1x1 that is no map of logits.
            ``Attribution.layer`` and the provenance say which.
        relu: clip evidence against the class, as the paper does; False keeps it, and the map is signed.

    Returns:
        :class:`Attribution` (N, H, W) at the input's resolution; ``extra["cam"]`` (N, h, w) at the layer's.

    Raises:
        ImageError, UnknownNameError (label or layer), LayerError for a layer without extent, SettingError,
        DisconnectedError. Warns with MapWarning of a map that is zero everywhere, and says why.

    Believe:
        Believe it as where, coarsely, the evidence lies; of the last layers only.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.gradcam(model, vizkit.images.sample(), target="tabby").layer
        'features'
    """
    job = Job("gradcam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    return gradient_cam(job, layer, relu, channel_means)


def channel_means(ops: Ops, activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their gradient's mean."""
    return weighted(ops, ops.mean(gradients, (2, 3), keepdims=True), activations)
