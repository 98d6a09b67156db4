"""What a layer makes of a photo, exaggerated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...contract.backend import Model
from ...inputs import images as pixels
from ...results.concepts import Caricature
from ...results.files import provenance
from ...support.progress import steps_bar
from .likeness import VIEWS, Likeness, cosine_between
from .panels import photo_and_layers
from .parametrisations import Fourier
from .render import render

ROW = 4
"""Layers that are shown when none is named."""


def caricature(
    model: Model,
    image: Any,
    layer: str | Sequence[str] | None = None,
    *,
    steps: int = 128,
    lr: float = 0.05,
    cosine_power: float = 2.0,
    seed: int = 0,
    fit: str = "crop",
) -> Caricature:
    """A picture whose activations point the way the photo's do, and further (Olah et al. 2018, "The Building Blocks of
    Interpretability"): what a layer makes much of, exaggerated; what it ignores is left out.

    For each layer :func:`render` raises ``<a, a0> / |a0|^2 * max(0.1, cos(a, a0)) ** cosine_power`` from noise, with
    ``a`` the layer's values for the picture and ``a0`` those for the photo, all positions together, at the network's
    input size, under small changes of view. Lucid's power is 0; the higher, the closer to the photo.

    Args:
        model: a network.
        image: one image.
        layer: a layer's name or a list of names; None is four from the first to the last stage.
        steps, lr: of Adam.
        cosine_power: how much more the direction counts than the length.
        seed: of the noise it starts from, and of the changes of view.
        fit: "crop" or "squash".

    Returns:
        :class:`vizkit.results.Caricature` with ``values`` (L, C, H, W).

    Raises:
        UnknownNameError, SettingError, ImageError, DivergedError.

    Believe:
        It shows what the layer responds to, not what the class is decided by; a low cosine is a poor likeness.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> vizkit.caricature(model, vizkit.images.sample(), "features.9", steps=2).values.shape
        (1, 3, 96, 96)
    """
    batch, names = photo_and_layers("caricature", model, image, layer, ROW, fit)
    shape, digest = Fourier(model.spec.size, model.spec.channels), pixels.fingerprint(batch)
    found, cosine = [], []
    with steps_bar("caricature", len(names)) as advance:
        for number, name in enumerate(names):
            aim = Likeness(name, batch, False, "likeness", digest, cosine_power)
            made = render(model, aim, parametrisation=shape, transforms=VIEWS, steps=steps, lr=lr, seed=seed)
            found.append(made.values)
            cosine.append(cosine_between(model, name, pixels.normalise(made.values, model.spec), batch.tensor))
            advance(number + 1, name)
    settings = {
        "layers": names, "steps": steps, "lr": lr, "cosine_power": cosine_power, "transforms": list(map(repr, VIEWS)),
        "seed": seed, "fit": fit,
    }  # fmt: skip
    made_by = provenance(model, "caricature", settings, batch)
    return Caricature(np.concatenate(found), made_by, tuple(names), np.array(cosine), batch.pictures[0])
