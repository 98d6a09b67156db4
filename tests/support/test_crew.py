"""The crew: the same results whoever works, whatever dies; its end; and what it says of mistakes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crew_tasks import complains, device, maps, square, turns
from kits import toy

import vizkit
from vizkit.contract import backend as contract
from vizkit.contract.model import Changed
from vizkit.errors import ImageError, MapWarning, SettingError
from vizkit.support.command import COMMAND
from vizkit.support.crew import Team, crew
from vizkit.support.crew.processes import Processes
from vizkit.support.crew.sending import packed
from vizkit.zoo.loading import Loaded

TASKS = {f"task {k}": k for k in range(7)}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A network whose framework takes no time to import."""
    with toy.installed(tmp_path_factory.mktemp("site")):
        yield toy.network()


@pytest.fixture(scope="module")
def pair(network: Any) -> Iterator[Team]:
    """Two workers with that network."""
    with crew(network, workers=2) as team:
        yield team


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler of Dask with two workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def test_a_killed_worker_changes_nothing(pair: Team, network: Any, tmp_path: Path) -> None:
    """Those that take its place have the network, too."""
    killed = partial(square, folder=str(tmp_path), dies=(2,))
    assert dict(pair.run(killed, TASKS)) == {key: k * k for key, k in TASKS.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["2-0"]
    np.testing.assert_array_equal(dict(pair.run(maps, {"map": 5}))["map"], maps([network], 5))


def test_a_task_that_kills_every_worker_is_named(pair: Team, tmp_path: Path) -> None:
    """The right one, though others were on their way; then the crew goes on."""
    fatal = partial(square, folder=str(tmp_path), dies=(3,), times=9)
    with pytest.raises(SettingError, match=r"'task 3' died, .*memory"):
        dict(pair.run(fatal, TASKS))
    assert len(list(tmp_path.iterdir())) == 3
    assert dict(pair.run(square, {"after": 4})) == {"after": 16}


def test_in_the_order_of_the_tasks_and_few_at_a_time(pair: Team) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[tuple[int, int]]:
        for k in range(9):
            taken.append(k)
            yield k, k

    got = iter(pair.run(turns, tasks()))
    next(got)
    assert len(taken) <= 2 * pair.size + 1
    assert [key for key, _ in pair.ordered(turns, tasks())] == list(range(9))


def test_errors_and_warnings_come_back_as_themselves(pair: Team) -> None:
    running = COMMAND.set("vizkit demo")
    try:
        with pytest.warns(MapWarning, match="flat vizkit demo"):
            assert dict(pair.run(complains, {"a": 0})) == {"a": "vizkit demo"}
        with pytest.warns(MapWarning), pytest.raises(ImageError, match="picture 4 cannot be read"):
            list(pair.run(complains, {"a": 4}))
    finally:
        COMMAND.reset(running)


def test_one_gpu_each_in_turn(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network on "cuda"; there are two GPUs, said to be."""
    monkeypatch.setattr(
        network, "recipe", Changed(Loaded("net", "numpy", "random:1", "cuda", "float64"), lambda one: one)
    )
    monkeypatch.setattr(type(contract.get("numpy")), "devices", lambda self: ("cpu", "cuda:0", "cuda:1"))
    hands = Processes(packed([]), [network], 2)
    try:
        until(lambda: len({found for _, found in Team((), hands).run(device, {k: k for k in range(6)})}) == 2)
        found = {found for _, found in Team((), hands).run(device, {k: k for k in range(6)})}
    finally:
        hands.close()
    assert {device for _, device in found} == {"cuda:0", "cuda:1"}


class Held:
    """What no pickle takes."""

    def __reduce__(self) -> Any:
        raise TypeError("holds a lock")


def test_what_cannot_be_sent_is_said(pair: Team, network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"The task 'lock' cannot be sent to workers.*holds a lock"):
        list(pair.run(square, {"lock": Held()}))  # type: ignore[dict-item]
    monkeypatch.setattr(network, "recipe", None)
    with pytest.raises(SettingError, match=r"model\.recipe"), crew(network, workers=1):
        pass


@pytest.mark.quick
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workers": 0}, "at least 1"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "give one of them"),
    ],
)
def test_settings_that_make_no_crew(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said), crew((), **given):
        pass


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("vizkit.support.crew.cluster.ANSWER", "1s")
    with pytest.raises(SettingError, match="No Dask scheduler answers"), crew((), scheduler="tcp://127.0.0.1:9"):
        pass
    with pytest.raises(SettingError, match="No Dask scheduler answers"), crew((), scheduler="nonsense://x"):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "distributed" else found(name))
    with pytest.raises(vizkit.errors.BackendMissingError, match=r"vizkit\[dask\]"), crew((), scheduler="tcp://a:1"):
        pass


def test_a_cluster_gives_the_same_also_when_a_worker_is_killed(address: str, tmp_path: Path) -> None:
    with crew((), scheduler=address) as team:
        assert team.size == 2
        killed = partial(square, folder=str(tmp_path), dies=(2,))
        assert [found for _, found in team.ordered(killed, TASKS)] == [k * k for k in TASKS.values()]
        assert (tmp_path / "2-0").exists()
        with pytest.warns(MapWarning), pytest.raises(ImageError, match="picture 4"):
            list(team.run(complains, {"a": 4}))


def test_an_explanation_by_a_cluster(address: str, network: Any) -> None:
    """Each worker builds the network."""
    given = vizkit.images.noise(0, 255, size=toy.SIDE, seed=1), ["saliency", ("smoothgrad", {"samples": 3})]
    here, there = vizkit.explain(network, *given), vizkit.explain(network, *given, scheduler=address)
    np.testing.assert_array_equal(there.values, here.values)
    assert there.provenance == here.provenance


def run_while(team: Team, happens: Any) -> None:
    """Run the tasks, during which something happens."""
    threading.Timer(0.5, happens).start()
    list(team.run(square, TASKS))


def test_a_cluster_that_goes_or_has_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said, and does not wait for ever."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("vizkit.support.crew.cluster.PATIENCE", 0)
    monkeypatch.setattr("vizkit.support.crew.team.LOOK", 0.2)
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with pytest.raises(SettingError, match="has no workers"), crew((), scheduler=address) as team:
            list(team.run(square, TASKS))
        monkeypatch.setattr("vizkit.support.crew.cluster.PATIENCE", 60)
        with pytest.raises(SettingError, match="is gone"), crew((), scheduler=address) as team:
            run_while(team, cluster.close)


SCRIPT = """
import os, sys, time
from pathlib import Path
from vizkit.support.crew import crew
from vizkit.support.files import replacing

def slow(models, task):
    with replacing(Path({folder!r}) / f"{{task}}.npz") as temporary:
        temporary.touch()
        (Path({folder!r}) / f"pid-{{os.getpid()}}").touch()
        time.sleep(60)

def main():
    with crew((), workers=1) as team:
        list(team.run(slow, {{k: k for k in range(4)}}))

{guard}
"""


def started(folder: Path, guard: str) -> subprocess.Popen[str]:
    """A script with a worker, in a session of its own, as a terminal's."""
    file = folder / "script.py"
    file.write_text(SCRIPT.format(folder=str(folder), guard=guard), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, file], stderr=subprocess.PIPE, text=True, start_new_session=True, env=dict(os.environ)
    )


def alive(folder: Path) -> list[int]:
    """The workers of the script that are still there."""
    found = [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]
    return [one for one in found if Path(f"/proc/{one}").exists() and "Z" not in state(one)]


def state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def until(what: Any, seconds: float = 90) -> None:
    """Wait for it, and fail where it never comes."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited for nothing"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_and_no_half_file_outlives_the_process(tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C reaches the whole session, a kill the one process alone."""
    process = started(tmp_path, 'if __name__ == "__main__":\n    main()')
    until(lambda: len(list(tmp_path.glob("pid-*"))) == 1)
    os.killpg(process.pid, sent) if sent == signal.SIGINT else os.kill(process.pid, sent)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == -sent
    until(lambda: not alive(tmp_path))
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp")) + list(tmp_path.glob("*.npz"))
    if sent == signal.SIGINT:
        assert said.count("Traceback") == 1, said  # the script's own, of the KeyboardInterrupt that it let through
        assert "Process" not in said


def test_a_script_without_its_guard_is_told(tmp_path: Path) -> None:
    process = started(tmp_path, "main()")
    said = process.communicate(timeout=120)[1]
    assert 'if __name__ == "__main__":' in said.splitlines()[-1]
    assert said.count("Traceback") == 1
