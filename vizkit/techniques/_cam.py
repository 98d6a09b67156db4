"""What all class-activation maps share: the layer, the combination of its channels, and the way up to the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..backend import Array, Layer, Model
from ..errors import LayerError
from ..ops import bilinear_taps
from ..results import Attribution
from ._attribution import Job, Pass
from ._checks import CLIPPED, FLAT_LAYER

PASSING = ("Dropout", "AdaptiveAvgPool", "Identity")
"""Kinds of layers that hand on what they get; some frameworks have them where others have nothing."""
Combine = Callable[[Array, Array], Array]
"""Activations and gradients (N, C, h, w) to maps (N, h, w)."""


def has_extent(layer: Layer) -> bool:
    """Whether a layer's output is feature maps of more than one position."""
    return len(layer.shape) == 4 and layer.shape[2] * layer.shape[3] > 1


def choose_layer(model: Model, layer: str | None) -> str:
    """The layer that is meant: ``layer``, or for None the last whose feature maps have extent (more than 1x1) and are
    no logits, one channel a class; where all are, the last of those.

    Raises UnknownNameError for one that does not exist, LayerError for one without extent.
    """
    if layer is not None and layer in model.layers and has_extent(model.layers[layer]):
        return layer
    spatial = [one for one in model.layers.values() if has_extent(one)]
    if layer is not None:
        model.check_layer(layer)
        shape = model.layers[layer].shape if layer in model.layers else model.output_shape
        last = f" The last such layer is {spatial[-1].name!r}." if spatial else ""
        raise LayerError(f"Layer {layer!r} of {model.name} gives {shape}; a map needs (N, C, h, w), h * w > 1.{last}")
    if not spatial:
        raise LayerError(f"No layer of {model.name} gives feature maps of more than 1x1; there is nothing to map.")
    own = [one for one in spatial if not one.kind.startswith(PASSING)] or spatial
    classes = model.output_shape[-1]
    return ([one for one in own if one.shape[1] != classes] or own)[-1].name


def upsample(maps: Array, size: tuple[int, int]) -> Array:
    """(..., h, w) to (..., *size), bilinear with half-pixel centres."""
    # Without matrix products: NumPy's threads for them get into the way of the frameworks' own, for milliseconds.
    for axis, target in zip((-2, -1), size, strict=True):
        low, high, share = bilinear_taps(maps.shape[axis], target)
        share = share[:, None] if axis == -2 else share
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


def weighted(weights: Array, activations: Array) -> Array:
    """``sum_k w_k A_k``: (N, C) and (N, C, h, w) give (N, h, w)."""
    return np.asarray(np.einsum("nc,nchw->nhw", weights, activations))


def raw_maps(job: Job, layer: str, combine: Combine) -> Array:
    """``combine(A, dS_t/dA)`` at a layer for all images, (N, h, w) float64; differentiates the tail alone."""
    found: list[Array] = []

    def take(done: Pass) -> None:
        activations, gradients = (part[layer].astype(np.float64) for part in (done.activations, done.gradients))
        found.append(combine(activations, gradients))

    job.passes(take, layers=(layer,), at_input=False)
    return np.concatenate(found)


def gradient_cam(job: Job, layer: str | None, relu: bool, combine: Combine) -> Attribution:
    """The whole of a method that combines activations and gradients of one layer."""
    name = choose_layer(job.model, layer)
    return finish(job, raw_maps(job, name, combine), name, relu)


def finish(
    job: Job,
    raw: Array,
    layer: str,
    relu: bool,
    *,
    extra: Mapping[str, Array] | None = None,
    cause: str = "",
) -> Attribution:
    """Maps at the layer's resolution as a result: clipped at zero where asked for, then upsampled; ``extra["cam"]`` is
    what is upsampled."""
    clipped = np.maximum(raw, 0) if relu else raw
    return job.result(
        upsample(clipped, job.model.spec.size),
        signed=not relu,
        layer=layer,
        extra={"cam": clipped, **(extra or {})},
        cause=cause or (CLIPPED if relu else FLAT_LAYER),
        relu=relu,
    )
