"""Grad-CAM++, and its mean over noisy copies."""

from __future__ import annotations

import numpy as np

from ..backend import Array, Model
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import Job
from ._cam import choose_layer, finish, gradient_cam, weighted
from ._noise import Noise


def gradcam_plus_plus(
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
    """Grad-CAM++ (Chattopadhay et al. 2017, arXiv 1710.11063).

    ``M = up(relu(sum_k w_k A_k))``, ``w_k = sum_ij alpha_k[i, j] relu(g_k[i, j])``,
    ``alpha = g^2 / (2 g^2 + sum_ab A_k[a, b] g^3)`` with ``g = dS_t / dA``, zero where ``g`` is. The paper explains
    ``exp(S_t)``, whose derivatives give this ``alpha``, and a common factor ``exp(S_t)`` that is left out here, as
    everywhere. pytorch-grad-cam adds 1e-6 below, which on a mean-pooled layer, where ``g^2`` is of that size, changes
    the map; here nothing is added. torch-cam (to 0.5.0) divides a copy, so that its ``alpha`` is ``g^2``: no Grad-CAM++
    at all.

    Args, returns, raises, example: as :func:`vizkit.gradcam`.
    """
    job = Job("gradcam_plus_plus", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    return gradient_cam(job, layer, relu, lambda a, g: combine(a, g, g**2, g**3))


def smooth_gradcam_plus_plus(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Smooth Grad-CAM++ (Omeiza et al. 2019, arXiv 1908.01224).

    As :func:`vizkit.gradcam_plus_plus`, but ``g``, ``g^2`` and ``g^3`` are means over noisy copies of the image; ``A``
    is that of the image itself. torch-cam takes ``g`` of the last copy only, without a mean.

    Args: as :func:`vizkit.gradcam` has them; ``samples``, ``noise``, ``seed``, ``batch_size`` as
    :func:`vizkit.smoothgrad`.

    Returns, raises, example: as :func:`vizkit.gradcam`.
    """
    job = Job(
        "smooth_gradcam_plus_plus", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    drawn = Noise(job, noise, seed)
    name = choose_layer(model, layer)
    _, kept = job.scores((name,))
    powers = np.zeros((3, *kept[name].shape))

    def take(i: int, _: int, gradients: dict[str, Array]) -> None:
        g = gradients[name].astype(np.float64)
        powers[:, i] += np.stack([g, g**2, g**3]) / samples

    job.samples(samples, drawn.noisy, take, layers=(name,), at_input=False)
    return finish(job, combine(kept[name].astype(np.float64), *powers), name, relu)


def combine(activations: Array, g: Array, squared: Array, cubed: Array) -> Array:
    """Channels weighted by Grad-CAM++'s rule, from the gradient's powers or their means."""
    below = 2 * squared + activations.sum(axis=(2, 3), keepdims=True) * cubed
    alpha = np.where(below == 0, 0, squared / np.where(below == 0, 1, below))
    return weighted((alpha * np.maximum(g, 0)).sum(axis=(2, 3)), activations)
