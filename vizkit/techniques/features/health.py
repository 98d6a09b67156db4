"""The health of a network's units over a folder: dead, saturated and near-duplicate ones, and sparsity by depth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from ...contract.backend import Model
from ...contract.errors import SettingError
from ...contract.units import units_of
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import ImageInput
from ...results.files import provenance
from ...results.health import Health
from ..common.layers import by_unit
from .distinct import layers_of
from .tally import Tallies, judged


def health(
    model: Model,
    pictures: Pictures | ImageInput,
    layers: Sequence[str] | None = None,
    *,
    threshold: float = 0.95,
    saturation: float = 0.05,
    state: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> Health:
    """Dead, saturated and near-duplicate units of each layer over a folder, and its sparsity.

    A unit is **dead** when it has one value at every position of every image, zero behind a ReLU (Maas et al. 2013; Lu
    et al. 2019, arXiv 1903.06733); **always on** when, in a rectified layer, it is above zero everywhere, so that its
    ReLU never acts; **saturated** when it is not dead and more than ``saturation`` of its positions lie exactly at its
    own maximum, as behind a sigmoid or a ReLU6 at its end (Glorot & Bengio 2010). Two units are **near-duplicates**
    when Pearson's correlation of their maps, over all images and every position of a grid of at most 14 by 14 evenly
    spaced ones, is at least ``threshold``.

    Args:
        model: a network.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layers: names, in any order; None takes every layer with units but pools, dropouts and containers that repeat
            an earlier one. Reported in order of depth.
        threshold: correlation in 0..1 from which two units are near-duplicates.
        saturation: share of positions, 0..1.
        state, workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them;
            memory does not depend on the number of pictures.

    Returns:
        :class:`Health` with ``values`` (layers, 5).

    Raises:
        ImageError, UnknownNameError, LayerError, SettingError, DivergedError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> found = vizkit.health(model, vizkit.zoo.shapes.sample(12, seed=1).images, ["features.2", "features.9"])
        >>> bool((found.column("zeros") > 0.1).all())
        True
    """
    if not 0 < threshold <= 1 or not 0 < saturation < 1:
        raise SettingError(f"threshold={threshold}, saturation={saturation}: expected shares between 0 and 1.")
    wanted = layers_of(model, layers)
    tallies = Tallies({name: units_of(model, name).count for name in wanted})
    passed = stream(
        model, collect(pictures), wanted, tallies, label="health", fit=fit, input_range=input_range,
        batch_size=batch_size, state=state, workers=workers, scheduler=scheduler,
        looking=partial(by_unit, layers=wanted, whole=True),
    )  # fmt: skip
    found = tuple(judged(model, name, tallies.layers[name], threshold, saturation) for name in wanted)
    settings = {"layers": wanted, "threshold": threshold, "saturation": saturation}
    made = provenance(model, "health", settings | {"input_range": input_range, "fit": fit})
    flags = [(one.zeros, one.dead, one.always_on, one.saturated, one.duplicated) for one in found]
    values = np.array([[float(one.mean()) for one in row] for row in flags])
    return Health(values, made | {"images": passed.described()}, found)
