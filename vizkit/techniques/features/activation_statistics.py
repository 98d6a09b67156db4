"""How much of each layer is active: "deeper is sparser" as a table and a plot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...contract.backend import OUTPUT, Model
from ...contract.errors import SettingError
from ...inputs import images
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import ImageInput
from ...results.features import ActivationStatistics
from ...results.files import provenance
from ...support import batching
from ..common.layers import by_unit
from .activity import Activity


def activation_statistics(
    model: Model,
    image: Pictures | ImageInput,
    layers: Sequence[str] | None = None,
    *,
    state: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    fit: str = "crop",
    input_range: str = "imagenet",
    batch_size: int | None = None,
) -> ActivationStatistics:
    """Zero activations, blank channels, mean and maximum, layer by layer, over one image or many.

    Args:
        model: a network.
        image: path, Pillow image, uint8 (H, W, 3) array, or a list of them; or a folder of any size, of which what
            cannot be read is named in the provenance.
        layers: names, in any order; None takes every layer with channels. They are reported in order of depth.
        state, workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them.

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
        raise SettingError(f"No layers to measure among {list(layers or ())}; {model.listing} lists them.")
    reader, settings = Activity(wanted), {"layers": wanted, "fit": fit, "input_range": input_range}
    options: dict[str, Any] = {"fit": fit, "input_range": input_range}
    if isinstance(image, Pictures) or is_folder(image) or any(one is not None for one in (state, workers, scheduler)):
        more: dict[str, Any] = {"batch_size": batch_size, "state": state, "workers": workers, "scheduler": scheduler}
        looking = partial(by_unit, layers=wanted, whole=True)
        passed = stream(model, collect(image), wanted, reader, label="activations", looking=looking, **options, **more)
        made = provenance(model, "activation_statistics", settings) | {"images": passed.described()}
    else:
        batch, look = images.prepare(image, model.spec, **options), by_unit(model, wanted, whole=True)

        def step(start: int, stop: int) -> None:
            kept = look(model.ops.asarray(batch.tensor[start:stop]))
            reader.take(range(start, stop), batch, {name: model.ops.numpy(one) for name, one in kept.items()})

        batching.run(model, len(batch), batch_size, step, "activations")
        made = provenance(model, "activation_statistics", settings, batch)
    shapes = tuple((1, *model.layer(name).shape[1:]) for name in wanted)
    return ActivationStatistics(reader.values(), made, tuple(wanted), shapes, tuple((reader.low >= 0).tolist()))


def is_folder(image: Any) -> bool:
    """Whether these are pictures in a folder, that are read as they are needed."""
    return isinstance(image, str | os.PathLike) and Path(image).is_dir()
