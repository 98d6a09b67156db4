"""Which units of a layer are worth showing: those that real images excite most, or those that can be excited most."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...contract.units import units_of
from ...inputs import images as pixels
from ...inputs.images import ImageInput
from ...results.features import TopUnits
from ...results.files import provenance
from ...support.batching import collected
from ...support.progress import steps_bar
from ..common.layers import by_unit
from .objectives import unit
from .parametrisations import Fourier
from .render import render

BATCH = 16
"""Units that are optimised at once."""


def top_units(
    model: Model,
    images: ImageInput | None,
    layer: str,
    k: int = 10,
    *,
    steps: int = 48,
    size: int = 96,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> TopUnits:
    """The ``k`` units of a layer with the highest mean activation over all positions.

    Args:
        model: a network.
        images: real pictures, over which the mean is taken, too; None gives every unit a picture of its own and takes
            what that reaches after ``steps`` steps of :func:`render` at ``size`` pixels, as published galleries did.
        layer: any layer with units, channels over the picture or numbers (N, C).
        k: how many; fewer where the layer has fewer.
        steps, size, seed: of the pictures, when there are no images.
        batch_size: images, or units, at once.
        input_range, fit: of the images, see :func:`vizkit.images.prepare`.

    Returns:
        :class:`TopUnits` with ``values`` (k,).

    Raises:
        UnknownNameError, ShapeError for the layer, SettingError, ImageError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> len(vizkit.top_units(model, vizkit.images.sample(), "features.9", k=3).units)
        3
    """
    known = units_of(model, layer)
    if k < 1:
        raise SettingError(f"k={k}: ask for at least one unit.")
    if images is None:
        every = _optimised(model, layer, known.count, steps, size, seed, batch_size or BATCH)
    else:
        every = _responses(model, images, layer, batch_size, input_range=input_range, fit=fit)
    order = np.argsort(-every, kind="stable")[:k]
    given = None if images is None else len(images) if isinstance(images, list | tuple) else 1
    settings = {"layer": layer, "k": k, "images": given, "steps": steps, "size": size, "seed": seed}
    settings |= {} if images is None else {"input_range": input_range, "fit": fit}
    units = tuple(int(one) for one in order)
    return TopUnits(every[order], provenance(model, "top_units", settings), layer, units, every)


def _responses(model: Model, images: ImageInput, layer: str, batch_size: int | None, **reading: str) -> Array:
    listed = list(images) if isinstance(images, list | tuple) else [images]
    look = by_unit(model, [layer])

    def step(start: int, stop: int) -> Array:
        batch = pixels.prepare(listed[start:stop], model.spec, **reading)
        found = model.ops.numpy(look(model.ops.asarray(batch.tensor))[layer]).astype(np.float64)
        return np.asarray(found.reshape(*found.shape[:2], -1).mean(axis=2).sum(axis=0))

    return np.asarray(sum(collected(model, len(listed), batch_size, step, f"units of {layer}"))) / len(listed)


def _optimised(model: Model, layer: str, count: int, steps: int, size: int, seed: int, batch: int) -> Array:
    reached = []
    shape = Fourier(size, model.spec.channels)
    with steps_bar(f"units of {layer}", count) as advance:
        for start in range(0, count, batch):
            some = range(start, min(start + batch, count))
            found = render(model, unit(layer, some), parametrisation=shape, steps=steps, seed=seed)
            reached.append(found.evidence.activation)
            advance(some.stop, "")
    return np.concatenate(reached)
