"""What a layer makes of a photo, exaggerated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.backend import Model, Tensor
from ...contract.errors import SettingError
from ...inputs import images as pixels
from ...results.concepts import Caricature
from ...results.files import provenance
from ...support.progress import steps_bar
from ..common.checks import pictures_only
from .objectives import FLOOR, Match, Seen
from .panels import panels, spread
from .parametrisations import Fourier
from .render import render
from .transforms import Jitter, Pad, Rotate, Scale, Transform

VIEWS: tuple[Transform, ...] = (Pad(4), Jitter(8), Scale(0.95, 1.05), Rotate(3.0))
"""Changes of view that leave the size, and nearly the place: the photo's activations are compared position by
position."""
ROW = 4
"""Layers that are shown when none is named."""


@dataclass(frozen=True, eq=False)
class Likeness(Match):
    """``<a, a0> / |a0|^2 * max(0.1, cos(a, a0)) ** power`` with ``a0`` a layer's values for a photo, all positions
    together."""

    power: float = 2.0

    def activates(self) -> bool:
        return True

    def value(self, seen: Seen) -> Tensor:
        ops, found, wanted = seen.ops, *self.both(seen)
        axes = tuple(range(1, len(found.shape)))
        own, length = ops.sum(found * found, axes) + FLOOR, ops.sum(wanted * wanted, axes) + FLOOR
        dot = ops.sum(found * wanted, axes)
        return dot / length * ops.maximum(dot / ops.sqrt(own * length), 0.1) ** self.power

    def __repr__(self) -> str:
        return f"{self.name}(layer={self.layer!r}, reference={self.digest!r}, power={self.power})"


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
    pictures_only(model, "caricature")
    names = [layer] if isinstance(layer, str) else list(layer or spread(panels([model]), ROW))
    for name in names:
        model.check_layer(name)
    batch = pixels.prepare(image, model.spec, fit=fit)
    if len(batch) != 1:
        raise SettingError(f"caricature() takes one image; got {len(batch)}.")
    shape, digest = Fourier(model.spec.size, model.spec.channels), pixels.fingerprint(batch)
    found, cosine = [], []
    with steps_bar("caricature", len(names)) as advance:
        for number, name in enumerate(names):
            aim = Likeness(name, batch, False, "likeness", digest, cosine_power)
            made = render(model, aim, parametrisation=shape, transforms=VIEWS, steps=steps, lr=lr, seed=seed)
            found.append(made.values)
            cosine.append(_cosine(model, name, pixels.normalise(made.values, model.spec), batch.tensor))
            advance(number + 1, name)
    settings = {
        "layers": names, "steps": steps, "lr": lr, "cosine_power": cosine_power, "transforms": list(map(repr, VIEWS)),
        "seed": seed, "fit": fit,
    }  # fmt: skip
    made_by = provenance(model, "caricature", settings, batch)
    return Caricature(np.concatenate(found), made_by, tuple(names), np.array(cosine), batch.pictures[0])


def _cosine(model: Model, layer: str, *inputs: Any) -> float:
    a, b = (model.ops.numpy(model.forward(model.ops.asarray(x), (layer,))[layer]).ravel() for x in inputs)
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / ((np.linalg.norm(a) * np.linalg.norm(b)) or 1.0))
