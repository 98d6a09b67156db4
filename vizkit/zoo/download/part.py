"""The part file that a download grows in.

Two processes may fetch the same file at once. The part is locked by the process that writes it, and the system drops
that lock however the process ends, so nothing stale is left behind. A process that finds it locked, or a system without
such locks, writes to a part of its own name. Either way a verified file is renamed over the target in one step.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Part:
    """An open part file, and whether it bears the name that the next run continues (then it is locked)."""

    path: Path
    file: IO[bytes]
    shared: bool

    def length(self) -> int:
        """Bytes that are here."""
        return self.file.seek(0, os.SEEK_END)

    def empty(self) -> None:
        """Drop what is here."""
        self.file.seek(0)
        self.file.truncate()

    def publish(self, target: Path) -> None:
        """Give the part its final name; a shared part stays locked until it has it."""
        if not self.shared:
            self.file.close()  # Windows renames no open file
        os.replace(self.path, target)


@contextmanager
def part_of(target: Path) -> Iterator[Part]:
    """The part of ``target``, open for appending: the shared one, with what an earlier run left, or one of our own.

    A shared part that holds something is left for the next run; an empty one, and one of our own, is removed.

    Example:
        >>> with part_of(Path("vgg19-dcbb9e9d.pth")) as part:  # doctest: +SKIP
        ...     part.file.write(b"...")
        ...     part.publish(Path("vgg19-dcbb9e9d.pth"))
    """
    shared = target.with_name(f"{target.name}.part")
    file = _locked(shared)
    path = shared if file else target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    part = Part(path, file or path.open("x+b"), shared=file is not None)
    try:
        yield part
    finally:
        if part.shared and not part.length():
            path.unlink(missing_ok=True)  # before the lock is dropped: nobody else writes to it yet
        part.file.close()
        if not part.shared:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> IO[bytes] | None:
    """``path`` open and locked for this process alone; None where another has it, or the system has no such locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError:
            file.close()
            return None
        file.close()  # between opening and locking, another process gave this file its final name, or removed it
