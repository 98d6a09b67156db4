"""The thread that computes, one for all: what a user waits for comes before what runs in the background."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ..contract.errors import SettingError

CLICK, AHEAD, JOB = 0, 1, 2
"""What somebody waits for, what somebody will, and what takes long and gives way between its steps."""
LAST = 9
MOST_WAITING = 1024
Made = TypeVar("Made")


class BusyError(SettingError):
    """More waits than a server may take on."""


class Worker:
    """One thread, for frameworks that want to be called from one at a time. Work that is cancelled before its turn is
    dropped without being begun."""

    def __init__(self) -> None:
        self._waiting: queue.PriorityQueue[tuple[int, int, Future[Any] | None, Callable[[], Any]]] = (
            queue.PriorityQueue()
        )
        self._numbers = itertools.count()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vizkit-explore", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Made], urgency: int = CLICK) -> Future[Made]:
        """Have ``work`` done; cancel what comes back to drop it. Raises BusyError where too much waits, or all is
        over."""
        if self._closed.is_set() or self._waiting.qsize() >= MOST_WAITING:
            raise BusyError("The server is busy, or about to stop. Try again in a moment.")
        future: Future[Made] = Future()
        self._waiting.put((urgency, next(self._numbers), future, work))
        return future

    def give_way(self) -> None:
        """Do what waits and is more urgent than a job; for a job's own use, between two of its steps."""
        while not self._closed.is_set():
            try:
                found = self._waiting.get_nowait()
            except queue.Empty:
                return
            if found[0] >= JOB:
                self._waiting.put(found)
                return
            self._do(*found[2:])

    @property
    def closing(self) -> bool:
        """Whether everything is to come to its end."""
        return self._closed.is_set()

    @property
    def waiting(self) -> int:
        """How much waits, as far as another thread can tell."""
        return self._waiting.qsize()

    def close(self, timeout: float = 10.0) -> bool:
        """Drop what waits and end the thread; False where its work takes longer than ``timeout`` seconds."""
        self._closed.set()
        self._waiting.put((LAST, next(self._numbers), None, lambda: None))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._do(*self._waiting.get()[2:])
        while not self._waiting.empty():
            future = self._waiting.get_nowait()[2]
            if future is not None:
                future.cancel()

    @staticmethod
    def _do(future: Future[Any] | None, work: Callable[[], Any]) -> None:
        if future is None or not future.set_running_or_notify_cancel():
            return
        try:
            made = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(made)
