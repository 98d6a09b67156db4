"""A layer's weights, as a picture and as numbers."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import LayerError, SettingError
from ...results.features import Filters
from ...results.files import provenance


def filters(model: Model, layer: str | None = None, *, channel: int | str | None = None, limit: int = 64) -> Filters:
    """The weights of a convolution as one grid of pictures.

    Args:
        model: a network.
        layer: a layer with convolution weights; None takes the first.
        channel: "colour" (three input channels only), an input channel's index, or "mean" (the mean of |w| over the
            input channels). None means "colour" where there are three, else "mean".
        limit: how many filters the picture shows at most; the figure says how many more there are. ``values`` has all.

    Returns:
        :class:`Filters` with ``values`` (O, I, kH, kW), float32.

    Raises:
        UnknownNameError or LayerError for the layer, SettingError for the channel.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("resnet18", weights="random:7")
        >>> vizkit.filters(model).values.shape
        (64, 3, 7, 7)
    """
    known = model.filter_layers()
    if layer is None:
        if not known:
            raise LayerError(f"{model.name} has no convolutions, so there are no filters to show.")
        layer = known[0]
    values = model.weight(layer)
    if values.ndim == 2:
        raise LayerError(f"Layer {layer!r} of {model.name} is dense, {values.shape}; its rows are no pictures.")
    channels = values.shape[1]
    if channel is None:
        channel = "colour" if channels == 3 else "mean"
    if isinstance(channel, str) and channel.isdigit():
        channel = int(channel)
    if channel == "colour" and channels != 3:
        raise SettingError(
            f"channel='colour' needs 3 input channels; {layer!r} has {channels}. Use 'mean' or an index."
        )
    if isinstance(channel, str) and channel not in ("colour", "mean"):
        raise SettingError(f"channel={channel!r}: expected 'colour', 'mean' or an input channel 0 to {channels - 1}.")
    if isinstance(channel, int) and not 0 <= channel < channels:
        raise SettingError(f"channel={channel}: {layer!r} has input channels 0 to {channels - 1}.")
    if limit < 1:
        raise SettingError(f"limit={limit}: show at least one filter.")
    settings = {"layer": layer, "channel": channel, "limit": limit}
    return Filters(values, provenance(model, "filters", settings), layer, channel, limit)


def pictures(result: Filters) -> tuple[Array, bool]:
    """The filters shown, scaled to 0..1: (n, kH, kW, 3) each on its own scale in colour, or (n, kH, kW) on one common
    scale; and whether they are in colour."""
    shown = result.values[: result.limit]
    if result.channel == "colour":
        low = shown.min(axis=(1, 2, 3), keepdims=True)
        span = shown.max(axis=(1, 2, 3), keepdims=True) - low
        return np.moveaxis((shown - low) / np.where(span > 0, span, 1), 1, -1), True
    return (np.abs(shown).mean(axis=1) if result.channel == "mean" else shown[:, int(result.channel)]), False
