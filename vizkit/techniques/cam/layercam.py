"""LayerCAM, of one layer or fused from several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...contract.grid import Grid
from ..common.checks import CLIPPED
from ..common.maps import enlarged
from ..common.method import Array, Attribution, ImageInput, Job, Leaves, Model, Ops, SettingError, Target, Tensor, held
from ..common.passes import Pass
from .combining import choose_layer, gradient_cam

GAMMA = 2.0
"""The paper's factor in the scaling of the maps to be fused."""


@held
def layercam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | Sequence[str] | None = None,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """LayerCAM (Jiang et al. 2021, IEEE TIP 30, 10.1109/TIP.2021.3089943).

    ``M = up(relu(sum_k relu(dS_t / dA_k) * A_k))``, element by element, which serves early layers too. Several layers
    are
    fused: each layer's map is scaled, ``tanh(2 M_l / max M_l)``, and the largest taken at every pixel, after
    upsampling.
    The scaling is part of the fusion: one layer's map keeps its own size.

    Args: as :func:`vizkit.gradcam` has them, but ``layer`` may be a list of layers, which needs ``relu=True``.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w), for several layers ``extra["cam:LAYER"]`` of each,
        not scaled; ``Attribution.layer`` then holds all names, joined by "+".

    Raises, example: as :func:`vizkit.gradcam`; SettingError for an empty list.

    Believe:
        Believe it in earlier layers, where gradcam's channel weights fail.
    """
    job = Job("layercam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    asked: list[str | None] = [layer] if layer is None or isinstance(layer, str) else list(layer)
    grids = dict(choose_layer(model, one) for one in asked)
    names = list(grids)
    if not names or (len(names) > 1 and not relu):
        raise SettingError(f"layer={layer!r}, relu={relu}: give at least one layer; only clipped maps can be fused.")
    if len(names) == 1:
        return gradient_cam(job, names[0], relu, positive_products)
    raw = job.passes(MapsOf(tuple(grids.items())), layers=tuple(names), at_input=False)
    clipped = {name: np.maximum(maps, 0) for name, maps in raw.items()}
    ops = model.ops
    large = [enlarged(ops, ops.asarray(_scaled(maps)), grids[name], model.spec) for name, maps in clipped.items()]
    fused = np.max([ops.numpy(one) for one in large], axis=0)
    extra = {f"cam:{name}": maps for name, maps in clipped.items()}
    return job.result(fused, layer="+".join(names), extra=extra, cause=CLIPPED, relu=relu)


@dataclass(frozen=True)
class MapsOf:
    """A reduction of a pass to the maps of several layers, by name."""

    layers: tuple[tuple[str, Grid], ...]

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        return {
            name: positive_products(ops, *(grid.maps(ops, one[name]) for one in (done.activations, done.gradients)))
            for name, grid in self.layers
        }


def positive_products(ops: Ops, activations: Tensor, gradients: Tensor) -> Tensor:
    """Each position weighted by what is positive of its gradient."""
    return ops.sum(ops.maximum(gradients, 0.0) * activations, 1)


def _scaled(maps: Array) -> Array:
    high = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.tanh(GAMMA * maps / np.where(high > 0, high, 1)))
