"""The thread that computes: urgent work first, what is dropped is never begun, and nothing is left at the end."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest

from vizkit.explore import worker as module
from vizkit.explore.worker import AHEAD, CLICK, JOB, BusyError, Worker


@pytest.fixture
def worker() -> Any:
    made = Worker()
    yield made
    assert made.close()


def held(worker: Worker) -> threading.Event:
    """Keep the thread busy until the event is set."""
    begun, go = threading.Event(), threading.Event()
    worker.submit(lambda: (begun.set(), go.wait(20)))
    assert begun.wait(20)
    return go


@pytest.mark.quick
def test_what_somebody_waits_for_comes_first(worker: Worker) -> None:
    go, order = held(worker), []
    for name, urgency in (("job", JOB), ("ahead", AHEAD), ("click", CLICK), ("another", CLICK)):
        last = worker.submit(lambda name=name: order.append(name), urgency)
    go.set()
    worker.submit(lambda: None, JOB).result(20)
    assert last.done()
    assert order == ["click", "another", "ahead", "job"]


@pytest.mark.quick
def test_what_is_dropped_is_not_begun(worker: Worker) -> None:
    go, order = held(worker), []
    dropped = worker.submit(lambda: order.append("dropped"))
    kept = worker.submit(lambda: order.append("kept"))
    assert dropped.cancel()
    go.set()
    kept.result(20)
    assert order == ["kept"]


def test_a_job_gives_way_to_clicks_and_not_to_jobs(worker: Worker) -> None:
    go, order = held(worker), []

    def job() -> None:
        order.append("begins")
        worker.submit(lambda: order.append("click"))
        worker.submit(lambda: order.append("other job"), JOB)
        worker.give_way()
        order.append("ends")

    worker.submit(job, JOB)
    go.set()
    worker.submit(lambda: None, JOB + 1).result(20)
    assert order == ["begins", "click", "ends", "other job"]


def test_an_error_goes_to_who_asked_and_the_thread_goes_on(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 // 0).result(20)
    assert worker.submit(lambda: 5).result(20) == 5


def test_too_much_is_refused(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    go = held(worker)
    for _ in range(3):
        worker.submit(lambda: None)
    with pytest.raises(BusyError):
        worker.submit(lambda: None)
    go.set()


def test_at_the_end_nothing_waits_any_more() -> None:
    before = threading.active_count()
    worker = Worker()
    go = held(worker)
    waiting = [worker.submit(lambda: None) for _ in range(5)]
    threading.Timer(0.05, go.set).start()
    assert worker.close()
    for one in waiting:
        with pytest.raises(CancelledError):
            one.result(0)
    with pytest.raises(BusyError):
        worker.submit(lambda: None)
    assert threading.active_count() <= before + 1  # the timer may be ending
