"""LayerCAM, of one layer or fused from several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backend import Array, Model
from ..errors import SettingError
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ._attribution import Job, Pass
from ._cam import choose_layer, finish, upsample
from ._checks import CLIPPED

GAMMA = 2.0
"""The paper's factor in the scaling of the maps to be fused."""


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
    """
    job = Job("layercam", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    asked: list[str | None] = [layer] if layer is None or isinstance(layer, str) else list(layer)
    names = [choose_layer(model, one) for one in asked]
    if not names or (len(names) > 1 and not relu):
        raise SettingError(f"layer={layer!r}, relu={relu}: give at least one layer; only clipped maps can be fused.")
    found: dict[str, list[Array]] = {name: [] for name in names}

    def take(done: Pass) -> None:
        for name in found:
            positive = np.maximum(done.gradients[name].astype(np.float64), 0)
            found[name].append((positive * done.activations[name]).sum(axis=1))

    job.passes(take, layers=tuple(found), at_input=False)
    raw = {name: np.concatenate(maps) for name, maps in found.items()}
    if len(raw) == 1:
        return finish(job, raw[names[0]], names[0], relu)
    clipped = {name: np.maximum(maps, 0) for name, maps in raw.items()}
    fused = np.max([upsample(_scaled(maps), model.spec.size) for maps in clipped.values()], axis=0)
    extra = {f"cam:{name}": maps for name, maps in clipped.items()}
    return job.result(fused, layer="+".join(names), extra=extra, cause=CLIPPED, relu=relu)


def _scaled(maps: Array) -> Array:
    high = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.tanh(GAMMA * maps / np.where(high > 0, high, 1)))
