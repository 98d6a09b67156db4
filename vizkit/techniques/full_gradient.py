"""Full-gradient decomposition."""

from __future__ import annotations

import numpy as np

from ..backend import Array, Model
from ..errors import SettingError
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import INPUT, Job, Pass
from ._cam import upsample
from ._checks import completeness

SCALES = ("channel", "none")


def full_gradient(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    scale: str = "channel",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """FullGrad (Srinivas & Fleuret 2019, arXiv 1905.00780).

    A network of affine layers, ReLUs and pools has ``S_t = sum(I * dS_t/dI) + sum_l sum(b_l * dS_t/dz_l)`` exactly,
    with ``z_l`` the output of affine layer ``l`` and ``b_l`` its constant: a bias, or a batch norm's implicit one,
    ``beta - gamma mean / sqrt(var + eps)``. The map adds up these terms where they lie: ``M = sum_c psi(I * dS_t/dI) +
    sum_l sum_c psi(b_l * dS_t/dz_l)``, ``psi`` the absolute value, rescaled, then upsampled bilinearly (half-pixel
    centres). Layers without extent (dense) are in the sum, not in the map.

    Args: as :func:`vizkit.saliency` has them, and
        scale: "channel" rescales every channel of every layer to 0..1 before the sum, as the paper does, so that the
            map counts channels; "none" keeps the terms' own size.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["completeness_error"]`` (N,), relative: large where a constant
        cannot be observed (functional layers with a bias, layers used twice) or the network has other nonlinearities.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning when the completeness error exceeds
        5 %, and of flat or non-finite maps.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.full_gradient(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    if scale not in SCALES:
        raise SettingError(f"scale={scale!r}: expected {' or '.join(map(repr, SCALES))}.")
    job = Job(
        "full_gradient", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, scale=scale
    )
    biases = model.biases()
    maps: list[Array] = []
    totals: list[Array] = []
    scores: list[Array] = []

    def take(done: Pass) -> None:
        n, at = len(done.scores), sum(map(len, scores))
        terms = [job.x[at : at + n] * done.gradients[INPUT]]
        for name, bias in biases.items():
            gradient = done.gradients[name]
            terms.append(gradient * bias.reshape(1, -1, *(1,) * (gradient.ndim - 2)))
        shown = [term for term in terms if term.ndim == 4 and term.shape[2] * term.shape[3] > 1]
        maps.append(np.sum([upsample(_psi(term, scale), model.spec.size) for term in shown], axis=0))
        totals.append(np.sum([term.reshape(n, -1).sum(axis=1) for term in terms], axis=0))
        scores.append(done.scores)

    job.passes(take, layers=tuple(biases))
    advice = (
        "Some constants are out of reach (functional layers with a bias, layers used twice), or the network is not "
        "made of affine layers, ReLUs and pools; the map lacks their part."
    )
    error = completeness(np.concatenate(totals), np.concatenate(scores), job.whats, advice)
    return job.result(np.concatenate(maps), extra={"completeness_error": error}, completeness_error=error.tolist())


def _psi(term: Array, scale: str) -> Array:
    """(N, C, h, w) to (N, h, w): absolute values, each channel rescaled to 0..1 where asked for, summed."""
    size = np.abs(term)
    if scale == "channel":
        size = size - size.min(axis=(2, 3), keepdims=True)
        high = size.max(axis=(2, 3), keepdims=True)
        size = size / np.where(high > 0, high, 1)
    return np.asarray(size.sum(axis=1))
