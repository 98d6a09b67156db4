"""What goes wrong in a study: cells that fail, processes that die, options and files that make no sense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import recompute, studies
from PIL import Image

import vizkit
from vizkit import cli, errors
from vizkit.reports.compare import cells, plan, study
from vizkit.reports.compare import run as running

FIRST = sorted(INSTALLED)[0]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small picture, in an empty folder."""
    path = tmp_path / "noise.png"
    Image.fromarray(vizkit.images.noise(0, 255, size=96)).save(path)
    return path


def planned(*image: Path, **options: Any) -> plan.Plan:
    return plan.make(
        None, {"image": list(image), "model": "shapes", "threads": 1, "repeats": 1, "judge": False, **options}
    )


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """A command within this process: exit code, output, error stream."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def test_failing_cells_are_reported_in_their_place(picture: Path, capsys: Any, monkeypatch: Any) -> None:
    """Two networks in one backend, one that does not exist, and a file that is no weights: the others go on."""
    studies.here(monkeypatch)
    (picture.parent / "bad.pth").write_bytes(b"no weights at all")
    out = picture.parent / "report"
    options = ["--model", "shapes", "--model", "shapse", "--technique", "saliency", "--no-judge", "--backend", FIRST]
    options += ["--weights", "imagenet", "--weights", "shapes=random:7"]
    options += ["--weights", f"shapes={picture.parent / 'bad.pth'}"]
    options += ["--repeats", "1", "--threads", "1", "--out", str(out), "--fail-over", "1"]
    code, said, err = call(capsys, "compare", str(picture), *options)
    assert code == 1, "a failed cell proves nothing"
    assert f"wrote {out / 'index.html'}" in said
    assert err.count("failed: ") == 2
    report = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [(one["model"], one["weights"]) for one in report["cells"]] == [
        ("shapes", "bundled"),
        ("shapes", "random:7"),
    ]
    wrong = {(one["model"], one["weights"]): one["error"] for one in report["failures"]}
    assert set(wrong) == {("shapse", "imagenet"), ("shapes", "bad.pth")}
    assert "Did you mean 'shapes'" in wrong["shapse", "imagenet"]
    assert "bad.pth" in wrong["shapes", "bad.pth"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("failed. ") == 2
    assert str(picture.parent) not in page
    (across,) = [row for row in report["comparisons"] if row["array"] == "values"]
    assert across["relation"] == "networks"
    assert (across["a"]["weights"], across["b"]["weights"]) == ("random:7", "bundled")
    assert "Layers are not compared" in page
    recompute.check(out)


def fake(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A worker that does as the script says; ``files`` are its cells, ``say`` writes an event."""
    code = "import json, os, sys\nasked = json.load(sys.stdin)\nfiles = [one['file'] for one in asked['cells']]\n"
    code += "def say(**event): print(json.dumps(event), flush=True)\n" + script
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **rest: popen([sys.executable, "-c", code], **rest))


@pytest.mark.quick
def test_a_process_that_dies_takes_one_cell_with_it(picture: Path, tmp_path: Path, monkeypatch: Any) -> None:
    other = picture.with_name("other.png")
    other.write_bytes(picture.read_bytes())
    study_ = planned(picture, other, backend=FIRST, technique="saliency")
    wanted = cells.listed(study_)
    script = "say(begun=files[0])\nif 'noise' in files[0]:\n    print('out of luck', file=sys.stderr, flush=True)\n"
    fake(monkeypatch, script + "    os.kill(os.getpid(), 9)\nsay(done=files[0])")
    told: list[tuple[str, bool]] = []
    failed = running.compute(study_, wanted, tmp_path, lambda cell, finished: told.append((cell.image, finished)))
    assert [cell.image for cell in failed] == ["noise.png"]
    assert "signal 9 (killed, most likely for want of memory)" in failed[wanted[0]]
    assert "out of luck" in failed[wanted[0]]
    assert told == [("noise.png", False), ("noise.png", True), ("other.png", False), ("other.png", True)]


