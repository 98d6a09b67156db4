"""The crew: who does the tasks, how many are on their way, and what becomes of those whose worker died."""

from __future__ import annotations

import importlib.util
import pickle
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...contract.backend import Model
from ...contract.errors import BackendMissingError, SettingError
from ..command import COMMAND
from .sending import Hands, dumps, packed

if TYPE_CHECKING:
    from .working import Outcome

AHEAD = 2
"""Tasks on their way for each worker: one that it does, and the next."""
ATTEMPTS = 3
"""How often a task is tried whose worker dies."""
LOOK = 2.0
"""Seconds between two looks at whether the workers are still there."""
Key = TypeVar("Key")
Given = TypeVar("Given")
Found = TypeVar("Found")


class Team:
    """What :func:`crew` gives. ``size``: how many work at the same time; 1 in this process."""

    def __init__(self, models: Sequence[Model], hands: Hands | None) -> None:
        self.models = tuple(models)
        self._hands = hands

    @property
    def size(self) -> int:
        return 1 if self._hands is None else self._hands.size

    @property
    def here(self) -> bool:
        """Whether tasks run in this process, one after the other, and nothing is sent anywhere."""
        return self._hands is None

    def run(
        self,
        function: Callable[[Sequence[Model], Given], Found],
        tasks: Mapping[Key, Given] | Iterable[tuple[Key, Given]],
    ) -> Iterator[tuple[Key, Found]]:
        """Do all tasks; give (key, result) as they complete, in any order.

        Args:
            function: ``function(models, task)``, at the top of a module, or a ``functools.partial`` of one. What it
                returns goes through a pipe: let it be small, or a file's name.
            tasks: what the function gets, by keys that name them in messages. Only the next few are taken from an
                iterable, so it may be long.

        Raises:
            SettingError for a task whose worker died :data:`ATTEMPTS` times, or that cannot be sent; what the function
            raises.
        """
        return ((key, found) for _, key, found in self._results(function, tasks))

    def ordered(
        self,
        function: Callable[[Sequence[Model], Given], Found],
        tasks: Mapping[Key, Given] | Iterable[tuple[Key, Given]],
    ) -> Iterator[tuple[Key, Found]]:
        """The same in the order of the tasks; what is done before its turn waits."""
        early: dict[int, tuple[Key, Found]] = {}
        due = 0
        for number, key, found in self._results(function, tasks):
            early[number] = key, found
            while due in early:
                yield early.pop(due)
                due += 1

    def _results(self, function: Callable[..., Any], tasks: Any) -> Iterator[tuple[int, Any, Any]]:
        """Each task's number, key and result."""
        pairs = enumerate(tasks.items() if isinstance(tasks, Mapping) else tasks)
        if self._hands is None:
            return ((number, key, function(self.models, task)) for number, (key, task) in pairs)
        return _Run(self._hands, dumps((function, COMMAND.get()), "The function"), pairs).results()


class _Task(NamedTuple):
    """On its way, or to be tried again."""

    number: int
    key: Any
    data: bytes
    tried: int = 0


