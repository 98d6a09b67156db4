"""Thousands of images through a network, in memory that does not depend on their number; stopped and gone on with."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...contract.backend import Array, Model, Tensor
from ...contract.errors import DivergedError, ImageError
from ...support import batching
from ...support.crew import Team, crew
from ...support.progress import Advance, steps_bar
from ..images import Batch
from ..pictures import Pictures, Skipped
from .loading import Loader
from .parts import Part, Parts, Reader, Total, shard_length, shards

Look = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Spent:
    """Seconds, of all workers together: of reading and computing, and those of them in which a network waited for
    pictures."""

    seconds: float = 0.0
    waited: float = 0.0

    @property
    def share(self) -> float:
        """Of the time that the network waited, 0..1."""
        return self.waited / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Passed:
    """A finished run: how many images were read, the others, and the SHA-256 over all pictures as the network saw them
    (of each digest with the one before); ``resumed_at`` pictures were read by an earlier run. ``spent`` is the time of
    this one, no part of what was found."""

    read: int
    skipped: tuple[Skipped, ...]
    sha256: str
    resumed_at: int = field(default=0, compare=False)
    spent: Spent = field(default=Spent(), compare=False)

    def described(self) -> dict[str, Any]:
        """For the provenance."""
        skipped = [{"name": one.name, "reason": one.reason} for one in self.skipped]
        return {"count": self.read, "sha256": self.sha256, "skipped": skipped}


_runs: ContextVar[list[Passed] | None] = ContextVar("_runs", default=None)


@contextmanager
def watched() -> Iterator[list[Passed]]:
    """A list to which every run is added that ends in the block, for whoever calls what has runs within."""
    runs: list[Passed] = []
    before = _runs.set(runs)
    try:
        yield runs
    finally:
        _runs.reset(before)


@dataclass(frozen=True)
class Way:
    """What the shards of a run have in common; it is sent to workers. ``looking`` makes of a model what is kept of a
    batch, None of a forward pass up to ``layers``."""

    reader: Reader
    layers: tuple[str, ...]
    looking: Callable[[Model], Look] | None
    fit: str
    input_range: str
    batch_size: int

    def look(self, model: Model) -> Look:
        if self.looking is not None:
            return self.looking(model)
        return lambda x: model.forward(x, self.layers)

    def loader(self, model: Model, pictures: Pictures) -> Loader:
        return Loader(pictures, model.spec, fit=self.fit, input_range=self.input_range, ahead=self.batch_size)


@dataclass(frozen=True)
class Task:
    """A shard for a worker: the way, its pictures and their places; ``home`` is where their paths begin, ``parts``
    where the part is written, None for one that is sent back."""

    way: Way
    shard: int
    places: range
    pictures: Pictures
    home: str
    parts: Parts | None

    def found(self) -> Pictures:
        """The pictures by paths that hold wherever the worker is."""
        items = [Path(self.home, one) if isinstance(one, Path) else one for one in self.pictures.items]
        return replace(self.pictures, items=tuple(items))

    def told(self, skipped: Skipped) -> Skipped:
        """The reason with the path as it was given."""
        item = self.pictures.items[self.pictures.names.index(skipped.name)]
        if not isinstance(item, Path):
            return skipped
        return replace(skipped, reason=skipped.reason.replace(str(Path(self.home, item)), str(item), 1))


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
    workers: int | None = None,
    scheduler: str | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    looking: Callable[[Model], Look] | None = None,
) -> Passed:
    """Run all pictures through the network up to ``layers`` and hand each batch to a reader.

    The list is cut into shards of 32 to 256 pictures, by its length alone. What a shard gave is a part, and ``reader``
    takes up the parts in the order of the list, so that its numbers are the same bit for bit wherever and whenever the
    shards were done. Files are read by threads while the network computes. Those that cannot be read are left out and
    listed.

    Args:
        model: a network.
        pictures: what is read; see :func:`vizkit.folders.collect`.
        layers: whose activations the reader gets.
        reader: an empty one; it has everything at the end.
        label: of the progress bar.
        fit, input_range: see :func:`vizkit.images.prepare`.
        batch_size: images in one pass, which never holds those of two shards; None fits the memory.
        state: a folder in which the parts are kept, each written whole; a later call goes on from there. A reader's
            sums are kept in one file in place of their parts.
        workers: processes on this machine; None reads and computes in this one.
        scheduler: address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers see the same files.
        settings: what else the state depends on.
        looking: gives, of a model, a function from a batch's tensor (N, C, H, W) to what is kept of it, by name; None
            is a forward pass. It and the reader are sent to workers, so that they are no closures.

    Returns:
        :class:`Passed`.

    Raises:
        ImageError when no picture can be read, SettingError for a state of another network, folder or setting,
        DivergedError for an activation that is not finite; what :func:`vizkit.support.crew.crew` raises.
    """
    for name in layers:
        model.check_layer(name)
    size = batching.fitting(model) if batch_size is None else batch_size
    way = Way(reader.fresh(), tuple(layers), looking, fit, input_range, size)
    total, cuts, spent = Total(reader, list(pictures.skipped)), shards(len(pictures)), Spent()
    with (
        _folder(
            state, len(cuts), bool(workers or scheduler), lambda: _belongs(model, pictures, way, settings)
        ) as parts,
        crew(model, workers, scheduler) as team,
    ):
        if parts is not None:
            parts.resume(total)
        missing = list(range(len(cuts))) if parts is None else parts.missing(total)
        where = partial(_there, team, None if scheduler else parts) if parts and not team.here else _here
        for shard, part, one in where(model, pictures, way, cuts, missing, label):
            spent = Spent(spent.seconds + one.seconds, spent.waited + one.waited)
            if part is not None and parts is not None:
                parts.write(shard, part)
            elif part is not None:
                total.add(part)
            if parts is not None:
                parts.take_up(total)
    if not total.read:
        raise ImageError(f"None of the {len(pictures)} images can be read. The first: {total.skipped[0].reason}")
    resumed = len(pictures) - sum(len(cuts[shard]) for shard in missing)
    passed = Passed(total.read, tuple(total.skipped), total.sha256, resumed, spent)
    if (runs := _runs.get()) is not None:
        runs.append(passed)
    return passed


def _here(
    model: Model, pictures: Pictures, way: Way, cuts: Sequence[range], missing: Sequence[int], label: str
) -> Iterator[tuple[int, Part | None, Spent]]:
    """The shards in this process, in order; files of the next are read while the network computes this."""
    look = way.look(model)
    with way.loader(model, pictures) as loader, model.held(), steps_bar(label, len(pictures)) as advance:
        for shard in missing:
            yield shard, *gather(model, way, look, loader, cuts[shard], cuts[shard].start, advance)


def _there(
    team: Team, parts: Parts | None, model: Model, pictures: Pictures, way: Way, cuts: Sequence[range],
    missing: Sequence[int], label: str,
) -> Iterator[tuple[int, Part | None, Spent]]:  # fmt: skip
    """The shards by workers, as they are finished; None for one that its worker has written into the folder, which is
    only done on this machine, for a cluster's machines need not share one."""
    home, done = os.getcwd(), len(pictures) - sum(len(cuts[shard]) for shard in missing)

    def tasks() -> Iterator[tuple[int, Task]]:
        for shard in missing:
            some = pictures.part(slice(cuts[shard].start, cuts[shard].stop))
            yield shard, Task(way, shard, cuts[shard], some, home, parts)

    with steps_bar(label, len(pictures)) as advance:
        for shard, (part, spent) in team.run(work, tasks()):
            done += len(cuts[shard])
            advance(done, "")
            yield shard, part, spent


