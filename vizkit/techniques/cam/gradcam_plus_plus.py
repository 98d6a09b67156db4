"""Grad-CAM++, and its mean over noisy copies."""

from __future__ import annotations

from ..common.job import Job, State, added, held
from ..common.maps import quotient
from ..common.method import Attribution, ImageInput, Leaves, Model, Ops, Target, Tensor
from ..common.noise import Noise
from .combining import choose_layer, combined, finish, gradient_cam, weighted


@held
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

    Believe:
        Believe it like gradcam, where several objects of one class are there.
    """
    job = Job("gradcam_plus_plus", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    return gradient_cam(job, layer, relu, squares)


@held
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

    Believe:
        Believe it like gradcam_plus_plus, if the plain map jumps under noise.
    """
    job = Job(
        "smooth_gradcam_plus_plus", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    drawn = Noise(job, noise, seed, samples)
    (name, grid), ops = choose_layer(model, layer), model.ops
    _, kept = job.scores((name,))

    def fold(_: int, which: range, gradients: Leaves, state: State | None) -> State:
        g = ops.double(grid.maps(ops, gradients[name]))
        return added(state, *(ops.sum(one, 0) for one in (g, g * g, g * g * g)))

    powers = [one / samples for one in job.samples(samples, drawn.noisy, fold, layers=(name,), at_input=False)]

    def maps(i: int) -> Tensor:
        return combine(ops, grid.maps(ops, kept[name][i]), *(ops.asarray(one[i : i + 1]) for one in powers))

    return finish(job, combined(job, grid, maps, relu), name, relu)


def squares(ops: Ops, activations: Tensor, g: Tensor) -> Tensor:
    """Grad-CAM++'s rule for one gradient."""
    return combine(ops, activations, g, g * g, g * g * g)


def combine(ops: Ops, activations: Tensor, g: Tensor, squared: Tensor, cubed: Tensor) -> Tensor:
    """Channels weighted by Grad-CAM++'s rule, from the gradient's powers or their means."""
    below = 2.0 * squared + ops.sum(activations, (2, 3), keepdims=True) * cubed
    alpha = quotient(ops, squared, below)
    return weighted(ops, ops.sum(alpha * ops.maximum(g, 0.0), (2, 3), keepdims=True), activations)
