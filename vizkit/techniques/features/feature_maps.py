"""What a layer makes of an image: all its channels, in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...contract.backend import Model
from ...contract.units import find_units, units_of
from ...inputs import images
from ...inputs.images import ImageInput
from ...results.features import FeatureMaps
from ...results.files import provenance


def feature_maps(
    model: Model,
    image: ImageInput,
    layer: str | None = None,
    *,
    unit: int | Sequence[int] | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> FeatureMaps:
    """The activations of a layer, every channel of it (Zeiler & Fergus 2013, arXiv 1311.2901).

    Args:
        model: a network.
        image: path, Pillow image, uint8 (H, W, 3) array, or a list of them; noise from :func:`vizkit.images.noise`.
        layer: any layer, or "output"; None takes the first convolution. Nothing after it is computed.
        unit: a channel, several in the order wanted, or None for all.
        input_range: "imagenet" (normalised) or "unit" (0..1).
        fit: "crop" or "squash", see :func:`vizkit.images.prepare`.

    Returns:
        :class:`FeatureMaps` with ``values`` (N, C, h, w), (N, C) where the layer is dense: by unit, also where the
        layer has its channels last, or tokens; of signals (N, C, 1, T), of volumes as they lie in a picture.

    Raises:
        ImageError, UnknownNameError, SettingError for a unit; ShapeError for a layer without units, LayerError where
        nothing tells which of its axes holds them.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.feature_maps(model, vizkit.images.noise(150, 180), "features.3", fit="squash").values.shape
        (1, 128, 55, 55)
    """
    layer = layer or next(iter(model.filter_layers()), next(iter(model.layers)))
    batch = images.prepare(image, model.spec, fit=fit, input_range=input_range)
    units, ops = find_units(model, layer) or units_of(model, layer), model.ops
    chosen = units.chosen(unit)
    values = ops.numpy(units.first(ops, model.forward(ops.asarray(batch.tensor), (layer,))[layer]))
    settings: dict[str, Any] = {"layer": layer, "input_range": input_range, "fit": fit}
    if unit is not None:
        values, settings = values[:, chosen], {**settings, "unit": chosen}
    return FeatureMaps(values, provenance(model, "feature_maps", settings, batch), layer, batch)