def test_a_study_of_nothing_but_failures_raises(picture: Path, tmp_path: Path, monkeypatch: Any) -> None:
    fake(monkeypatch, "sys.exit(3)")
    with pytest.raises(errors.VizkitError, match=r"(?s)Every cell of the study failed.*exit code 3"):
        study.run(planned(picture), tmp_path / "report", print)
    assert not (tmp_path / "report" / "index.html").exists()


@pytest.mark.quick
def test_a_stopped_worker_ends_with_the_study(picture: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Interrupting the study leaves no process and no half file behind."""
    half = "open(os.path.join(asked['folder'], f'.{files[0]}.12ab.tmp'), 'w').write('half')\n"
    fake(monkeypatch, half + "say(begun=files[0])\nimport time; time.sleep(600)")
    started = []
    start = running._start
    monkeypatch.setattr(running, "_start", lambda *given: started.append(start(*given)) or started[-1])

    def interrupt(cell: cells.Cell, finished: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.compute(planned(picture), cells.listed(planned(picture)), tmp_path, interrupt)
    assert [process.returncode for process in started] == [-9]
    assert [path.name for path in tmp_path.iterdir()] == [picture.name]


@pytest.mark.parametrize(
    "change",
    [
        {"repeats": 2},
        {"threads": 2},
        {"seed": 1},
        {"target": 3},
        {"fit": "squash"},
        {"input_range": "unit"},
        {"weights": "random:8"},
        {"model": "squeezenet1_1"},
        {"settings": {"smoothgrad": {"samples": 3}}},
    ],
)
def test_a_cells_name_depends_on_everything_that_determines_it(picture: Path, change: dict[str, Any]) -> None:
    def names(**options: Any) -> list[str]:
        given = planned(picture, **{"backend": FIRST, "technique": "smoothgrad", "weights": "random:7", **options})
        return [cell.file for cell in cells.listed(given)]

    assert names() == names(tolerance=0.5)
    assert not set(names()) & set(names(**change))


def test_a_cells_name_depends_on_content(picture: Path, monkeypatch: Any) -> None:
    """The image's and the weights file's bytes, vizkit's and the framework's versions, and the processor."""

    def names(weights: str = "random:7") -> set[str]:
        cells.digest.cache_clear()
        return {cell.file for cell in cells.listed(planned(picture, weights=weights, backend=FIRST))}

    file = picture.with_name("w.safetensors")
    file.write_bytes(b"one")
    found = [names(), names(str(file))]
    file.write_bytes(b"two")
    found.append(names(str(file)))
    monkeypatch.setattr(cells.machine, "processor", lambda: "another")
    found.append(names())
    monkeypatch.setattr(cells.machine, "versions", lambda backend: {"vizkit": "9"})
    found.append(names())
    Image.fromarray(vizkit.images.noise(0, 9, size=96)).save(picture)
    found.append(names())
    assert len(set().union(*found)) == 6 * len(found[0]) == 12


@pytest.mark.quick
def test_nothing_is_written_into_a_strangers_folder(picture: Path) -> None:
    with pytest.raises(errors.SettingError, match="did not make it"):
        study.check(picture.parent)
    with pytest.raises(errors.SettingError, match="is a file"):
        study.check(picture)
    study.check(picture.parent / "new")


@pytest.mark.quick
def test_a_damaged_cell_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    cells.write(path, {"values": np.zeros(3)}, {"seed": 1})
    assert cells.read(path) == {"seed": 1}
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert cells.read(path) is None
    assert cells.read(tmp_path / "none.npz") is None


@pytest.mark.quick
def test_fail_over(picture: Path, capsys: Any) -> None:
    """Exit code 1, not 2, where two backends part by more; 0 where they do not."""
    from vizkit.cli.compare import _judge

    row = {"a": {"model": "net", "backend": "gluon"}, "b": {"backend": "torch"}, "technique": "saliency"}
    row |= {"image": "a.png", "array": "values", "numbers": {"relative_l2": 0.5}}
    _judge([], 0.1, 0)
    with pytest.raises(cli.compare.typer.Exit) as stopped:
        _judge([row] * 12, 0.1, 0)
    assert stopped.value.exit_code == 1
    assert "beyond 0.1: net, saliency, a.png, values: gluon against torch: 5.0e-01" in capsys.readouterr().err
