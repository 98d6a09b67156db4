"""What takes long: explanations, pictures that are optimised, patches of a folder. It streams, gives way, and stops."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ..contract.errors import SettingError, UnknownNameError, VizkitError
from ..support.progress import listening
from . import tasks
from .engine import Engine
from .worker import JOB, BusyError, Worker

MOST_JOBS = 32
"""That run, wait, or are kept so that their results can be fetched."""
MOST_BYTES = 32 << 20
"""Of the results of all jobs."""
OFTEN = 0.1
"""Seconds between two messages on how far a job is."""


class Stopped(Exception):
    """A job whose results nobody wants any more."""


@dataclass(eq=False)
class Job:
    """One run of a task: what it said so far, and its results as frames, which go when there are too many. ``heard`` is
    called, in the thread that computes, at each message."""

    id: str
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    results: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    stopping: threading.Event = field(default_factory=threading.Event)
    heard: Callable[[], None] = lambda: None
    future: Future[None] | None = None
    finished: bool = False
    _said: float = 0.0

    def say(self, kind: str, **data: Any) -> None:
        """Send a message."""
        self.events.append((kind, data))
        self.heard()

    def give(self, frame: bytes, **header: Any) -> None:
        """Send a result."""
        number = sum(kind == "result" for kind, _ in self.events)
        self.results[number] = frame
        self.say("result", n=number, **header)

    def step(self, done: float, of: float, text: str) -> None:
        """Say how far it is, not too often."""
        now = time.monotonic()
        if now - self._said >= OFTEN:
            self._said = now
            self.say("step", done=done, of=of, text=text)

    def bytes(self) -> int:
        """Of its results."""
        return sum(map(len, list(self.results.values())))


class Jobs:
    """The jobs of a server, one running at a time. What somebody clicks on is computed between their steps."""

    def __init__(self, engine: Engine, worker: Worker) -> None:
        self._engine, self._worker = engine, worker
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, body: Any) -> Job:
        """Begin a task that the page describes. Raises SettingError, and BusyError where there are too many."""
        if not isinstance(body, Mapping):
            raise SettingError('A job is a JSON object: {"kind": "explain" | "dream" | "patches", ...}.')
        task = tasks.task_of(self._engine, body)
        job = Job(secrets.token_urlsafe(9))
        with self._lock:
            for old in [one for one in self._jobs.values() if one.finished]:
                if len(self._jobs) >= MOST_JOBS or self._bytes() > MOST_BYTES:
                    del self._jobs[old.id]
            if len(self._jobs) >= MOST_JOBS:
                raise BusyError(f"{MOST_JOBS} jobs run or wait. Stop one, or wait.")
            self._jobs[job.id] = job
        try:
            job.future = self._worker.submit(lambda: self._run(job, task), JOB)
        except BusyError:
            self.stop(job.id)
            raise
        return job

    def __getitem__(self, key: str) -> Job:
        """A job. Raises UnknownNameError for one that is not there, or no longer."""
        with self._lock:
            if key in self._jobs:
                return self._jobs[key]
        raise UnknownNameError("There is no such job; it was stopped, or its page was closed.")

    def __contains__(self, key: str) -> bool:
        return key in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def stop(self, key: str) -> None:
        """End a job before its next step, and forget it."""
        with self._lock:
            job = self._jobs.pop(key, None)
        if job is not None:
            job.stopping.set()
            if job.future is not None:
                job.future.cancel()

    def close(self) -> None:
        """End them all."""
        for key in list(self._jobs):
            self.stop(key)

    def _bytes(self) -> int:
        return sum(one.bytes() for one in self._jobs.values())

    def _run(self, job: Job, task: tasks.Task) -> None:
        def breathe() -> None:
            """Between two steps."""
            if job.stopping.is_set() or self._worker.closing:
                raise Stopped
            with listening(None):
                self._worker.give_way()

        def heard(name: str, done: int, total: int | None, note: str) -> None:
            job.step(*task.progress(name, done, total), name.replace("_", " "))
            breathe()

        def give(frame: bytes, **header: Any) -> None:
            job.give(frame, **header)
            while len(job.results) > 1 and self._bytes() > MOST_BYTES:  # the oldest go, but for the last
                job.results.popitem(last=False)

        try:
            with listening(heard):
                task.run(give, lambda error, **more: job.say("error", error=error, **more), breathe)
        except Stopped:
            job.results.clear()
        except VizkitError as error:
            job.say("error", error=str(error))
        except Exception as error:  # a fault of ours: the page says so, and the server goes on
            job.say("error", error=f"{type(error).__name__}: {error}")
            raise
        finally:
            job.finished = True
            job.say("end")
