"""The state of a rendering on disk, so that a stopped one goes on where it was."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...contract.backend import Ops, Tensor
from ...contract.errors import SettingError
from ...results.dreams import Frame
from ...support.files import write_npz
from .parametrisations import Parametrisation
from .trace import Trace

LEAF, STATE = "leaf:", "state:"
"""What the names begin with: a leaf is "leaf:NAME", a part of what the optimiser remembers of it "state:NAME:PART"."""
EVERY = 64
"""Steps between two writings."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a file that is no checkpoint, or half of one, may raise."""


def leaves_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The leaves among them, by their names."""
    return {name.removeprefix(LEAF): one for name, one in state.items() if name.startswith(LEAF)}


@dataclass
class Loop:
    """What changes from step to step: ``state`` are the leaves, and what the optimiser remembers of each; ``rows`` the
    numbers that the steps of one block draw, with the number of the block."""

    parametrisation: Parametrisation
    state: dict[str, Tensor]
    trace: Trace
    step: int = 0
    frames: list[Frame] = field(default_factory=list)
    rows: tuple[int, Tensor] | None = None

    @property
    def leaves(self) -> dict[str, Tensor]:
        return leaves_of(self.state)


@dataclass(frozen=True)
class Checkpoint:
    """An ``.npz`` with the leaves, what the optimiser remembers, the trace and the frames; ``key`` stands for every
    setting that made them. What a step draws depends on its number alone."""

    path: Path
    key: str

    def save(self, loop: Loop, ops: Ops) -> None:
        arrays: dict[str, Any] = {name: ops.numpy(one) for name, one in loop.state.items()}
        arrays |= {f"frame:{step}": frame for step, frame in loop.frames}
        known = {"key": self.key, "step": loop.step, "size": loop.parametrisation.sides}
        write_npz(self.path, arrays | {"trace": np.concatenate(loop.trace.rows), "known": json.dumps(known)})

    def load(self, loop: Loop, ops: Ops) -> None:
        """Put the loop where it was, if there is a file; SettingError where that is of another rendering."""
        if self.path.suffix != ".npz":
            raise SettingError(f"checkpoint='{self.path}': the file must end in .npz.")
        if not self.path.exists():
            return
        try:
            with np.load(self.path) as stored:
                arrays = {name: stored[name] for name in stored.files}
            known = json.loads(str(arrays["known"]))
        except UNREADABLE as error:
            raise SettingError(f"'{self.path}' is no checkpoint of a rendering ({error}); delete it.") from None
        if known["key"] != self.key:
            raise SettingError(
                f"'{self.path}' is the checkpoint of a rendering with other settings, of another network or by another "
                "backend. Delete it, or give another checkpoint."
            )
        loop.step = int(known["step"])
        loop.trace.rows[:] = [row[None] for row in arrays["trace"]]
        loop.frames = [(int(name[6:]), frame) for name, frame in arrays.items() if name.startswith("frame:")]
        height, width = known["size"]
        loop.parametrisation = loop.parametrisation.resized((height, width))
        loop.state = {name: ops.asarray(arrays[name]) for name in loop.state}
