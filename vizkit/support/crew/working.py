"""What runs in a worker: the networks, built once, and one task after the other."""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from ...contract import backend as contract
from ...contract import errors
from ...contract.backend import Model
from ...contract.errors import SettingError, VizkitError
from ..command import COMMAND
from ..memory import keep_memory
from ..progress import quiet
from .sending import ANY_GPU, DIGEST, Sent, loads

GRACE = 2.0
"""Seconds that a task has to remove what it has half written, once its worker is told to end."""
OWN = (errors.MapWarning, errors.WeightsWarning, errors.SpeedWarning)

_one_at_a_time = threading.Lock()
"""Dask may run several tasks in one process; the networks there are for one."""
_built: dict[bytes, list[Model]] = {}
"""The networks of the latest crew, by the digest of how to build them."""
_place: dict[str, Any] = {"device": None, "networks": b""}
"""What this process got when it started."""


@dataclass(frozen=True)
class Outcome:
    """What a task gave, or why it was refused, and what it warned of."""

    found: Any = None
    refused: VizkitError | None = None
    warned: tuple[tuple[type[Warning], str], ...] = ()


def start(networks: bytes, lifeline: Connection, turns: Any, threads: int, devices: Sequence[str]) -> None:
    """At the start of a worker process: its threads, its device in turn, and its end, which comes with that of the
    crew, or of the process that made it: then the other end of ``lifeline`` is closed."""
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end, args=(lifeline,), daemon=True).start()
    with turns.get_lock():
        turn = turns.value
        turns.value += 1
    _place.update(device=devices[turn % len(devices)] if devices else None, networks=networks)
    contract.set_threads(threads)
    keep_memory()


def _end(lifeline: Connection) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    if _one_at_a_time.locked():
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # which wakes it where it waits
        else:
            _thread.interrupt_main(signal.SIGTERM)
        threading.Event().wait(GRACE)
    os._exit(1)


def _stop(number: int, frame: Any) -> None:
    """Let the task that is going on remove what it has half written."""
    if _one_at_a_time.locked():
        raise KeyboardInterrupt
    os._exit(1)


def work(function: bytes, task: bytes) -> bytes:
    """One task, to the end; an interrupt ends the process, for what would be done with it is no longer wanted."""
    try:
        return pickle.dumps(_outcome(_place["networks"], function, task))
    except KeyboardInterrupt:
        os._exit(1)


def on_cluster(networks: bytes, function: bytes, task: bytes) -> bytes:
    """The same in a worker of Dask: as many threads as Dask has given it, where the framework can still be told."""
    from distributed import get_worker

    with suppress(SettingError, ValueError):
        contract.set_threads(get_worker().state.nthreads)
    return pickle.dumps(_outcome(networks, function, task))


def _outcome(networks: bytes, function: bytes, task: bytes) -> Outcome:
    with _one_at_a_time, quiet(), _heard() as warned:
        try:
            models = _models(networks)
            called, command = loads(function, "The function")
            COMMAND.set(command)
            found = called(models, loads(task, "The task"))
        except VizkitError as error:
            return Outcome(refused=error.with_traceback(None), warned=tuple(warned))
        return Outcome(found, warned=tuple(warned))


def _models(networks: bytes) -> list[Model]:
    key = networks[:DIGEST]
    if key not in _built:
        _built.clear()
        sent: list[Sent] = pickle.loads(networks[DIGEST:])
        _built[key] = [one.build(_place["device"] if one.device == ANY_GPU else None) for one in sent]
    return _built[key]


@contextmanager
def _heard() -> Iterator[list[tuple[type[Warning], str]]]:
    """Collect vizkit's own warnings, which the crew gives in its user's process; others are shown as ever."""
    found: list[tuple[type[Warning], str]] = []
    with warnings.catch_warnings():
        for category in OWN:
            warnings.simplefilter("always", category)
        others = warnings.showwarning

        def keep(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, OWN):
                found.append((category, str(message)))
            else:
                others(message, category, *where, **more)

        warnings.showwarning = keep
        yield found
