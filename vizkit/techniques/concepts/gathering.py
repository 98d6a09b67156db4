"""The activations of many pictures, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import BackendMissingError
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import Batch, ImageInput

Named = Mapping[str, Pictures | ImageInput] | Pictures | ImageInput
"""Pictures under names, or pictures whose labels are the names."""


class Flat:
    """A layer's values of each picture, laid flat, and the pictures' places."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.places: list[int] = []
        self.found: list[Array] = []

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        self.found.append(activations[self.layer].reshape(len(places), -1).astype(np.float64))
        self.places += places

    def state(self) -> dict[str, Array]:
        return {"places": np.array(self.places, np.int64), "found": np.concatenate(self.found)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        self.places, self.found = arrays["places"].tolist(), [arrays["found"]]


def flat(model: Model, pictures: Pictures, layer: str, label: str, **options: Any) -> tuple[Array, dict[str, Any]]:
    """(N, D) float64, and for the provenance which pictures were read; options as :func:`vizkit.folders.stream` has
    them."""
    reader = Flat(layer)
    passed = stream(model, pictures, [layer], reader, label=label, **options)
    return np.concatenate(reader.found), passed.described()


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
    try:
        import scipy  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError:
        raise BackendMissingError(
            f"vizkit.{technique} needs scikit-learn and SciPy, which this Python does not have. Install them with: pip "
            "install 'vizkit[explain]'"
        ) from None
