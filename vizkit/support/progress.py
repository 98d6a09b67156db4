"""Progress: of every long loop, for whoever listens, and as bars on the terminal's error stream, absent where that is
no terminal, or where another bar runs already."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Advance = Callable[[int, str], None]
Listener = Callable[[str, int, int | None, str], None]
"""Called with the loop's name, how much is done, of how much, and a note."""
_busy: ContextVar[bool] = ContextVar("_busy", default=False)
_listener: ContextVar[Listener | None] = ContextVar("_listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Within the block ``listener(name, done, total, note)`` hears of every step of every long loop: batches, samples,
    steps of a picture that is optimised; loops within loops too, each by its name. An exception that it raises stops
    the loop and comes out of the technique that was called: nothing is left half done. None: nobody listens.

    Example:
        >>> import vizkit
        >>> model, heard = vizkit.load("shapes"), []
        >>> with listening(lambda name, done, total, note: heard.append((name, done, total))):
        ...     found = vizkit.dream(model, "features.9", 3, stages=1, steps=2, size=32)
        >>> heard
        [('dream of features.9', 1, 2), ('dream of features.9', 2, 2)]
    """
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def bytes_bar(label: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """A download bar that appears with the first call of ``advance(done, total)``; None when nobody is watching."""
    _load()
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with _bar(label, None, (DownloadColumn(), TransferSpeedColumn())) as update:
        yield None if update is None else lambda done, total: update(done, total, "")


@contextmanager
def steps_bar(label: str, total: int) -> Iterator[Advance]:
    """A bar of ``total`` steps; ``advance(done, note)`` moves it and shows the note beside it."""
    _load()
    from rich.progress import MofNCompleteColumn, TextColumn

    with _bar(label, total, (MofNCompleteColumn(), TextColumn("{task.fields[note]}"))) as update:
        yield (lambda done, note: None) if update is None else lambda done, note: update(done, total, note)


@contextmanager
def quiet() -> Iterator[None]:
    """No bars within the block."""
    within = _busy.set(True)
    try:
        yield
    finally:
        _busy.reset(within)


def _load() -> None:
    """Import rich, which draws one of the user's random numbers when it is imported, without that."""
    if "rich.progress" not in sys.modules:
        state = random.getstate()
        importlib.import_module("rich.progress")
        random.setstate(state)


@contextmanager
def _bar(
    label: str, total: int | None, columns: tuple[ProgressColumn, ...]
) -> Iterator[Callable[[int, int | None, str], None] | None]:
    heard = _listener.get()
    if heard is not None:
        yield lambda done, whole, note: heard(label, done, whole, note)
        return
    if _busy.get() or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn(), console=Console(stderr=True)
    )
    task = bar.add_task(label, total=total, note="")

    def update(done: int, whole: int | None, note: str) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=whole, note=note)

    try:
        with quiet():
            yield update
    finally:
        bar.stop()
