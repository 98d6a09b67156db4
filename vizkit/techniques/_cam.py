"""What all class-activation maps share: the layer, the combination of its channels, and the way up to the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..backend import Array, Layer, Leaves, Model, Ops, Tensor
from ..errors import LayerError
from ..ops import bilinear_taps
from ..results import Attribution
from ._attribution import VALUES, Job, Pass
from ._checks import CLIPPED, FLAT_LAYER

PASSING = ("Dropout", "AdaptiveAvgPool", "Identity")
"""Kinds of layers that hand on what they get; some frameworks have them where others have nothing."""
Combine = Callable[[Ops, Tensor, Tensor], Tensor]
"""Activations and gradients (N, C, h, w) to maps (N, h, w), native; a function of a module."""
CAM = "cam"
"""The name of the maps at the layer's resolution."""


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
    """(..., h, w) to (..., *size), bilinear with half-pixel centres, on the host."""
    # Without matrix products: NumPy's threads for them get into the way of the frameworks' own, for milliseconds.
    for axis, target in zip((-2, -1), size, strict=True):
        low, high, share = bilinear_taps(maps.shape[axis], target)
        share = share[:, None] if axis == -2 else share
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


def enlarged(ops: Ops, maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h, w) to (N, *size), bilinear with half-pixel centres, on the device."""
    n, height, width = maps.shape
    return ops.reshape(ops.resize(ops.reshape(maps, (n, 1, height, width)), size), (n, *size))


def weighted(ops: Ops, weights: Tensor, activations: Tensor) -> Tensor:
    """``sum_k w_k A_k``: (N, C, 1, 1) and (N, C, h, w) give (N, h, w)."""
    return ops.sum(weights * activations, 1)


def quotient(ops: Ops, above: Tensor, below: Tensor) -> Tensor:
    """``above / below``, and zero where that is a division by zero."""
    zeros = 0.0 * below
    return ops.where(below, above / ops.where(below, below, zeros + 1.0), zeros)


@dataclass(frozen=True)
class MapOf:
    """A reduction of a pass: ``combine(A, dS_t / dA)`` at one layer, clipped at zero where asked for, and that at the
    size of the input."""

    layer: str
    combine: Combine
    relu: bool
    size: tuple[int, int]

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        maps = self.combine(ops, done.activations[self.layer], done.gradients[self.layer])
        return shown(ops, ops.maximum(maps, 0.0) if self.relu else maps, self.size)


def shown(ops: Ops, maps: Tensor, size: tuple[int, int]) -> Leaves:
    """Maps at a layer's resolution, and at the input's."""
    return {CAM: maps, VALUES: enlarged(ops, maps, size)}


def cam_maps(job: Job, layer: str, combine: Combine, relu: bool) -> dict[str, Array]:
    """:data:`CAM` (N, h, w) and :data:`VALUES` (N, H, W) of all images; differentiates the tail alone."""
    size = job.model.spec.size
    return job.passes(MapOf(layer, combine, relu, size), layers=(layer,), at_input=False)


def gradient_cam(job: Job, layer: str | None, relu: bool, combine: Combine) -> Attribution:
    """The whole of a method that combines activations and gradients of one layer."""
    name = choose_layer(job.model, layer)
    return finish(job, cam_maps(job, name, combine, relu), name, relu)


def combined(job: Job, maps: Callable[[int], Tensor], relu: bool) -> dict[str, Array]:
    """As :func:`cam_maps`, of maps (1, h, w) that a method has made of each image by itself."""
    ops, size = job.model.ops, job.model.spec.size
    every = [shown(ops, ops.maximum(one, 0.0) if relu else one, size) for one in map(maps, range(len(job)))]
    return {name: np.concatenate([ops.numpy(one[name]) for one in every]) for name in (CAM, VALUES)}


def finish(
    job: Job,
    maps: Mapping[str, Array],
    layer: str,
    relu: bool,
    *,
    extra: Mapping[str, Array] | None = None,
    cause: str = "",
) -> Attribution:
    """The result of what :func:`cam_maps` or :func:`combined` gave."""
    return job.result(
        maps[VALUES],
        signed=not relu,
        layer=layer,
        extra={CAM: maps[CAM], **(extra or {})},
        cause=cause or (CLIPPED if relu else FLAT_LAYER),
        relu=relu,
    )
