"""How much of each layer is active: "deeper is sparser" as a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...contract.backend import OUTPUT, Model
from ...contract.errors import SettingError
from ...inputs import images
from ...inputs.images import ImageInput
from ...results.features import ActivationStatistics
from ...results.files import provenance
from ...support import batching

if TYPE_CHECKING:
    pass


def activation_statistics(
    model: Model,
    image: ImageInput,
    layers: Sequence[str] | None = None,
    *,
    fit: str = "crop",
    input_range: str = "imagenet",
    batch_size: int | None = None,
) -> ActivationStatistics:
    """Zero activations, blank channels, mean and maximum, layer by layer, over one image or many.

    Args:
        model: a network.
        image: path, Pillow image, uint8 (H, W, 3) array, or a list of them.
        layers: names, in any order; None takes every layer with channels. They are reported in order of depth.
        fit, input_range: see :func:`vizkit.images.prepare`.
        batch_size: images in memory at once; does not change the numbers. None fits 1 GiB.

    Returns:
        :class:`ActivationStatistics` with ``values`` (layers, 4).

    Raises:
        ImageError, UnknownNameError, LayerError, SettingError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.activation_statistics(model, vizkit.images.sample(), ["features.1", "features.2"])
        >>> bool((found.column("zeros") > 0).all())
        True
    """
    known = model.layers
    for name in layers or ():
        model.check_layer(name)
    wanted = [name for name, layer in known.items() if (name in layers if layers else len(layer.shape) >= 2)]
    if layers and OUTPUT in layers:
        wanted.append(OUTPUT)
    if not wanted:
        raise SettingError(f"No layers to measure among {list(layers or ())}; `vizkit layers {model.name}` lists them.")
    batch = images.prepare(image, model.spec, fit=fit, input_range=input_range)
    sums = np.zeros((len(wanted), 4))
    counts = np.zeros((len(wanted), 2))
    sums[:, 3] = -np.inf
    least = np.full(len(wanted), np.inf)
    shapes: list[tuple[int, ...]] = [()] * len(wanted)

    def step(start: int, stop: int) -> None:
        activations = model.forward(model.ops.asarray(batch.tensor[start:stop]), wanted)
        for i, value in enumerate(activations.values()):
            found = model.ops.numpy(value)
            maps = found.reshape(found.shape[0] * found.shape[1], -1)
            zero = maps == 0
            sums[i, :3] += zero.sum(), zero.all(axis=1).sum(), maps.sum(dtype=np.float64)
            sums[i, 3] = max(sums[i, 3], maps.max())
            least[i] = min(least[i], maps.min())
            counts[i] += maps.size, len(maps)
            shapes[i] = (1, *found.shape[1:])

    batching.run(model, len(batch), batch_size, step, "activations")
    values = np.column_stack(
        [sums[:, 0] / counts[:, 0], sums[:, 1] / counts[:, 1], sums[:, 2] / counts[:, 0], sums[:, 3]]
    )
    settings = {"layers": wanted, "fit": fit, "input_range": input_range}
    made = provenance(model, "activation_statistics", settings, batch)
    return ActivationStatistics(values, made, tuple(wanted), tuple(shapes), tuple(bool(low >= 0) for low in least))
