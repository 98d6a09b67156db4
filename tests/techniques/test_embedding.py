"""Embeddings: neighbourhoods are kept, the measures are right, and the page holds every picture."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import both
from PIL import Image

import vizkit
from vizkit import embedding, folders
from vizkit.draw import scatter
from vizkit.errors import BackendMissingError, SettingError
from vizkit.techniques.features.placing import neighbour_accuracy, principal
from vizkit.zoo import shapes

manifold = pytest.importorskip("sklearn.manifold")
SAMPLES = shapes.sample(360, seed=11)
LABELS = [shapes.CLASSES[int(label)] for label in SAMPLES.labels]
PICTURES = folders.collect(SAMPLES.images, LABELS)


@pytest.fixture(scope="module")
def found() -> Any:
    return vizkit.embed(vizkit.load("shapes"), PICTURES)


def test_class_neighbourhoods_are_kept(found: Any) -> None:
    """Measured: 98.6% by the features, 99.2% in the picture, 8.3% by chance; trustworthiness 0.998."""
    assert found.accuracy["chance"] == pytest.approx(1 / 12)
    assert found.accuracy["features"] > 0.97
    assert found.accuracy["places"] > 0.97
    assert found.trustworthiness > 0.99
    reduced = principal(found.features, 50)
    expected = manifold.trustworthiness(reduced, found.values, n_neighbors=10)
    assert found.trustworthiness == pytest.approx(expected, abs=1e-12)


def test_the_measures_see_a_bad_map(found: Any) -> None:
    shuffled = np.random.default_rng(0).permutation(found.values)
    truth = SAMPLES.labels
    assert neighbour_accuracy(shuffled, truth) < 0.2
    assert manifold.trustworthiness(found.features, shuffled, n_neighbors=10) < 0.6


def test_too_few_that_can_be_read(tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    for i in range(4):
        Image.fromarray(SAMPLES.images[i]).save(tmp_path / f"{i}.png")
    with pytest.raises(SettingError, match=r"4 points have no neighbourhoods that tsne could show"):
        vizkit.embed(vizkit.load("shapes"), tmp_path)


@pytest.mark.quick
def test_neighbour_accuracy_by_hand(rng: Any) -> None:
    points, truth = rng.random((60, 3)), rng.integers(0, 4, 60)
    right = 0
    for i in range(60):
        gaps = ((points - points[i]) ** 2).sum(axis=1)
        gaps[i] = np.inf
        nearest = truth[np.argsort(gaps)[:10]]
        votes = np.bincount(nearest, minlength=4)
        winners = [label for label in nearest if votes[label] == votes.max()]
        right += winners[0] == truth[i]
    assert neighbour_accuracy(points, truth) == right / 60


@pytest.mark.quick
@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_principal_components(rng: Any, shape: tuple[int, int]) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    values = rng.random(shape) * np.arange(1, shape[1] + 1)
    expected = decomposition.PCA(5, svd_solver="full").fit_transform(values)
    np.testing.assert_allclose(np.abs(principal(values, 5)), np.abs(expected), rtol=1e-7, atol=1e-9)


def test_features_are_pooled_as_stated(name: str) -> None:
    model = vizkit.load("shapes", backend=name, dtype="float64")
    drawn = PICTURES.items[:20]
    maps = vizkit.feature_maps(model, list(drawn), "features.16").values
    for pool, expected in (
        ("mean", maps.mean(axis=(2, 3))),
        ("max", maps.max(axis=(2, 3))),
        ("none", maps.reshape(20, -1)),
    ):
        made = vizkit.embed(model, list(drawn), "features.16", method="pca", pool=pool, batch_size=6)
        np.testing.assert_allclose(made.features, expected, rtol=1e-10, atol=1e-12)


@both()
def test_backends_agree() -> None:
    few = SAMPLES.images[:60]
    a, b = (
        vizkit.embed(vizkit.load("shapes", backend=name, dtype="float64"), few, method="pca", labels=LABELS[:60])
        for name in ("torch", "gluon")
    )
    np.testing.assert_allclose(a.features, b.features, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(a.values, b.values, rtol=1e-8, atol=1e-9)
    assert a.accuracy == b.accuracy


def test_thumbnails_do_not_cover_each_other(found: Any) -> None:
    corners, drawn = scatter.place(found.values, 40, 1200)
    shown = corners[drawn]
    assert len(shown) > 200
    gaps = np.abs(shown[:, None] - shown[None]).max(axis=2) + 10000 * np.eye(len(shown), dtype=int)
    assert gaps.min() >= 40
    exact = scatter.spread(found.values)[:, ::-1] * 29 * 40
    assert np.abs(shown - exact[drawn]).max() <= (scatter.REACH + 0.5) * 40
    assert corners.min() >= 0
    assert corners.max() <= 1200 - 40


def test_the_page_holds_every_picture(found: Any, tmp_path: Path) -> None:
    page = embedding.write([found], tmp_path / "map").read_text(encoding="utf-8")
    data = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)[0])
    assert data["names"] == list(found.names)
    assert [data["labels"][k] for k in data["label"]] == LABELS
    np.testing.assert_allclose(np.column_stack([data["x"], data["y"]]), scatter.spread(found.values), atol=1e-5)
    sheets = re.findall(r'<img hidden alt="" src="data:image/jpeg;base64,([^"]+)"', page)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheets[0]))), dtype=int)
    for i in (0, 33, 359):
        top, left = i // 32 * 64, i % 32 * 64
        assert np.abs(sheet[top : top + 64, left : left + 64] - found.thumbnails[i]).mean() < 12
    assert not re.search(r'(src|href)="(http|//)', page)
    assert f"{found.trustworthiness:.3f}" in page
    assert {path.name for path in (tmp_path / "map").iterdir()} == {"index.html", "scatter-1.png"}
    embedding.write([found], tmp_path / "map")
    (tmp_path / "map" / "mine.txt").write_text("x")
    with pytest.raises(SettingError, match=r"mine\.txt"):
        embedding.write([found], tmp_path / "map")


@pytest.mark.quick
def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    labels = ["</script><b>", "a"] * 6
    made = vizkit.embed(vizkit.load("shapes"), folders.collect(SAMPLES.images[:12], labels), method="pca")
    page = embedding.page.widget(made)
    assert "</script><b>" not in page
    data = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)[0])
    assert data["labels"] == ["</script><b>", "a"]


@pytest.mark.quick
def test_without_labels_there_is_no_accuracy() -> None:
    made = vizkit.embed(vizkit.load("shapes"), SAMPLES.images[:30], method="pca")
    assert made.accuracy == {}
    assert made.figure().axes


@pytest.mark.quick
def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = vizkit.load("shapes")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(BackendMissingError, match=r"umap-learn.*vizkit\[umap\]"):
        vizkit.embed(model, PICTURES, method="umap")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(BackendMissingError, match=r"scikit-learn.*vizkit\[explain\]"):
        vizkit.embed(model, PICTURES)
    with pytest.raises(SettingError, match="'tsne', 'umap' or 'pca'"):
        vizkit.embed(model, PICTURES, method="som")
