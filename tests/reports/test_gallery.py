"""Galleries: the sheets, the page, and what a stopped one finds when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vizkit
from vizkit import gallery, results
from vizkit.errors import SettingError, UnknownNameError
from vizkit.techniques.dreams import panels as _panels
from vizkit.zoo import shapes

LAYERS = ["features.3", "features.17"]
QUICK = {"top": 2, "steps": 2, "size": 32}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray[Any, Any]]:
    """Samples of shapes, as arrays."""
    return list(shapes.sample(6, seed=1).images)


def test_pages_sheets_and_pictures(name: str, tmp_path: Path, pictures: list[Any]) -> None:
    model = vizkit.load("shapes", backend=name)
    index = gallery.make(model, layers=LAYERS, images=pictures, out=tmp_path / "g", **QUICK)
    assert {path.name for path in index.parent.iterdir()} == {
        *(f"{one}.png" for one in LAYERS),
        "index.html",
        "pictures",
    }
    page = index.read_text(encoding="utf-8")
    for layer in LAYERS:
        made = results.read_provenance(index.parent / f"{layer}.png")
        (only,) = made["results"]
        chosen = vizkit.top_units(model, pictures, layer, 2)
        assert only["units"] == list(chosen.units)
        assert f"Settings of “{layer}”" in page
        with np.load(index.parent / "pictures" / f"{layer}-{name}.npz") as stored:
            alone = vizkit.render(
                model,
                vizkit.objectives.unit(layer, chosen.units),
                parametrisation=vizkit.parametrisations.Fourier(32),
                steps=2,
                images=pictures,
            )
            np.testing.assert_array_equal(stored["values"], alone.values)
            np.testing.assert_array_equal(stored["percentile"], alone.evidence.percentile)


def test_finished_pictures_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery that is stopped in its second layer has a page of the first, and goes on with the second."""
    model = vizkit.load("shapes")
    out = tmp_path / "g"
    real = gallery.optimise
    calls: list[str] = []

    def once(model: Any, objective: Any, **options: Any) -> Any:
        calls.append(objective.layer)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(model, objective, **options)

    monkeypatch.setattr(gallery, "optimise", once)
    given = list(shapes.sample(2, seed=1).images)
    with pytest.raises(KeyboardInterrupt):
        gallery.make(model, layers=LAYERS, images=given, out=out, **QUICK)
    assert f"{LAYERS[0]}.png" in (out / "index.html").read_text(encoding="utf-8")
    assert not (out / f"{LAYERS[1]}.png").exists()
    index = gallery.make(model, layers=LAYERS, images=given, out=out, **QUICK)
    assert calls == [LAYERS[0], LAYERS[1], LAYERS[1]]
    whole = index.read_bytes()
    assert gallery.make(model, layers=LAYERS, images=given, out=out, **QUICK).read_bytes() == whole
    assert len(calls) == 3
    gallery.make(model, layers=LAYERS, images=given, out=out, **{**QUICK, "steps": 3})
    assert calls[3:] == LAYERS, "other settings are other pictures"


def test_one_that_is_stopped_at_once_leaves_no_folder_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_given: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery, "top_units", stop)
    with pytest.raises(KeyboardInterrupt):
        gallery.make(vizkit.load("shapes"), layers=LAYERS, out=tmp_path / "g", **QUICK)
    assert not [*(tmp_path / "g").iterdir()]


def test_dead_units_are_marked_and_told(tmp_path: Path) -> None:
    """A unit whose bias is far below zero is shown as failed, and said to be."""
    model = vizkit.load("shapes")
    layer, bias = "features.9", "features.8.bias"
    shifted = model.parameter(bias)
    shifted[:] = -1e4
    dead = model.with_parameters({bias: shifted})
    said: list[str] = []
    index = gallery.make(
        dead, layers=layer, images=vizkit.images.sample(), out=tmp_path / "g", tell=said.append, **QUICK
    )
    assert len(said) == 2
    assert all("never activated" in one for one in said)
    assert "2 of 2 pictures never activated their unit" in index.read_text(encoding="utf-8")


def test_top_units_by_hand(name: str, pictures: list[Any]) -> None:
    model = vizkit.load("shapes", backend=name)
    found = vizkit.top_units(model, pictures, "features.9", 4, batch_size=4)
    maps = vizkit.feature_maps(model, pictures, "features.9").values.astype(np.float64)
    expected = maps.mean(axis=(0, 2, 3))
    assert list(found.units) == list(np.argsort(-expected)[:4])
    np.testing.assert_allclose(found.values, np.sort(expected)[::-1][:4], rtol=1e-6)
    by_reach = vizkit.top_units(model, None, "features.2", 3, steps=3, size=32)
    alone = vizkit.render(
        model,
        vizkit.objectives.unit("features.2", by_reach.units),
        parametrisation=vizkit.parametrisations.Fourier(32),
        steps=3,
    )
    np.testing.assert_allclose(by_reach.values, alone.evidence.activation, rtol=1e-4)
    assert by_reach.every.max() == by_reach.values[0]


def test_panels_are_stages(name: str) -> None:
    google = vizkit.load("googlenet", backend=name, weights="random:0")
    assert _panels.panels([google]) == [
        *("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3"),
        *("inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4"),
        *("inception5a", "inception5b"),
    ]
    residual = vizkit.load("resnet18", backend=name, weights="random:0")
    assert _panels.panels([residual])[:4] == ["relu", "maxpool", "layer1.0", "layer1.1"]


@pytest.mark.quick
def test_mistakes(tmp_path: Path) -> None:
    model = vizkit.load("shapes")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingError, match=r"mine\.txt"):
        gallery.make(model, layers=LAYERS, out=tmp_path)
    with pytest.raises(UnknownNameError, match=r"features\.3"):
        gallery.make(model, layers="feature.3", out=tmp_path / "g")
    with pytest.raises(SettingError, match="names no layer"):
        gallery.chosen_layers([" "])
    with pytest.raises(SettingError, match="k=0"):
        vizkit.top_units(model, None, "features.2", 0)
