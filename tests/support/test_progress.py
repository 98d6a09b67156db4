"""Who listens hears of every step, and can stop what runs; nothing is left half done."""

from __future__ import annotations

import random
import sys
from typing import Any
from unittest.mock import patch

import pytest

import vizkit
from vizkit.progress import listening
from vizkit.support.progress import steps_bar


class Enough(Exception):
    """Raised by a listener."""


@pytest.fixture
def model(name: str) -> Any:
    return vizkit.load("shapes", backend=name)


@pytest.mark.quick
def test_loops_within_loops_are_heard_by_name(model: Any) -> None:
    heard: list[tuple[str, int, int | None]] = []
    with listening(lambda name, done, total, note: heard.append((name, done, total))):
        vizkit.explain(model, vizkit.images.sample(), ["saliency"])
    assert heard[0] == ("explain", 0, 1)
    assert heard[-1] == ("explain", 1, 1)
    assert ("saliency", 1, 1) in heard
    count = len(heard)
    vizkit.saliency(model, vizkit.images.sample())
    assert len(heard) == count


@pytest.mark.quick
def test_a_listener_stops_a_technique_and_the_network_goes_on(model: Any) -> None:
    before, steps = vizkit.saliency(model, vizkit.images.sample()).values, []

    def enough(name: str, done: int, total: int | None, note: str) -> None:
        steps.append(done)
        if done == 3:
            raise Enough

    with pytest.raises(Enough), listening(enough):
        vizkit.render(model, vizkit.objectives.unit("features.9", 3), steps=50)
    assert steps == [1, 2, 3]
    assert (vizkit.saliency(model, vizkit.images.sample()).values == before).all()


def test_nobody_may_listen_for_a_while(model: Any) -> None:
    heard: list[str] = []
    with listening(lambda name, *_: heard.append(name)), listening(None):
        vizkit.saliency(model, vizkit.images.sample())
    assert heard == []


def test_the_first_bar_draws_none_of_the_users_random_numbers() -> None:
    with patch.dict(sys.modules):
        for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
            del sys.modules[name]
        before = random.getstate()
        with steps_bar("some steps", 1):
            pass
        assert "rich.style" in sys.modules
        assert random.getstate() == before