def work(models: Sequence[Model], task: Task) -> tuple[Part | None, Spent]:
    """A shard in a worker."""
    model = models[0]
    with task.way.loader(model, task.found()) as loader:
        part, spent = gather(model, task.way, task.way.look(model), loader, task.places, 0)
    part = replace(part, skipped=tuple(task.told(one) for one in part.skipped))
    if task.parts is None:
        return part, spent
    task.parts.write(task.shard, part)
    return None, spent


def gather(
    model: Model, way: Way, look: Look, loader: Loader, places: range, first: int, advance: Advance | None = None
) -> tuple[Part, Spent]:
    """A shard's pictures through the network: those at ``places`` of the list, which the loader has from ``first``."""
    reader, digests, skipped = way.reader.fresh(), [], []
    began, waited = time.perf_counter(), loader.waited

    def step(start: int, stop: int) -> None:
        at, batch, failed = loader.fetch(first + start, first + stop)
        if batch is not None:
            kept = look(model.ops.asarray(batch.tensor))
            activations = {name: model.ops.numpy(value) for name, value in kept.items()}
            _check(model, batch, activations)
            reader.take([place - first + places.start for place in at], batch, activations)
            digests.extend(batch.digest())
        skipped.extend(failed)
        if advance is not None:
            advance(places.start + stop, "")

    batching.run(model, len(places), way.batch_size, step, "")
    part = Part(reader.state() if digests else {}, tuple(digests), tuple(skipped))
    return part, Spent(time.perf_counter() - began, loader.waited - waited)


def _check(model: Model, batch: Batch, activations: Mapping[str, Array]) -> None:
    for layer, found in activations.items():
        finite = np.isfinite(found.reshape(len(found), -1)).all(axis=1)
        if not finite.all():
            name = batch.names[int(np.argmin(finite))]
            raise DivergedError(
                f"Layer {layer!r} of {model.name} gives values that are not finite for {name}. Look at the network's "
                "parameters, or take dtype='float64'."
            )


@contextmanager
def _folder(
    state: str | os.PathLike[str] | None, count: int, apart: bool, asked: Callable[[], Mapping[str, Any]]
) -> Iterator[Parts | None]:
    """Where parts lie: in the state's folder; else, where workers finish them in any order, in a temporary one."""
    if state is not None:
        parts = Parts(Path(state), count, keep=True, asked=asked())
        parts.begin()
        yield parts
    elif apart:
        with tempfile.TemporaryDirectory(prefix="vizkit-") as folder:
            yield Parts(Path(folder), count)
    else:
        yield None


def _belongs(model: Model, pictures: Pictures, way: Way, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a state depends on, each under the words of the message that refuses another."""
    return {
        "network": [model.name, model.backend, model.dtype, model.file_sha256],
        "preparation of inputs": model.spec.said,
        "weights": [model.sha256(), model.weights.note],  # which tells of edits
        "folder of images": pictures.fingerprint(),
        "pictures of a shard": shard_length(len(pictures)),
        "layers": list(way.layers),
        "reading of the images": [way.fit, way.input_range],
        "settings": json.loads(json.dumps(dict(settings))),
    }
