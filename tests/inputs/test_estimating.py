"""What a run will take, by a short one: on the command line, and how it is computed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import call
from PIL import Image

import vizkit
from vizkit import folders
from vizkit.inputs.folders import estimating


def drawn(count: int) -> folders.Pictures:
    return folders.collect([np.full((8, 8, 3), k % 256, np.uint8) for k in range(count)])


@pytest.mark.quick
def test_time_is_what_pictures_take_and_what_does_not_depend_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 3 s, and a tenth of a second for each picture, by a clock that only the run moves."""
    clock, read = [0.0], []

    def run(some: folders.Pictures) -> None:
        read.append([int(item[0, 0, 0]) for item in some.items])
        clock[0] += 3 + 0.1 * len(some)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    found = folders.estimate(run, drawn(250), workers=2)
    assert found.each == pytest.approx(0.1)
    assert found.fixed == pytest.approx(3)
    assert found.seconds == pytest.approx(3 + 250 * 0.1 / 2)
    assert found.memory > 2**20
    assert "250 pictures, about 0:00:16 at 20 pictures a second" in found.text()
    places = sorted(place for some in read for place in some)
    assert len(set(places)) == len(places) == found.measured == 136
    assert (places[0], places[-1]) == (0, 249)
    assert max(np.diff(places)) <= 2


@pytest.mark.quick
def test_few_pictures_are_all_measured() -> None:
    read: list[int] = []
    found = folders.estimate(lambda some: read.append(len(some)), drawn(20))
    assert read == [8, 20]
    assert (found.pictures, found.measured, found.fixed) == (20, 20, 0.0)


@pytest.mark.quick
def test_a_dry_run_only_says_what_a_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimating, "LONG", 40)
    given = ("health", "shapes", "--samples", "90", "--layer", "features.2", "--state", "kept")
    code, out, _ = call(capsys, *given, "--dry-run")
    assert code == 0
    assert re.fullmatch(r"torch: 90 pictures, about .* at .* pictures a second, \d+ MiB of memory .*\n", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.quick
def test_commands_tell_how_long_the_network_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the table, and in no file: it is another one each time."""
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "health", "shapes", "--samples", "6", "--layer", "features.2", "-o", "a.npz")
    assert code == 0
    assert re.search(r"torch: the network waited for pictures \d+\.\d% of the time\n", err)
    assert "waited" not in out
    assert b"waited" not in Path("a.npz").read_bytes()
    with np.load("a.npz") as kept:
        assert not any("waited" in str(kept[name]) for name in kept.files)


@pytest.mark.quick
def test_waiting_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that take long to read are waited for; those in memory hardly."""
    read = Image.fromarray

    def slow(*given: Any) -> Any:
        time.sleep(0.05)
        return read(*given)

    model = vizkit.load("shapes")
    with folders.watched() as runs:
        vizkit.health(model, drawn(8), ["features.0"])
        monkeypatch.setattr("vizkit.inputs.reading.Image.fromarray", slow)
        vizkit.health(model, drawn(8), ["features.0"], batch_size=1)
    quick, slower = (run.spent for run in runs)
    assert 0 <= quick.waited <= quick.seconds
    assert slower.waited > 0.05
    assert 0 < slower.share < 1
    with folders.watched() as none:
        pass
    assert none == []


@pytest.mark.quick
def test_the_command_reads_photos_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).resize((1600, 1200)).save(tmp_path / "in" / "a.jpg")
    values = []
    for more in ((), ("--draft", "200")):
        code, *_ = call(capsys, "health", "shapes", "--images", "in", "--layer", "features.2", "-o", "a.npz", *more)
        assert code == 0
        values.append(np.load("a.npz")["values"])
    assert 0 < np.abs(values[0] - values[1]).max() < 0.1
    code, _, err = call(capsys, "health", "shapes", "--images", "in", "--draft", "0")
    assert (code, "draft=0" in err) == (2, True)
