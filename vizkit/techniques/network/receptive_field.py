"""What a unit can see, and what it looks at: theoretical and effective receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...contract.backend import Model
from ...contract.errors import SettingError
from ...contract.units import find_units
from ...inputs import images
from ...inputs.images import ImageInput
from ...results.fields import ReceptiveFields
from ...results.files import provenance
from ...support.progress import steps_bar
from ..common.checks import pictures_only
from .effective import chosen_layers, effective, place
from .receptive import fields

REACH = 1 - 0.9545
"""The share of the largest gradient above which a pixel belongs to the effective field: two standard deviations of a
Gaussian, as Luo et al. count."""


def receptive_field(
    model: Model,
    image: ImageInput | None = None,
    layer: str | Sequence[str] | None = None,
    *,
    unit: int | None = None,
    at: tuple[int, int] | None = None,
    noise: int = 8,
    seed: int = 0,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> ReceptiveFields:
    """Theoretical receptive fields (Araujo, Norris and Sim 2019, doi:10.23915/distill.00021) and effective ones
    (Luo et al. 2016, arXiv 1701.04128).

    The theoretical field follows from kernels, strides and paddings along the graph. The effective one is the mean over
    pictures of ``sum_c |d sum_k y[k, middle] / d x[c, i, j]|``, over its maximum, and its size the square root of the
    number of pixels above 4.55 % of the maximum.

    Args:
        model: a network.
        image: what the fields are drawn on: a path, Pillow image, array, or a list whose gradients are averaged too;
            None takes the bundled photo.
        layer: a layer, or several; "all" for every observable one; None for the last layer at each resolution.
        unit: a channel; None for the sum of all.
        at: row and column of the layers' maps whose field it is; None for the middle.
        noise: pictures of Gaussian noise (the normalised input's mean 0, deviation 1) to average over in place of the
            photos; 0 averages over the photos themselves.
        seed: of the noise.
        input_range: "imagenet" (normalised) or "unit" (0..1).
        fit: "crop" or "squash", see :func:`vizkit.images.prepare`.

    Returns:
        :class:`ReceptiveFields` with ``values`` (L, H, W).

    Raises:
        ImageError, UnknownNameError, LayerError, SettingError (unit, place or noise that cannot be), ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.receptive_field(model, layer="features.5", noise=2)
        >>> found.theoretical[0].text(), found.boxes[0]
        ('31 x 31', (96, 96, 127, 127))
    """
    pictures_only(model, "receptive_field")
    if noise < 0:
        raise SettingError(f"noise={noise}: give a number of noise pictures, or 0 to average over the photos.")
    names = chosen_layers(model, layer)
    batch = images.prepare(images.sample() if image is None else image, model.spec, fit=fit, input_range=input_range)
    tensor = batch.tensor
    if noise:
        tensor = np.random.default_rng(seed).normal(size=(noise, *tensor.shape[1:])).astype(np.float32)
    graph = model.graph()
    found = fields(graph)
    theoretical = tuple(found[graph.layers[name]] for name in names)
    units = tuple(place(name, find_units(model, name), at) for name in names)
    values = []
    with steps_bar("receptive fields", len(names)) as advance:
        for name, one in zip(names, units, strict=True):
            values.append(effective(model, replace(batch, tensor=tensor), name, one, unit))
            advance(len(values), name)
    maps = np.stack(values)
    height, width = tensor.shape[-2:]
    boxes = tuple(field.box(*one, (height, width)) for field, one in zip(theoretical, units, strict=True))
    sizes = tuple(float(np.sqrt((field > REACH).sum())) for field in maps)
    settings = {
        "layer": names, "unit": unit, "at": at, "noise": noise, "seed": seed, "input_range": input_range, "fit": fit,
    }  # fmt: skip
    made = provenance(model, "receptive_field", settings, batch)
    return ReceptiveFields(maps, made, names, theoretical, units, boxes, sizes, batch)
