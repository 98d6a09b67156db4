"""What a run over many pictures has gathered, in files: a part for each shard, that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...contract.backend import Array
from ...contract.errors import SettingError
from ...support.files import replacing, write_npz
from ..images import Batch
from ..pictures import Skipped

SHARD = (32, 256)
"""Pictures of a shard, at least and at most."""
SHARDS = 32
"""As many shards are made before they grow."""
MERGE_EVERY = 8
"""Shards between two writings of what was merged."""
MANIFEST, MERGED = "manifest.json", "merged.npz"
HEADER = "vizkit"
"""The entry of a part that says, as JSON, what it is of."""


class Reader(Protocol):
    """What gathers numbers from the activations of one batch after the other.

    Each shard of the pictures has a reader of its own, and one takes up what they found, shard by shard; an empty one
    is sent to workers. So a reader holds no network, only arrays and settings.
    """

    grows: bool
    """Whether its state grows with the number of pictures, as features do and counts do not."""

    def fresh(self) -> Reader:
        """An empty one with the same settings."""

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Array]) -> None:
        """The activations (n, C, ...) of the images at these places of the list."""

    def state(self) -> dict[str, Array]:
        """All that was gathered, as arrays."""

    def merge(self, part: Mapping[str, Array]) -> None:
        """Take up what :meth:`state` gave for pictures behind all so far. Into an empty one, it is the same again."""


def shard_length(count: int) -> int:
    """Pictures of a shard, by their number alone: results depend on nothing that a machine has more or less of."""
    length, most = SHARD
    while length < most and count > SHARDS * length:
        length *= 2
    return length


def shards(count: int) -> list[range]:
    """The places of each shard's pictures."""
    length = shard_length(count)
    return [range(start, min(start + length, count)) for start in range(0, count, length)]


@dataclass(frozen=True)
class Part:
    """What was found in a shard: a reader's state, the digest of each picture that was read, and the others."""

    arrays: Mapping[str, Array]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]


@dataclass
class Total:
    """What was found in all shards so far: a reader, which took them up, how many shards they are, and how many
    pictures were read; ``sha256`` is over their digests, of each with the one before."""

    reader: Reader
    skipped: list[Skipped]
    done: int = 0
    read: int = 0
    sha256: str = ""

    def add(self, part: Part) -> None:
        """The next shard."""
        if part.digests:
            self.reader.merge(part.arrays)
        for one in part.digests:
            self.sha256 = hashlib.sha256((self.sha256 + one).encode()).hexdigest()
        self.read += len(part.digests)
        self.skipped += part.skipped
        self.done += 1


@dataclass
class Parts:
    """The folder of a run. Without ``keep`` a part goes when it was taken up, as in a folder that is temporary."""

    folder: Path
    shards: int
    keep: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)

    def path(self, shard: int) -> Path:
        return self.folder / f"part-{shard:05d}.npz"

    def begin(self) -> None:
        """Make the folder, or look whether the run in it is this one. Raises SettingError."""
        manifest = self.folder / MANIFEST
        if self.folder.is_file():
            raise SettingError(
                f"'{self.folder}' is a file. The state of a run is a folder now; a file of an earlier version cannot "
                "be gone on with. Give another name, or remove it."
            )
        if not manifest.exists():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                other = next(self.folder.iterdir(), None)
            except OSError as error:
                raise SettingError(f"'{self.folder}' cannot be the folder of a state: {error.strerror}.") from None
            if other is not None:
                raise SettingError(
                    f"'{self.folder}' holds '{other.name}' and no {MANIFEST}: it is no state that vizkit wrote. Give "
                    "another folder, or an empty one."
                )
            with replacing(manifest) as temporary:
                temporary.write_text(json.dumps(dict(self.asked), indent=1) + "\n", encoding="utf-8")
        try:
            earlier = json.loads(manifest.read_text(encoding="utf-8"))
            changed = next((what for what, now in self.asked.items() if earlier.get(what) != now), None)
        except (OSError, ValueError, AttributeError) as error:
            raise SettingError(
                f"'{manifest}' is no manifest that vizkit wrote, or is damaged ({error}). Remove '{self.folder}' to "
                "start anew."
            ) from None
        if changed is not None:
            raise SettingError(
                f"'{self.folder}' is the state of another run: the {changed} changed since, so it cannot be gone on "
                "with. Remove the folder to start anew, or give another."
            )

    def write(self, shard: int, part: Part) -> None:
        """A part, whole. Raises SettingError where it cannot be written."""
        skipped = [[one.name, one.reason] for one in part.skipped]
        _write(self.path(shard), part.arrays, {"digests": part.digests, "skipped": skipped})

    def take_up(self, total: Total) -> None:
        """Give ``total`` the parts that are next, as far as they are there. Raises SettingError for a damaged one."""
        while total.done < self.shards and self.path(total.done).exists():
            file = self.path(total.done)
            with _read(file) as (arrays, header):
                total.add(Part(arrays, tuple(header["digests"]), tuple(Skipped(*one) for one in header["skipped"])))
            if not self.keep:
                file.unlink()
            elif not total.reader.grows and (total.done % MERGE_EVERY == 0 or total.done == self.shards):
                self._merged(total)

    def _merged(self, total: Total) -> None:
        """Sums in place of the parts that they are of."""
        header = {name: value for name, value in vars(total).items() if name not in ("reader", "skipped")}
        header["skipped"] = [[one.name, one.reason] for one in total.skipped]
        _write(self.folder / MERGED, total.reader.state() if total.read else {}, header)
        for file in self.folder.glob("part-*.npz"):
            if file.name < self.path(total.done).name:
                file.unlink(missing_ok=True)

    def resume(self, total: Total) -> None:
        """Give ``total`` what an earlier run has merged, and the parts that are next."""
        file = self.folder / MERGED
        if file.exists():
            with _read(file) as (arrays, header):
                if header["read"]:
                    total.reader.merge(arrays)
                total.skipped[:] = [Skipped(*one) for one in header["skipped"]]
                total.done, total.read, total.sha256 = (header[name] for name in ("done", "read", "sha256"))
        self.take_up(total)

    def missing(self, total: Total) -> list[int]:
        """The shards that are to be done."""
        return [shard for shard in range(total.done, self.shards) if not self.path(shard).exists()]


def _write(file: Path, arrays: Mapping[str, Array], header: Mapping[str, Any]) -> None:
    write_npz(file, {**arrays, HEADER: json.dumps(header)})


@contextmanager
def _read(file: Path) -> Iterator[tuple[Mapping[str, Array], dict[str, Any]]]:
    """The arrays of a part, each read when it is asked for, and its header."""
    try:
        with np.load(file) as arrays:
            yield arrays, json.loads(str(arrays[HEADER]))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SettingError(
            f"'{file}' is no part that vizkit wrote, or is damaged ({error}). Remove it: its pictures alone are read "
            "again."
        ) from None
