"""The activations of many pictures, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import BackendMissingError
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import Batch, ImageInput
from ...support.packages import needed
from ...support.spill import Spilled

Named = Mapping[str, Pictures | ImageInput] | Pictures | ImageInput
"""Pictures under names, or pictures whose labels are the names."""
PLACES = ":places"
"""Under this name lie the pictures' places; no layer has such a name."""


class Gathered(Spilled):
    """A layer's values of each picture, (N, ...) float64, and the pictures' places; on disk where they are many."""

    def __init__(self, layer: str) -> None:
        super().__init__(PLACES, layer)
        self.layer = layer

    def fresh(self) -> Gathered:
        return Gathered(self.layer)

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        self.rows[PLACES].append(np.array(places, np.int64))
        self.rows[self.layer].append(activations[self.layer].astype(np.float64))


def gathered(
    model: Model, pictures: Pictures, layer: str, label: str, **options: Any
) -> tuple[Array, list[int], dict[str, Any]]:
    """A layer's values of each picture, (N, ...) float64, the pictures' places, and for the provenance which were read;
    options as :func:`vizkit.folders.stream` has them."""
    reader = Gathered(layer)
    passed = stream(model, pictures, [layer], reader, label=label, **options)
    found = reader.state()
    return found[layer], found[PLACES].tolist(), passed.described()


def flat(model: Model, pictures: Pictures, layer: str, label: str, **options: Any) -> tuple[Array, dict[str, Any]]:
    """(N, D) float64, and for the provenance which pictures were read; options as :func:`vizkit.folders.stream` has
    them."""
    found, _, described = gathered(model, pictures, layer, label, **options)
    return found.reshape(len(found), -1), described


def named(given: Named) -> dict[str, Pictures]:
    """Pictures by name: as given, or by their labels; those without a label are "concept"."""
    if isinstance(given, Mapping):
        return {str(name): collect(one) for name, one in given.items()}
    every = collect(given)
    labels = [label or "concept" for label in every.labels]
    found = {}
    for name in dict.fromkeys(labels):
        found[name] = every.part([k for k, label in enumerate(labels) if label == name])
    return found


def needs_sklearn(technique: str) -> None:
    """BackendMissingError where scikit-learn and SciPy are not there."""
    for package in ("scipy", "sklearn"):
        needed(package, f"vizkit.{technique} needs {package}", "vizkit[explain]", BackendMissingError)
