"""Plans that workers share: explanations, galleries, tables, predictions and studies are those of one process, bit for
bit, in float64, whoever works and whoever dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import call
from lent_tasks import of_its_own, of_some
from PIL import Image

import vizkit
from vizkit import evaluate, gallery
from vizkit.contract import backend as contract
from vizkit.errors import SettingError
from vizkit.evaluate import ranking
from vizkit.inputs.folders import streaming
from vizkit.reports.compare import cells
from vizkit.support.crew import Team, crew
from vizkit.support.crew.sending import packed
from vizkit.zoo import shapes

explaining = __import__("vizkit.reports.explain", fromlist=["explain"])
INSTALLED = [one.name for one in vizkit.backends() if one.installed]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """The network of shapes in every backend."""
    return {name: vizkit.load("shapes", backend=name, dtype="float64") for name in INSTALLED}


@pytest.fixture(scope="module")
def two(models: dict[str, Any]) -> Iterator[Team]:
    """Two workers with all of them."""
    with crew(list(models.values()), workers=2) as team:
        yield team


class Lent(Team):
    """Workers that were there before, for some of their networks: starting them for every test would take minutes."""

    def __init__(self, models: Sequence[Any], team: Team) -> None:
        super().__init__(models, team._hands)
        self.which = [INSTALLED.index(model.backend) for model in models]
        self.runs = 0

    def _results(self, function: Any, tasks: Any) -> Any:
        self.runs += 1
        return super()._results(partial(of_some, function=function, which=self.which), tasks)


@pytest.fixture
def lent(two: Team, monkeypatch: pytest.MonkeyPatch) -> list[Lent]:
    """Where workers are asked for, they are the two; the list says who asked."""
    asked: list[Lent] = []

    @contextmanager
    def lending(models: Any = (), workers: int | None = None, scheduler: str | None = None) -> Iterator[Team]:
        if workers is None:
            with crew(models) as team:
                yield team
            return
        asked.append(Lent([models] if not isinstance(models, Sequence) else models, two))
        yield asked[-1]

    for module in (explaining, gallery, ranking, streaming):
        monkeypatch.setattr(module, "crew", lending)
    monkeypatch.setattr("vizkit.cli.photos.crew", lending)
    monkeypatch.setattr("vizkit.cli.pictures.crew", lending)
    return asked


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of shapes as files."""
    found = tmp_path_factory.mktemp("photos")
    for k, one in enumerate(shapes.sample(2, seed=4).images):
        Image.fromarray(one).save(found / f"{k}.png")
    return found


def test_an_explanation(models: dict[str, Any], lent: list[Lent], folder: Path) -> None:
    methods = ["saliency", ("smoothgrad", {"samples": 3}), "gradcam"]
    photos = [str(one) for one in sorted(folder.iterdir())]
    here, there = (
        vizkit.explain(list(models.values()), photos, methods, [None, 3], seed=5, workers=workers)
        for workers in (None, 2)
    )
    assert [one.runs for one in lent] == [1]
    np.testing.assert_array_equal(there.values, here.values)
    assert there.provenance == here.provenance


def test_a_wrapped_network_is_sent_as_it_is_now(kit: Any, two: Team) -> None:
    native = kit.sequential([("conv", 3, 4, 3, 1), ("relu",), ("flatten",), ("dense", 4 * 16, 5)])
    model = vizkit.wrap(native, input_size=4, mean=(0.5,) * 3, std=(0.5,) * 3, labels=list("abcde"))
    picture = vizkit.images.noise(0, 255, size=64, seed=3)
    kit.write(native, "0.weight", model.parameter("0.weight") + 1)
    logits, left = dict(two.run(of_its_own, {"one": (packed([model]), picture)}))["one"]
    np.testing.assert_array_equal(logits, model.logits(picture))
    assert left


def test_changed_weights_are_refused(two: Team) -> None:
    model = vizkit.load("shapes")
    model.recipe = vizkit.load("shapes", weights="random:3").recipe
    with pytest.raises(SettingError, match="other weights"):
        list(two.run(of_its_own, {"a": (packed([model]), vizkit.images.noise(size=64))}))


def test_a_table(name: str, models: dict[str, Any], lent: list[Lent], monkeypatch: pytest.MonkeyPatch) -> None:
    """More pictures than a method gets at once, and a mapping of methods that no name stands for."""
    monkeypatch.setattr(ranking, "TOGETHER", 2)
    samples = shapes.sample(3, seed=3)
    metrics = ["relevance_mass", "max_sensitivity"]
    options: Mapping[str, Any] = {"max_sensitivity": {"samples": 1}}
    methods = {"own": partial(vizkit.saliency, fit="squash"), "gradcam": vizkit.gradcam}
    here, there = (
        evaluate.rank(models[name], samples, methods, metrics=metrics, options=options, workers=workers)
        for workers in (None, 2)
    )
    assert len(lent) == 1
    np.testing.assert_array_equal(there.per_image, here.per_image)
    assert (there.methods, there.provenance) == (here.methods, here.provenance)


