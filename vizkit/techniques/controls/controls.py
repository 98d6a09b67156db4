"""Maps that know nothing of the network: what every table of methods has to beat."""

from __future__ import annotations

import numpy as np

from ..common.method import Array, Attribution, ImageInput, Model, Probe, Target, pictures_only

CONTROLS = ("random_map", "edge_map", "centre_map")
"""The methods of this file. The centre map belongs to tables with masks."""
BLANK = "the picture is of one colour, so it has no edges."


def random_map(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Uniform noise in 0..1, drawn from the seed and the picture's own pixels: a control.

    Args:
        model, image, target, input_range, fit: as for any technique; the network only chooses the target, which does
            not change the map.
        seed: another seed, another map; the same picture and seed give the same map alone and in any batch.
        batch_size: images in one pass.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) in 0..1.

    Believe:
        Never: what a method must beat.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.random_map(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    job = Probe("random_map", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    keys = [int(digest[:16], 16) for digest in job.batch.digest()]
    values = np.stack([np.random.default_rng([seed, key]).random(job.size) for key in keys])
    return job.result(values, seed=seed)


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
    return job.result(sobel(gray), cause=BLANK)


def sobel(gray: Array) -> Array:
    """Magnitude (N, H, W) of the slope of gray pictures (N, H, W), per pixel."""
    p = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = p[:, :-2, :-2] + 2 * p[:, :-2, 1:-1] + p[:, :-2, 2:] - p[:, 2:, :-2] - 2 * p[:, 2:, 1:-1] - p[:, 2:, 2:]
    right = p[:, :-2, :-2] + 2 * p[:, 1:-1, :-2] + p[:, 2:, :-2] - p[:, :-2, 2:] - 2 * p[:, 1:-1, 2:] - p[:, 2:, 2:]
    return np.asarray(np.hypot(down, right) / 8)


def centre_map(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """A bump in the middle of every picture: a control, since photographers centre their objects (Zhang et al. 2016,
    arXiv 1608.00507, compare with the centre).

    ``M = exp(-(x^2 + y^2) / 2)`` with x and y from the centre, in quarters of the picture's width and height.

    Args:
        model, image, target, batch_size, input_range, fit: as for any technique; the network only chooses the target,
            which does not change the map.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W) in 0..1.

    Believe:
        Never: photographers put things in the middle.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> bool(vizkit.centre_map(model, vizkit.images.sample()).values[0, 112, 112] > 0.99)
        True
    """
    pictures_only(model, "centre_map")
    job = Probe("centre_map", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    rows, columns = (((np.arange(side) + 0.5) / side - 0.5) * 4 for side in job.size)
    return job.result(np.repeat(np.exp(-(rows[:, None] ** 2 + columns**2) / 2)[None], len(job), axis=0))
