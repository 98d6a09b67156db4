"""What the demo looks at: pictures of known objects, or a photo; which layers and units; how long to dream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...contract.units import find_units, units_of
from ...techniques import feature_maps
from ...techniques.dreams.recipe import default_layer
from ...zoo import shapes

SHAPES = "shapes"
SMOOTH = {"size": 28, "stages": 44, "steps": 4, "scale": 1.02, "lr": 0.12, "pixel_weight": 0.0}
"""Many small enlargements with few steps between them: each enlargement smooths away the noise that Adam brings in."""
DREAMT = ("features.9", "features.16")
LATE = "features.23"
BRIEF = {"size": 64, "stages": 12, "steps": 6, "scale": 1.05, "lr": 0.2}
"""For larger networks, whose steps take long."""


@dataclass(frozen=True)
class View:
    """Pictures with the class that each is explained for (None: the network's own answer) and, where known, the mask
    (N, H, W) of the object that is meant and its name. ``origin`` says where the pictures come from."""

    pictures: Sequence[Any]
    targets: Sequence[int | None]
    origin: str
    masks: Array | None = None
    truth: Sequence[str] = ()


@dataclass(frozen=True)
class Dreams:
    """One chapter of dreams: the layer, its units, the settings."""

    layer: str
    units: tuple[int, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Particular:
    """The unit of :data:`LATE` that is most particular to a class. ``margin``: its mean highest activation on pictures
    of the class, over that on the next class; near 1 where no unit tells the class from the others."""

    label: str
    unit: int
    margin: float


@dataclass(frozen=True)
class Subject:
    """What the chapters look at. ``answers`` are explained for one class each, ``classes`` for several a picture.
    ``layers`` are an early, a middle and a late one; ``particular`` are
    units of a late layer that get a picture each; a picture shows ``channels`` at most."""

    pictures: View
    answers: View
    classes: View
    layers: Sequence[str]
    filters: Sequence[str]
    dreams: Sequence[Dreams]
    particular: Sequence[Particular] = ()
    particular_steps: int = 0
    channels: int = 64


@dataclass(frozen=True)
class Scale:
    """How much the demo does: pictures of each kind, units of a dream, pictures over which units are judged, and
    settings in place of the dreams' own."""

    pictures: int = 12
    explained: int = 6
    pairs: int = 3
    classes: int = 3
    units: int = 6
    late_steps: int = 110
    judged: int = 240
    dream: Mapping[str, Any] = field(default_factory=dict)


def of_shapes(models: Sequence[Model], seed: int, scale: Scale) -> Subject:
    """Samples of the ``shapes`` data set, with their truth and masks, for the network that was trained on others."""
    names = shapes.CLASSES
    one = shapes.sample(scale.pictures, seed)
    two = shapes.sample(scale.pairs, seed, objects=2)
    few = slice(scale.explained)
    truth = [names[label] for label in one.labels]
    own = f"vizkit.zoo.shapes.sample({scale.pictures}, seed={seed})"
    pairs = f"vizkit.zoo.shapes.sample({scale.pairs}, seed={seed}, objects=2)"
    return Subject(
        pictures=View(list(one.images), [None] * len(one), own, one.masks, truth),
        answers=View(list(one.images[few]), [None] * len(truth[few]), own, one.masks[few], truth[few]),
        classes=View(
            [image for image in two.images for _ in range(2)],
            [int(label) for label in two.labels.ravel()],
            pairs,
            two.masks.reshape(-1, *two.masks.shape[2:]),
        ),
        layers=("features.2", "features.9", "features.23"),
        filters=("features.0", "features.7"),
        dreams=tuple(_units(models[0], list(one.images), layer, SMOOTH, 0.15, scale) for layer in DREAMT),
        particular=_particular(models[0], seed, scale.judged)[: 2 * scale.units],
        particular_steps=scale.late_steps,
    )


def of_photo(models: Sequence[Model], photo: Any, scale: Scale) -> Subject:
    """A photo, explained for the network's first answers; layers are chosen by their depth."""
    model = models[0]
    best = [found.index for found in model.predict(photo, scale.classes)]
    view = View([photo] * len(best), best, "the photo")
    return Subject(
        pictures=View([photo], [None], "the photo"),
        answers=view,
        classes=view,
        layers=spread(models),
        filters=two_convolutions(model),
        dreams=(_units(model, [photo], default_layer(model), BRIEF, 1.0, scale),),
    )


def _units(
    model: Model, pictures: list[Any], layer: str, recipe: Mapping[str, Any], gradient_weight: float, scale: Scale
) -> Dreams:
    """Dreams of the units that the pictures excite most, strongest first, judged in the first backend for all."""
    values = feature_maps(model, pictures, layer).values.astype(np.float64)
    strength = np.sqrt((values**2).reshape(*values.shape[:2], -1).mean(axis=(0, 2)))
    units = tuple(int(unit) for unit in np.argsort(-strength, kind="stable")[: scale.units])
    settings = {**recipe, "activation_weight": 1.0, "gradient_weight": gradient_weight, **scale.dream}
    return Dreams(layer, units, settings)


def _particular(model: Model, seed: int, judged: int) -> list[Particular]:
    """For each class the unit of :data:`LATE` whose highest activation, on average over its pictures, most exceeds that
    on the next class."""
    drawn = shapes.sample(judged, seed)
    peaks = feature_maps(model, list(drawn.images), LATE).values.max(axis=(2, 3)).astype(np.float64)
    mean = np.stack([peaks[drawn.labels == k].mean(axis=0) for k in range(len(shapes.CLASSES))])
    out = []
    for k, label in enumerate(shapes.CLASSES):
        others = np.delete(mean, k, axis=0).max(axis=0)
        unit = int(np.argmax(mean[k] - others))
        out.append(Particular(label, unit, float(mean[k, unit] / others[unit])))
    return out


def shared_layers(models: Sequence[Model]) -> list[str]:
    """Layers with channels that every network has, in order of depth."""
    first, *others = models
    return [
        name
        for name in first.layers
        if find_units(first, name) is not None and all(name in other.layers for other in others)
    ]


def spread(models: Sequence[Model]) -> list[str]:
    """Three layers with feature maps: an early one, one halfway, a late one."""
    deep = [name for name in shared_layers(models) if units_of(models[0], name).places[0] > 1]
    if not deep:
        raise SettingError(f"{models[0].name} has no layer with feature maps that every backend can show.")
    return [deep[round(share * (len(deep) - 1))] for share in (0.1, 0.5, 0.95)]


def two_convolutions(model: Model) -> list[str]:
    """The first convolution and one halfway, of those larger than 1x1 where there are any."""
    known = model.filter_layers()
    shapes_of = model.parameter_shapes()
    large = [name for name in known if np.prod(shapes_of[f"{name}.weight"][2:]) > 1] or known
    return list(dict.fromkeys([*large[:1], *large[len(large) // 2 :][:1]]))
