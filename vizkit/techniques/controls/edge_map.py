"""The edges of the picture, which look like many a saliency map."""

from __future__ import annotations

import numpy as np

from ..common.method import Array, Attribution, ImageInput, Model, Probe, Target, pictures_only


def edge_map(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """The edges of the picture: a control, since an edge filter looks like many a saliency map (Adebayo et al. 2018,
    arXiv 1810.03292).

    ``M = sqrt(Gx^2 + Gy^2)`` with Sobel's filters, divided by 8, over the mean of the channels in 0..1, edges repeated.

    Args:
        model, image, target, batch_size, input_range, fit: as for any technique; the network only chooses the target,
            which does not change the map.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) >= 0.

    Believe:
        Never: an edge filter, which a method that only shows edges resembles.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> float(vizkit.edge_map(model, vizkit.images.sample()).values.min()) >= 0
        True
    """
    pictures_only(model, "edge_map")
    job = Probe("edge_map", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    gray = job.batch.pictures.astype(np.float64).mean(axis=3) / 255
    return job.result(sobel(gray), cause="the picture is of one colour, so it has no edges.")


def sobel(gray: Array) -> Array:
    """Magnitude (N, H, W) of the slope of gray pictures (N, H, W), per pixel."""
    p = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = p[:, :-2, :-2] + 2 * p[:, :-2, 1:-1] + p[:, :-2, 2:] - p[:, 2:, :-2] - 2 * p[:, 2:, 1:-1] - p[:, 2:, 2:]
    right = p[:, :-2, :-2] + 2 * p[:, 1:-1, :-2] + p[:, 2:, :-2] - p[:, :-2, 2:] - 2 * p[:, 1:-1, 2:] - p[:, 2:, 2:]
    return np.asarray(np.hypot(down, right) / 8)
