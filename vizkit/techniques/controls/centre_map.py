"""A bump in the middle, where photographers put things."""

from __future__ import annotations

import numpy as np

from ..common.job import needs_masks
from ..common.method import Attribution, ImageInput, Model, Probe, Target, pictures_only


@needs_masks
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
