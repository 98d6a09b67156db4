"""Workers on this machine: processes of their own, by the standard library. What becomes of a dead
one's tasks is said in ``team.py``."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from ...contract import backend as contract
from ...contract.backend import Model
from ...contract.errors import SettingError
from . import working
from .sending import ANY_GPU, Hands, asked_for


def not_in_a_worker() -> None:
    """End a worker that runs the user's script anew, since it lacks its main guard, and would start workers itself: the
    process that started it says what to do."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


class Processes(Hands):
    """So many fresh processes, each with its share of the processors, and, of a network on "cuda", one GPU in turn.

    Every worker holds one end of a pipe of which this process alone has the other: once that is closed, be it that this
    process was killed, the workers end. A task whose worker dies tells so itself. Tasks that nobody waits for any more
    stay: they are few, and a pool that breaks later stumbles over tasks that were cancelled.
    """

    def __init__(self, networks: bytes, models: Sequence[Model], size: int) -> None:
        self.size = size
        self._networks = networks
        self._threads = contract.wanted_threads() or max(1, contract.cpu_count() // size)
        on_any = [model.backend for model in models if asked_for(model) == ANY_GPU]
        self._devices = [one for one in contract.get(on_any[0]).devices() if one != "cpu"] if on_any else []
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._lifeline, theirs = spawn.Pipe()
        self._turns = spawn.Value("i", 0)
        given = (self._networks, theirs, self._turns, self._threads, self._devices)
        self._pool = ProcessPoolExecutor(self.size, spawn, working.start, given)
        self._theirs = theirs

    def submit(self, function: bytes, task: bytes) -> Future[bytes]:
        """Have one task done. A worker may start here; it takes no notice of Ctrl-C."""
        with _uninterrupted():
            return self._pool.submit(working.work, function, task)

    def renew(self) -> None:
        """Start anew after a worker's death, which ends the whole pool."""
        started = self._turns.value
        self.close()
        if not started:
            raise SettingError(
                'The workers ended while they started. In a script, call this under `if __name__ == "__main__":`, '
                "since each worker reads the script first; see also what they printed above, if anything."
            )
        self._start()

    def close(self) -> None:
        self._lifeline.close()
        self._theirs.close()
        self._pool.shutdown(wait=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes that start in the block inherit that Ctrl-C waits; it comes here, at the block's end."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
