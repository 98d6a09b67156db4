"""KPCA-CAM."""

from __future__ import annotations

from functools import partial

from ..common.method import Attribution, ImageInput, Job, Model, SettingError, Target, held
from .projecting import KERNELS, kernel_projection, projected


@held
def kpca_cam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    kernel: str = "sigmoid",
    gamma: float | None = None,
    relu: bool = False,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """KPCA-CAM (Karmani et al. 2024, arXiv 2410.00267): Eigen-CAM with kernel PCA in place of the linear one, whatever
    the class.

    ``M = up(sqrt(l) u)``: ``u`` is the first eigenvector, ``l`` its eigenvalue, of the centred matrix
    ``K[p, q] = k(a_p, a_q)`` over the layer's positions, ``a_p`` the channels at one, each less its mean. ``k`` is
    "sigmoid", ``tanh(gamma a . b + 1)``; "rbf", ``exp(-gamma |a - b|^2)``; "poly", ``(gamma a . b + 1)^3``; or
    "linear", ``a . b``, which is :func:`vizkit.eigencam` with ``centre=True``. Signed so that the map agrees with the
    channels' mean; pytorch-grad-cam leaves the sign to the decomposition.

    Args: ``model``, ``image``, ``target``, ``layer``, ``batch_size``, ``input_range``, ``fit`` as
        :func:`vizkit.gradcam` has them, and kernel: see above. gamma: its scale; None is one over the number of
        channels. relu: clip what is negative.

    Returns:
        :class:`Attribution` (N, H, W), signed unless clipped; ``extra["cam"]`` (N, h, w). It is the same for every
        ``target``, which is only noted.

    Raises: as :func:`vizkit.gradcam`; SettingError for another kernel, or a layer of more than 4096 positions.

    Believe:
        Believe it as a picture of what the layer separates first, often object from ground; never as a reason for a
        class.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.kpca_cam(model, vizkit.images.sample(), kernel="rbf").extra["cam"].shape
        (1, 13, 13)
    """
    if kernel not in KERNELS or (gamma is not None and not gamma > 0):
        raise SettingError(
            f"kernel={kernel!r}, gamma={gamma}: expected one of {', '.join(KERNELS)}, and a positive number or None."
        )
    job = Job(
        "kpca_cam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, kernel=kernel,
        gamma=gamma,
    )  # fmt: skip
    return projected(job, layer, relu, partial(kernel_projection, kernel=kernel, gamma=gamma))
