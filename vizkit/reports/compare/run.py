"""Computing what is missing of a study, each technique of each network in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ...contract.backend import Model
from ...support.crew import crew
from . import cells
from .cells import Cell
from .plan import Plan, weights_name

Failures = dict[Cell, str]
SHARED = ("settings", "target", "fit", "input_range", "seed", "device", "threads", "repeats")
"""What the cells of one process have in common."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MXNET_OMP_MAX_THREADS")


def missing(wanted: Sequence[Cell], folder: Path) -> list[Cell]:
    """Cells without a whole file, and those whose weights only the network itself can confirm (a store's)."""
    return [
        cell
        for cell in wanted
        if (cell.weights == cells.STORE and not cells.is_bundled(cell.model)) or cells.read(folder / cell.file) is None
    ]


def compute(
    plan: Plan,
    wanted: Sequence[Cell],
    folder: Path,
    tell: Callable[[Cell, bool], None],
    workers: int | None = None,
    scheduler: str | None = None,
) -> Failures:
    """Compute ``wanted`` cells into ``folder``; ``tell(cell, finished)`` is called when one is begun and when it ends,
    by workers when a group is done.

    Returns why cells failed. A process that dies takes only the cell that it was at with it.
    """
    failures: Failures = {}
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in wanted:
        groups.setdefault(cell.process, []).append(cell)
    with crew((), workers, scheduler) as team:
        here = partial(_group, plan=plan, folder=folder, tell=tell)
        there = partial(_group, plan=plan, folder=folder.resolve(), tell=None)
        for process, failed in team.run(here if team.here else there, groups):
            failures |= failed
            for cell in () if team.here else groups[process]:
                tell(cell, True)
    return {cell: failures[cell] for cell in wanted if cell in failures}


def _group(
    models: Sequence[Model],
    group: Sequence[Cell],
    *,
    plan: Plan,
    folder: Path,
    tell: Callable[[Cell, bool], None] | None,
) -> Failures:
    """The cells of one technique of one network, and why some failed."""
    failures: Failures = {}
    left = list(group)
    while left:
        left = _process(plan, left, folder, tell or (lambda cell, finished: None), failures)
    return failures


def _process(
    plan: Plan, group: list[Cell], folder: Path, tell: Callable[[Cell, bool], None], failures: Failures
) -> list[Cell]:
    """Serve a group in one process; returns the cells that are left after its death."""
    waiting = {cell.file: cell for cell in group}
    at: str | None = None
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        _start(plan, group, folder, said) as process,
    ):
        try:
            for line in process.stdout or ():
                event = json.loads(line)
                if file := event.get("begun"):
                    at = file
                    tell(waiting[file], False)
                elif file := event.get("done") or event.get("failed"):
                    cell = waiting.pop(file)
                    if "error" in event:
                        failures[cell] = nameless(event["error"], cell)
                    tell(cell, True)
            process.wait()
        finally:
            process.kill()
            process.wait()
            for half in (one for cell in group for one in folder.glob(f".{cell.file}.*.tmp")):
                half.unlink(missing_ok=True)
        said.seek(0)
        last = ([line.strip() for line in said if line.strip()] or ["it said nothing"])[-1]
    if not waiting:
        return []
    lost = [waiting.pop(at)] if at in waiting else list(waiting.values())
    for cell in lost:
        failures[cell] = nameless(f"Its process ended with {_status(process.returncode)}; the last line: {last}", cell)
        tell(cell, True)
    return [cell for cell in waiting.values() if cell not in lost]


def request(plan: Plan, group: Sequence[Cell], folder: Path) -> dict[str, Any]:
    """What a worker is asked for: the cells of one process."""
    first = group[0]
    identity = json.loads(first.identity)
    return {
        **{key: getattr(first, key) for key in ("model", "weights", "backend", "dtype", "technique")},
        "weights_name": weights_name(first.weights),
        "folder": str(folder),
        "layers": plan.layers,
        "cells": [
            {"file": cell.file, "image": cell.image, "path": str(cell.path.resolve()), "identity": cell.identity}
            for cell in group
        ],
        **{key: identity[key] for key in SHARED},
    }


def _start(plan: Plan, group: Sequence[Cell], folder: Path, said: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, **dict.fromkeys(THREADS, str(plan.threads))}
    command = [sys.executable, "-m", f"{__package__}.worker"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": said}
    process = subprocess.Popen(command, **pipes, text=True, encoding="utf-8", env=environment)
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as pipe:  # it died at once; its exit code says so
            pipe.write(json.dumps(request(plan, group, folder)))
    return process


def _status(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code}" + (" (killed, most likely for want of memory)" if code == -9 else "")


def nameless(text: str, cell: Cell) -> str:
    """A message with files by name alone, so that a report can be handed on."""
    for path in (cell.path, Path(cell.weights)):
        if path.parent != Path():
            text = text.replace(str(path.resolve()), path.name).replace(str(path), path.name)
    return text
