"""What all class-activation maps share: the layer, the combination of its channels, and the way up to the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...contract.backend import Array, Leaves, Ops, Tensor
from ...contract.grid import Grid
from ...contract.spec import InputSpec
from ...results.attribution import Attribution
from ..common.checks import CLIPPED, FLAT_LAYER
from ..common.job import Job
from ..common.layers import choose_layer as choose_layer
from ..common.maps import CAM, enlarged
from ..common.passes import VALUES, Pass

Combine = Callable[[Ops, Tensor, Tensor], Tensor]
"""Activations and gradients (N, C, h, w) to maps (N, h, w), native; a function of a module."""


def weighted(ops: Ops, weights: Tensor, activations: Tensor) -> Tensor:
    """``sum_k w_k A_k``: (N, C, 1, 1) and (N, C, h, w) give (N, h, w)."""
    return ops.sum(weights * activations, 1)


@dataclass(frozen=True)
class MapOf:
    """A reduction of a pass: ``combine(A, dS_t / dA)`` at one layer, clipped at zero where asked for, and that at the
    size of the input."""

    layer: str
    grid: Grid
    combine: Combine
    relu: bool
    spec: InputSpec

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        both = (self.grid.maps(ops, one[self.layer]) for one in (done.activations, done.gradients))
        maps = self.combine(ops, *both)
        return shown(ops, ops.maximum(maps, 0.0) if self.relu else maps, self.grid, self.spec)


def shown(ops: Ops, maps: Tensor, grid: Grid, spec: InputSpec) -> Leaves:
    """Maps at a layer's resolution, and at the input's."""
    return {CAM: maps, VALUES: enlarged(ops, maps, grid, spec)}


def cam_maps(job: Job, layer: str, grid: Grid, combine: Combine, relu: bool) -> dict[str, Array]:
    """:data:`CAM` (N, h, w) and :data:`VALUES` (N, H, W) of all images; differentiates the tail alone."""
    return job.passes(MapOf(layer, grid, combine, relu, job.model.spec), layers=(layer,), at_input=False)


def gradient_cam(job: Job, layer: str | None, relu: bool, combine: Combine) -> Attribution:
    """The whole of a method that combines activations and gradients of one layer."""
    name, grid = choose_layer(job.model, layer)
    return finish(job, cam_maps(job, name, grid, combine, relu), name, relu)


def combined(job: Job, grid: Grid, maps: Callable[[int], Tensor], relu: bool) -> dict[str, Array]:
    """As :func:`cam_maps`, of maps (1, h, w) that a method has made of each image by itself."""
    ops, spec = job.model.ops, job.model.spec
    every = [shown(ops, ops.maximum(one, 0.0) if relu else one, grid, spec) for one in map(maps, range(len(job)))]
    return {name: np.concatenate([ops.numpy(one[name]) for one in every]) for name in (CAM, VALUES)}


def by_weights(
    job: Job,
    layer: str,
    grid: Grid,
    weights: Array,
    channels: Callable[[int], Tensor],
    relu: bool,
    extra: dict[str, Array],
) -> Attribution:
    """The result of weights (N, C) of the channels (1, C, h, w) of each image."""
    ops, native = job.model.ops, job.model.ops.asarray(weights[:, :, None, None])
    maps = combined(job, grid, lambda i: weighted(ops, native[i : i + 1], channels(i)), relu)
    return finish(job, maps, layer, relu, extra=extra)


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
    grid, cam = job.model.grid(layer), maps[CAM]
    if grid is not None and grid.extent:
        cam = cam.reshape(len(cam), *grid.extent)
    return job.result(
        maps[VALUES],
        signed=not relu,
        layer=layer,
        extra={CAM: cam, **(extra or {})},
        cause=cause or (CLIPPED if relu else FLAT_LAYER),
        relu=relu,
    )