def read(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def test_a_gallery(models: dict[str, Any], lent: list[Lent], tmp_path: Path) -> None:
    """All files of it, and what is there already is not made anew."""
    layers = ["features.3", "features.17"]
    quick: dict[str, Any] = {"layers": layers, "top": 2, "steps": 2, "size": 32}
    quick["images"] = list(shapes.sample(2, seed=1).images)
    for name, workers in (("here", None), ("there", 2)):
        gallery.make(list(models.values()), out=tmp_path / name, workers=workers, **quick)
    assert read(tmp_path / "there") == read(tmp_path / "here")
    before = {one: one.stat().st_mtime_ns for one in (tmp_path / "there" / gallery.STATE).iterdir()}
    gallery.make(list(models.values()), out=tmp_path / "there", workers=2, **quick)
    assert before == {one: one.stat().st_mtime_ns for one in (tmp_path / "there" / gallery.STATE).iterdir()}


def test_the_commands(
    lent: list[Lent], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of figures, predictions and a table, with the same bytes and words; no file says who worked."""
    monkeypatch.setattr("vizkit.cli.photos.TOGETHER", 1)
    monkeypatch.setattr("vizkit.cli.pictures.PHOTOS", 1)
    one = ["-m", "shapes", "--dtype", "float64", "-b", INSTALLED[0]]
    every = [*one, *(part for name in INSTALLED[1:] for part in ("-b", name))]
    said: dict[str, list[str]] = {}
    for where, workers in (("here", []), ("there", ["--workers", "2"])):
        out = tmp_path / where
        out.mkdir()
        monkeypatch.chdir(out)
        for arguments in (
            ["explain", str(folder), "--method", "saliency", *one, "--out", "figures"],
            ["explain", str(folder / "0.png"), "--method", "saliency", *every, "--out", "one.png"],
            ["predict", str(folder), "--top", "2", *every, "--csv", "rows.csv"],
            ["evaluate", str(folder), "--method", "saliency", "--metric", "average_drop", *every, "--out", "t.csv"],
        ):
            code, text, err = call(capsys, *arguments, *workers)
            assert code == 0, err
            said.setdefault(where, []).append(text)
    assert len(lent) == 3 + len(INSTALLED)
    assert said["there"] == said["here"]
    assert read(tmp_path / "there") == read(tmp_path / "here")
    assert len(read(tmp_path / "there" / "figures")) == 3


def test_a_folders_shards(name: str, lent: list[Lent], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker's sums are those of this process bit for bit, whichever framework it has."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for k, one in enumerate(shapes.sample(34, seed=6).images):  # two shards
        Image.fromarray(one).save(photos / f"{k:02d}.png")

    def table(state: str, *more: str) -> tuple[list[str], bytes]:
        given = ["shapes", "--images", str(photos), "--layer", "features.2", "-b", name, "--dtype", "float64", *more]
        code, out, err = call(capsys, "health", *given, "--state", str(tmp_path / state), "-o", str(tmp_path / "x.npz"))
        assert not code, err
        lines = [line for line in out.splitlines() if not line.startswith("wrote")]
        return lines, (tmp_path / state / "merged.npz").read_bytes()

    alone = table("alone")
    assert any("features.2" in line for line in alone[0])
    assert not lent
    assert table("by two", "--workers", "2") == alone
    assert len(lent) == 1
    assert table("by two") == alone  # nothing is left to do


def test_a_study(folder: Path, tmp_path: Path) -> None:
    """A real worker, with processes of its own for what it measures; what fails is told."""
    found = vizkit.compare(
        folder / "0.png",
        model="shapes",
        backend=INSTALLED[0],
        technique=["saliency", "gradcam"],
        settings={"gradcam": {"layer": "nowhere"}},
        repeats=1,
        threads=1,
        judge=False,
        out=tmp_path / "study",
        workers=1,
    )
    (failed,) = found.failures
    assert failed["technique"] == "gradcam"
    assert "nowhere" in failed["error"]
    (file,) = (tmp_path / "study" / "cells").glob("*.npz")
    model = vizkit.load("shapes", backend=found.results["cells"][0]["backend"])
    wanted = vizkit.saliency(model, folder / "0.png").values[0]
    assert cells.read(file) is not None
    with np.load(file) as arrays:
        np.testing.assert_allclose(arrays["values"], wanted, rtol=0, atol=1e-5 * wanted.max())


def test_on_a_cluster(models: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frameworks in the threads of a worker of Dask, here one of this process; the crew's tests start others."""
    distributed = pytest.importorskip("distributed")
    told: list[int] = []
    monkeypatch.setattr(contract, "set_threads", told.append)
    every, photo, methods = list(models.values()), folder / "1.png", ["saliency", "gradcam"]
    here = vizkit.explain(every, photo, methods)
    with distributed.LocalCluster(1, processes=False, threads_per_worker=3, dashboard_address=":0") as cluster:
        there = vizkit.explain(every, photo, methods, scheduler=cluster.scheduler_address)
    assert set(told) == {3}
    np.testing.assert_array_equal(there.values, here.values)
    assert there.provenance == here.provenance
