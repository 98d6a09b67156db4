"""What the crew's workers do. They import this file alone, and so neither pytest nor the tests' networks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vizkit
from vizkit.errors import ImageError
from vizkit.support.command import COMMAND
from vizkit.support.crew import working
from vizkit.techniques.common.checks import warn


def maps(models: Sequence[Any], seed: int) -> Any:
    """A map of a drawn picture."""
    return vizkit.saliency(models[0], vizkit.images.noise(0, 255, size=models[0].spec.size[0], seed=seed)).values


def square(models: Sequence[Any], task: int, *, folder: str = "", dies: Sequence[int] = (), times: int = 1) -> int:
    """The task squared; the worker is killed at some tasks, so many times."""
    for k in range(times if task in dies else 0):
        mark = Path(folder) / f"{task}-{k}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def complains(models: Sequence[Any], task: int) -> str | None:
    """A warning, and from the second task on an error of vizkit's."""
    warn(f"flat {COMMAND.get()}")
    if task:
        raise ImageError(f"picture {task} cannot be read")
    return COMMAND.get()


def turns(models: Sequence[Any], task: int) -> int:
    """Early tasks take longest."""
    time.sleep(0.4 if task == 0 else 0)
    return task


def device(models: Sequence[Any], task: int) -> tuple[int, str]:
    """The worker and its device."""
    time.sleep(0.2)
    return os.getpid(), working._place["device"]
