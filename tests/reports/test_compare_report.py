"""``vizkit compare`` end to end: its numbers from its raw arrays, what it resumes, what it says of failures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import recompute, studies
from PIL import Image

import vizkit
from vizkit.reports.compare import machine, worker
from vizkit.reports.compare import run as running
from vizkit.reports.compare.pictures import depth
from vizkit.zoo import shapes

LAYERS = ["features.0", "features.9", "features.16", "features.23", "classifier.3"]
COMMON: dict[str, Any] = {"repeats": 3, "threads": 1, "layers": LAYERS}


@pytest.fixture(scope="module")
def photos2(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two pictures of shapes, at 120 pixels, so that they are resampled as photos are."""
    folder = tmp_path_factory.mktemp("photos")
    for k, picture in enumerate(shapes.sample(2, seed=5).images):
        Image.fromarray(picture).resize((120, 120)).save(folder / f"shape{k}.png")
    return [str(folder / f"shape{k}.png") for k in range(2)]


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        studies.here(patch)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, photos2: list[str]) -> Any:
    """shapes in every installed backend, map and some layers, with the judge where PyTorch is."""
    techniques = ["saliency", "feature_maps"]
    out = tmp_path_factory.mktemp("study") / "report"
    return vizkit.compare(photos2, model="shapes", technique=techniques, out=out, **COMMON)


def test_every_number_is_reproduced_from_the_arrays(study: Any) -> None:
    counts = recompute.check(study.index.parent)
    assert counts["comparisons"] > 300
    assert counts["rows"] == counts["comparisons"] + counts["measurements"]


@pytest.mark.quick
@pytest.mark.skipif("VIZKIT_REPORT" not in os.environ, reason="checks the report in the folder VIZKIT_REPORT, if given")
def test_a_given_report_is_reproduced_from_its_arrays() -> None:
    assert recompute.check(Path(os.environ["VIZKIT_REPORT"]))["comparisons"] > 0


def test_the_arrays_are_what_the_techniques_give(study: Any, photos2: list[str], name: str) -> None:
    """A cell computed in a process of its own holds what Python gives here."""
    model = vizkit.load("shapes", backend=name)
    row = next(one for one in study.results["cells"] if one["backend"] == name and one["dtype"] == "float32")
    assert row["technique"] == "saliency"
    with np.load(study.index.parent / "cells" / row["file"]) as arrays:
        expected = vizkit.saliency(model, photos2[0])
        np.testing.assert_allclose(arrays["values"], expected.values[0], rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(arrays["picture"], expected.batch.pictures[0])
        np.testing.assert_allclose(arrays["logits"], model.logits(photos2[0])[0], rtol=1e-5, atol=1e-5)
    assert row["target"]["label"] == model.predict(photos2[0])[0].label
    assert row["weights_sha256"] == model.sha256()


@pytest.mark.quick
def test_layers_to_compare() -> None:
    model: Any = SimpleNamespace(layers=["conv1", "layer1.0", "layer1.0.conv1", "fc"])
    assert worker.selected(model, "all") == model.layers
    assert worker.selected(model, "blocks") == ["conv1", "layer1.0", "fc"]


@both()
def test_both_backends_agree_and_the_judge_says_so(study: Any) -> None:
    results = study.results
    assert results["worst_relative_l2_of_backends"] < 1e-4
    for one in results["divergences"]:
        assert one["layers"] == len(LAYERS)
        assert 0 < one["errors"]["torch"] < 1e-5
        assert 0 < one["errors"]["gluon"] < 1e-5
    assert not study.beyond(1e-3)
    assert len(study.beyond(0.0)) > 10
    same = [row for row in results["comparisons"] if row["array"] == "logits"]
    assert all(row["numbers"]["top1"] == row["numbers"]["top5"] == 1 for row in same)


def test_measurements(study: Any) -> None:
    """Threads and processes are as stated; memory is measured apart from what the process held before."""
    for one in study.results["cells"]:
        assert one["numbers"]["runs"] == (1 if one["dtype"] == "float64" else 3)
        assert one["numbers"]["peak_bytes"] >= 0.9 * one["numbers"]["loaded_bytes"] > 0
        assert ("mxnet" in one["versions"]) == (one["backend"] == "gluon")
        assert ("torch" in one["versions"]) == (one["backend"] == "torch")
    assert study.results["study"]["threads"] == 1
    assert study.results["hardware"]["processor"] == machine.processor()


def test_the_report_names_no_folder(study: Any, photos2: list[str]) -> None:
    """It can be handed on: files by name alone, pictures on the page and beside it, everything stated."""
    folder = study.index.parent
    page = study.index.read_text(encoding="utf-8")
    for name in ("index.html", "results.json", "results.csv", "study.toml"):
        text = (folder / name).read_text(encoding="utf-8")
        assert str(Path(photos2[0]).parent) not in text
        assert str(folder) not in text
        assert "shape1.png" in text
    for picture in folder.glob("*.png"):
        assert f'href="{picture.name}"' in page
        made = vizkit.results.read_provenance(picture)
        assert made["page"] == "vizkit compare"
        assert {one["model"] for one in made["results"]} == {"shapes"}
    assert len(list(folder.glob("*.png"))) == 3
    assert study.results["cells"][0]["weights_sha256"] in page


@both()
def test_a_stopped_study_computes_only_what_is_missing(study: Any, photos2: list[str], monkeypatch: Any) -> None:
    folder = study.index.parent
    before = {path: path.stat().st_mtime_ns for path in sorted((folder / "cells").iterdir())}
    gone, cut = [path for path in before if "gluon-saliency" in path.name]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:1000])
    asked: list[str] = []
    compute = running.compute
    monkeypatch.setattr(running, "compute", lambda p, w, *rest: asked.extend(c.file for c in w) or compute(p, w, *rest))
    again = vizkit.compare(photos2, study=folder / "study.toml", out=folder)
    assert sorted(asked) == sorted([gone.name, cut.name])
    after = {path: path.stat().st_mtime_ns for path in sorted((folder / "cells").iterdir())}
    assert {path for path in before if before[path] == after[path]} == set(before) - {gone, cut}
    assert again.results["divergences"] == study.results["divergences"]
    recompute.check(folder)


def test_a_chart_says_where_no_difference_is_drawn() -> None:
    """A logarithmic scale has no place for zero."""
    for least, said in ((0.0, True), (1e-7, False)):
        (axes,) = depth(["a", "b"], {"gluon against torch": [least, 2e-7]}, 1e-5).axes
        assert ("no difference: drawn at 1e-10" in axes.get_ylabel()) == said
