"""The cells of a study: one network in one framework, one technique, one image; each a file that is written whole."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ... import results
from ...contract.backend import Array, registered
from ...contract.errors import WeightsError
from ...support.files import write_npz
from ...zoo.catalog import CATALOG
from ...zoo.download.digest import file_hash
from . import machine
from .plan import FEATURE_MAPS, Plan, weights_name

JUDGE = "torch"
"""The backend whose float64 results judge the others' float32."""
STORE = "imagenet"
"""Weights of a framework's store, whose content only the loaded network can tell."""
FOLDER = "cells"
UNREADABLE = (OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError)


@dataclass(frozen=True)
class Cell:
    """One cell. ``identity`` is everything that determines its numbers and its measurements, as JSON."""

    model: str
    weights: str
    backend: str
    dtype: str
    technique: str
    image: str
    path: Path
    identity: str

    @property
    def file(self) -> str:
        """The cell's file in the folder of cells: readable, with the hash of its identity."""
        digest = hashlib.sha256(self.identity.encode()).hexdigest()[:16]
        parts = [self.model, self.backend, *(["float64"] * (self.dtype == "float64")), self.technique]
        stem = "-".join([*parts, Path(self.image).stem])
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', stem)}-{digest}.npz"

    @property
    def process(self) -> tuple[str, str, str, str, str]:
        """Cells that agree in this are computed in one process."""
        return self.model, self.weights, self.backend, self.dtype, self.technique

    @property
    def network(self) -> tuple[str, str]:
        """Model and weights."""
        return self.model, self.weights

    def named(self) -> dict[str, str]:
        """The cell's own columns in a report."""
        own = {name: getattr(self, name) for name in ("model", "weights", "backend", "dtype", "technique", "image")}
        bundled = self.weights == STORE and is_bundled(self.model)
        return own | {"weights": "bundled" if bundled else weights_name(self.weights)}


def listed(plan: Plan) -> list[Cell]:
    """Every cell of the study, the judge's after those that it judges; cells of one process follow each other."""
    sides = [(backend, "float32") for backend in plan.backend]
    if has_judge(plan):
        sides.append((JUDGE, "float64"))
    return [
        _cell(plan, model, weights, backend, dtype, technique, i)
        for model, weights in plan.networks
        for technique in plan.technique
        for backend, dtype in sides
        for i in range(len(plan.image))
    ]


def has_judge(plan: Plan) -> bool:
    """Whether the study has a float64 reference: asked for, and PyTorch is installed."""
    return plan.judge and JUDGE in registered() and registered()[JUDGE].installed()


def _cell(plan: Plan, model: str, weights: str, backend: str, dtype: str, technique: str, i: int) -> Cell:
    made: dict[str, Any] = {
        "model": model,
        "weights": weights_identity(model, weights),
        "backend": backend,
        "dtype": dtype,
        "technique": technique,
        "settings": dict(plan.settings.get(technique, {})),
        "layers": plan.layers if technique == FEATURE_MAPS else None,
        "image": digest(plan.image[i]),
        "image_name": plan.names[i],
        **{key: getattr(plan, key) for key in ("target", "fit", "input_range", "seed", "device", "threads")},
        "repeats": plan.repeats if dtype == "float32" else 1,
        "versions": machine.versions(backend),
        "machine": [machine.processor(), machine.hardware()["cores"]],
    }
    identity = json.dumps(made, sort_keys=True)
    return Cell(model, weights, backend, dtype, technique, plan.names[i], plan.image[i], identity)


def is_file(weights: str) -> bool:
    """Whether the weights are a file, not the name of a store or a seed."""
    return weights != STORE and not weights.startswith("random:")


def is_bundled(model: str) -> bool:
    """Whether the model's own weights come with vizkit."""
    return model in CATALOG and bool(CATALOG[model].bundled)


def weights_identity(model: str, weights: str) -> str:
    """What determines the weights' content as far as it can be told without the network: a file's SHA-256."""
    if weights == STORE and is_bundled(model):
        return digest(Path(str(files("vizkit.zoo") / "data" / CATALOG[model].bundled)))
    if not is_file(weights):
        return weights
    try:
        return digest(Path(weights))
    except OSError as error:
        raise WeightsError(f"The weights '{weights}' cannot be read: {error.strerror}.") from None


@lru_cache(maxsize=256)
def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return file_hash(path, "sha256")


def write(path: Path, arrays: Mapping[str, Array], made: Mapping[str, Any]) -> None:
    """A finished cell, whole or not at all."""
    write_npz(path, {**arrays, results.PROVENANCE: json.dumps(made)}, compressed=True)


def read(path: Path) -> dict[str, Any] | None:
    """What a finished cell says about itself; None where there is none, or a damaged one."""
    try:
        with np.load(path) as arrays:
            made: dict[str, Any] = json.loads(str(arrays[results.PROVENANCE]))
    except UNREADABLE:
        return None
    return made
