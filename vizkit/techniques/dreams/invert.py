"""What a layer still knows of a photo: the picture that it cannot tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...contract.backend import Model
from ...results.dreams import Inversion
from ...results.files import provenance
from ...support.progress import steps_bar
from .objectives import content
from .panels import photo_and_layers
from .parametrisations import Fourier
from .regularisers import total_variation
from .render import render

ROW = 5
"""Layers that are shown when none is named."""


def invert(
    model: Model,
    image: Any,
    layer: str | Sequence[str] | None = None,
    *,
    steps: int = 400,
    lr: float = 0.05,
    tv_weight: float = 0.1,
    seed: int = 0,
    fit: str = "crop",
) -> Inversion:
    """Inversion of representations (Mahendran & Vedaldi 2014, arXiv 1412.0035).

    For each layer, :func:`render` raises ``-|a(x) - a(x0)|^2 / |a(x0)|^2 - tv_weight * TV(x)`` from noise, with Fourier
    coefficients as parametrisation and no transforms, at the network's input size.

    Args:
        model: a network.
        image: one image.
        layer: a layer's name or a list of names; None is five from the first to the last stage.
        steps, lr: of Adam.
        tv_weight: of the total variation, which stands for what natural pictures are like.
        seed: of the noise it starts from.
        fit: "crop" or "squash".

    Returns:
        :class:`Inversion` with ``values`` (L, C, H, W).

    Raises:
        UnknownNameError, SettingError, ImageError, DivergedError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> vizkit.invert(model, vizkit.images.sample(), "features.2", steps=2).values.shape
        (1, 3, 96, 96)
    """
    batch, names = photo_and_layers("invert", model, image, layer, ROW, fit)
    shape = Fourier(model.spec.size, model.spec.channels)
    found = []
    with steps_bar("invert", len(names)) as advance:
        for number, name in enumerate(names):
            aim = content(name, batch) - tv_weight * total_variation()
            found.append(render(model, aim, parametrisation=shape, transforms=(), steps=steps, lr=lr, seed=seed))
            advance(number + 1, name)
    settings = {"layers": names, "steps": steps, "lr": lr, "tv_weight": tv_weight, "seed": seed, "fit": fit}
    return Inversion(
        np.concatenate([one.values for one in found]),
        provenance(model, "invert", settings, batch),
        tuple(names),
        np.array([-one.evidence.activation[0] for one in found]),
        batch.pictures[0],
    )