class _Run:
    """The tasks of one call: those that wait, those on their way, and how often each was tried."""

    def __init__(self, hands: Hands, function: bytes, pairs: Iterator[tuple[int, tuple[Any, Any]]]) -> None:
        self.hands, self.function, self.pairs = hands, function, pairs
        self.again: deque[_Task] = deque()
        self.going: dict[Future[bytes], _Task] = {}

    def results(self) -> Iterator[tuple[int, Any, Any]]:
        try:
            while self._fill():
                done, _ = wait(self.going, timeout=LOOK, return_when=FIRST_COMPLETED)
                if not done:
                    self.hands.check()
                yield from self._finished(done)
        finally:
            self.hands.forget(list(self.going))

    def _fill(self) -> bool:
        """Send as many tasks as may be on their way; False when there are none any more. One that two workers died of
        goes alone the third time, so that the message names the right one."""
        while len(self.going) < AHEAD * self.hands.size:
            near = [*self.going.values(), *([self.again[0]] if self.going and self.again else [])]
            if any(one.tried == ATTEMPTS - 1 for one in near):
                break
            task = self.again.popleft() if self.again else self._next()
            if task is None:
                break
            try:
                self.going[self.hands.submit(self.function, task.data)] = task
            except BrokenExecutor:
                self.again.appendleft(task)
                if not self.going:
                    self.hands.renew()
                break
        return bool(self.going or self.again)

    def _next(self) -> _Task | None:
        for number, (key, task) in self.pairs:
            return _Task(number, key, dumps(task, f"The task {key!r}"))
        return None

    def _finished(self, done: Iterable[Future[bytes]]) -> Iterator[tuple[int, Any, Any]]:
        broken = []
        for future in done:
            task = self.going.pop(future)
            try:
                outcome: Outcome = pickle.loads(future.result())
            except (BrokenExecutor, CancelledError):
                broken.append(task)
                continue
            except Exception as error:
                if self.hands.gave_up(error):
                    raise _died(task.key) from None
                raise
            for category, text in outcome.warned:
                warnings.warn(text, category, stacklevel=2)
            if outcome.refused is not None:
                raise outcome.refused
            yield task.number, task.key, outcome.found
        if broken:
            self._retry(broken)

    def _retry(self, broken: list[_Task]) -> None:
        wait(self.going)  # the pool that broke gives up all of its tasks; some may have been done before
        self.hands.check()
        for task in broken:
            if task.tried + 1 == ATTEMPTS:
                raise _died(task.key)
            self.again.append(task._replace(tried=task.tried + 1))
        if not self.going:
            self.hands.renew()


def _died(key: object) -> SettingError:
    return SettingError(
        f"The workers that had the task {key!r} died, one after the other. Mostly the system ends a process for want "
        "of memory: take fewer workers or smaller batches. What was finished before is kept where the call keeps it."
    )


def check(workers: int | None, scheduler: str | None) -> None:
    """Raise SettingError for both, and for a number below 1; BackendMissingError for a scheduler without Dask."""
    if workers is not None and scheduler is not None:
        raise SettingError(f"workers={workers} and scheduler={scheduler!r}: give one of them; a cluster has its own.")
    if workers is not None and workers < 1:
        raise SettingError(f"workers={workers}: give at least 1, or None to work in this process.")
    if scheduler is not None and importlib.util.find_spec("distributed") is None:
        raise BackendMissingError(
            f"scheduler={scheduler!r} needs Dask, which this Python does not have. Install it with: pip install "
            "'vizkit[dask]'"
        )


@contextmanager
def crew(
    models: Model | Sequence[Model] = (), workers: int | None = None, scheduler: str | None = None
) -> Iterator[Team]:
    """Workers for the block, each with these networks; they end with it, however it ends.

    Args:
        models: a network, or several, which each worker builds once by ``model.recipe``.
        workers: processes on this machine, each with its share of the processors as threads, or with one GPU in turn;
            None does everything in this process.
        scheduler: the address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers can import vizkit and
            read the same files.

    Returns:
        A context manager that gives a :class:`Team`.

    Raises:
        SettingError for both, for a number below 1, for a scheduler that does not answer or has no workers, and for
        networks that cannot be sent; BackendMissingError without Dask.

    Example:
        >>> from operator import itemgetter
        >>> from vizkit.support.crew import crew
        >>> with crew(workers=None) as team:
        ...     team.size
        1
    """
    several = [models] if isinstance(models, Model) else list(models)
    check(workers, scheduler)
    hands: Hands | None = None
    if workers is not None:
        from .processes import Processes, not_in_a_worker

        not_in_a_worker()
        hands = Processes(packed(several), several, workers)
    elif scheduler is not None:
        from .cluster import Cluster

        hands = Cluster(packed(several), scheduler)
    try:
        yield Team(several, hands)
    finally:
        if hands is not None:
            hands.close()
