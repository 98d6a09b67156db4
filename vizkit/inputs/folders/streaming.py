"""Thousands of images through a network, in memory that does not depend on their number; stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...contract.backend import Array, Model, Tensor
from ...contract.errors import DivergedError, ImageError, SettingError
from ...support import batching
from ...support.files import replacing
from ..images import Batch
from ..pictures import Pictures, Skipped
from .loading import Loader

SAVE_EVERY = 8
"""Batches between two writings of the state."""
HEADER = "vizkit"
"""The entry of the state file that says, as JSON, what it belongs to."""


Look = Callable[[Tensor], Mapping[str, Tensor]]


class Reader(Protocol):
    """What gathers numbers from the activations of one batch after the other."""

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        """The activations (n, C, ...) of the images at these places of the list."""

    def state(self) -> dict[str, Array]:
        """All that was gathered, as arrays."""

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what :meth:`state` gave."""


@dataclass(frozen=True)
class Passed:
    """A finished run: how many images were read, the others, and the SHA-256 over all pictures as the network saw them
    (of each digest with the one before, so that it can be gone on with)."""

    read: int
    skipped: tuple[Skipped, ...]
    sha256: str
    resumed_at: int = 0

    def described(self) -> dict[str, Any]:
        """For the provenance."""
        skipped = [{"name": one.name, "reason": one.reason} for one in self.skipped]
        return {"count": self.read, "sha256": self.sha256, "skipped": skipped}


@dataclass
class _Progress:
    done: int = 0
    read: int = 0
    sha256: str = ""


def stream(
    model: Model,
    pictures: Pictures,
    layers: Sequence[str],
    reader: Reader,
    *,
    label: str,
    fit: str = "crop",
    input_range: str = "imagenet",
    batch_size: int | None = None,
    state: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    save_every: int = SAVE_EVERY,
    look: Look | None = None,
) -> Passed:
    """Run all pictures through the network up to ``layers`` and hand each batch to ``reader``.

    Files are read by threads while the network computes. Those that cannot be read are left out and listed. With
    ``state``, what was gathered is written to that file every ``save_every`` batches and at the end, whole or not at
    all; a later call with the same file goes on from there. ``settings`` are what else the state depends on. ``look``
    gives what is kept of a batch's tensor (N, C, H, W), by layer; None is a forward pass.

    Raises:
        ImageError when no picture can be read, SettingError for a state of another network, folder or setting,
        DivergedError for an activation that is not finite.
    """
    for name in layers:
        model.check_layer(name)
    size = batching.fitting(model) if batch_size is None else batch_size
    at = _Progress()
    skipped: list[Skipped] = list(pictures.skipped)
    file = None if state is None else Path(state)
    asked = {} if file is None else _belongs(model, pictures, layers, fit, input_range, settings or {})
    if file is not None and file.exists():
        at = _resume(file, asked, reader, skipped)
    first, unsaved = at.done, 0

    def step(start: int, stop: int) -> None:
        nonlocal unsaved
        places, batch, failed = loader.fetch(first + start, first + stop)
        if batch is not None:
            x = model.ops.asarray(batch.tensor)
            kept = model.forward(x, tuple(layers)) if look is None else look(x)
            activations = {name: model.ops.numpy(value) for name, value in kept.items()}
            _check(model, batch, activations)
            reader.take(places, batch, activations)
            for one in batch.digest():
                at.sha256 = hashlib.sha256((at.sha256 + one).encode()).hexdigest()
            at.read += len(places)
        skipped.extend(failed)
        at.done = first + stop
        unsaved += 1
        if file is not None and unsaved >= save_every:
            _save(file, asked, at, reader, skipped)
            unsaved = 0

    with Loader(pictures, model.spec, fit=fit, input_range=input_range, ahead=size) as loader:
        batching.run(model, len(pictures) - first, batch_size, step, label)
    if file is not None and unsaved:
        _save(file, asked, at, reader, skipped)
    if not at.read:
        raise ImageError(f"None of the {len(pictures)} images can be read. The first: {skipped[0].reason}")
    return Passed(at.read, tuple(skipped), at.sha256, first)


def _check(model: Model, batch: Batch, activations: Mapping[str, Array]) -> None:
    for layer, found in activations.items():
        finite = np.isfinite(found.reshape(len(found), -1)).all(axis=1)
        if not finite.all():
            name = batch.names[int(np.argmin(finite))]
            raise DivergedError(
                f"Layer {layer!r} of {model.name} gives values that are not finite for {name}. Look at the network's "
                "parameters, or take dtype='float64'."
            )


def _belongs(
    model: Model, pictures: Pictures, layers: Sequence[str], fit: str, input_range: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What a state depends on, each under the words of the message that refuses another."""
    return {
        "network": [model.name, model.backend, model.dtype],
        "weights": model.sha256(),
        "folder of images": pictures.fingerprint(),
        "layers": list(layers),
        "reading of the images": [fit, input_range],
        "settings": json.loads(json.dumps(dict(settings))),
    }


def _save(file: Path, asked: Mapping[str, Any], at: _Progress, reader: Reader, skipped: Sequence[Skipped]) -> None:
    header = {"asked": dict(asked), "done": at.done, "read": at.read, "sha256": at.sha256}
    header["skipped"] = [[one.name, one.reason] for one in skipped]
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **reader.state(), **{HEADER: np.array(json.dumps(header))})


def _resume(file: Path, asked: Mapping[str, Any], reader: Reader, skipped: list[Skipped]) -> _Progress:
    try:
        with np.load(file) as arrays:
            header = json.loads(str(arrays[HEADER]))
            found = {name: arrays[name] for name in arrays.files if name != HEADER}
        earlier = header["asked"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SettingError(
            f"'{file}' is no state that vizkit wrote, or is damaged ({error}). Give another file, or remove it."
        ) from None
    for what, now in asked.items():
        if earlier.get(what) != now:
            raise SettingError(
                f"'{file}' is the state of another run: the {what} changed since, so it cannot be gone on with. "
                "Remove the file to start anew, or give another."
            )
    reader.restore(found)
    skipped[:] = [Skipped(*one) for one in header["skipped"]]
    return _Progress(header["done"], header["read"], header["sha256"])
