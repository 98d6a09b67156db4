"""What all class-activation maps share: the layer, the combination of its channels, and the way up to the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...contract.backend import OUTPUT, Array, Leaves, Model, Ops, Tensor
from ...contract.errors import LayerError
from ...contract.grid import Grid
from ...contract.spec import InputSpec
from ...results.attribution import Attribution
from ..common.checks import CLIPPED, FLAT_LAYER
from ..common.job import Job
from ..common.maps import CAM, enlarged
from ..common.passes import VALUES, Pass

PASSING = ("Dropout", "AdaptiveAvgPool", "Identity")
"""Kinds of layers that hand on what they get; some frameworks have them where others have nothing."""
Combine = Callable[[Ops, Tensor, Tensor], Tensor]
"""Activations and gradients (N, C, h, w) to maps (N, h, w), native; a function of a module."""


def choose_layer(model: Model, layer: str | None) -> tuple[str, Grid]:
    """The layer that is meant, and how its output becomes maps: ``layer``, or for None the last whose feature maps have
    extent (more than 1x1) and are no logits, one channel a class; where all are, the last of those. Where that are
    tokens, the last normalised ones through which the classes see the picture: behind the last attention a class token
    has seen all it ever will.

    Raises UnknownNameError for one that does not exist, LayerError for one without extent.
    """
    grids = {name: grid for name in model.layers if (grid := model.grid(name)) is not None and grid.positions > 1}
    if layer is not None and layer in grids:
        return layer, grids[layer]
    if layer is not None:
        model.check_layer(layer)
        shape = model.layers[layer].shape if layer in model.layers else model.output_shape
        last = f" The last such layer is {list(grids)[-1]!r}." if grids else ""
        raise LayerError(
            f"Layer {layer!r} of {model.name} gives {shape}; a map needs (N, C, h, w) with h * w > 1, (N, h, w, C), or "
            f"tokens (N, T, C) that cover the picture.{last}"
        )
    if not grids:
        raise LayerError(f"No layer of {model.name} gives feature maps of more than 1x1; there is nothing to map.")
    own = [name for name in grids if not model.layers[name].kind.startswith(PASSING)] or list(grids)
    classes = model.output_shape[-1]
    name = ([one for one in own if grids[one].channels != classes] or own)[-1]
    if grids[name].order == "NTC" and grids[name].aside:
        name = _last_seen(model, [one for one in own if grids[one].aside]) or name
    return name, grids[name]


def _last_seen(model: Model, names: Sequence[str]) -> str | None:
    """The last of these token layers, normalised ones if there are, whose tokens of the picture move a class."""
    ops = model.ops
    tried = [name for name in names if "Norm" in model.layers[name].kind] or list(names)
    picture = np.random.default_rng(0).normal(size=(1, *model.spec.shape))
    leaves = {name: ops.zeros(model.layers[name].shape) for name in tried}
    x = ops.asarray(picture)

    def score(leaves: Leaves) -> tuple[Tensor, None]:
        return ops.sum(model.forward(x, (OUTPUT,), leaves)[OUTPUT] ** 2, 1), None

    _, gradients, _ = ops.value_and_grad(score, leaves)
    for name in reversed(tried):
        grid = model.grid(name)
        if grid is not None and float(ops.numpy(ops.sum(ops.abs(grid.maps(ops, gradients[name])), (1, 2, 3)))[0]) > 0:
            return name
    return None


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
