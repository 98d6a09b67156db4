"""Caricatures and sheets of sprites: the likeness by hand, the rise of the cosine, sprites as alone, the sheet's
pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from PIL import Image

import vizkit
from vizkit import images, objectives
from vizkit.errors import SettingError, ShapeError, UnknownNameError
from vizkit.parametrisations import Fourier
from vizkit.techniques.dreams.ascent import Ascent
from vizkit.techniques.dreams.likeness import Likeness, cosine_between
from vizkit.techniques.dreams.objectives import Seen
from vizkit.techniques.dreams.sheet import VIEWS
from vizkit.zoo import shapes

LAYER = "features.9"


@pytest.mark.quick
@pytest.mark.parametrize("power", [0.0, 2.0])
def test_the_likeness_by_hand(name: str, rng: Any, power: float) -> None:
    model = vizkit.load("shapes", backend=name, dtype="float64")
    photos = images.prepare(list(shapes.sample(3, seed=1).images), model.spec)
    maps = vizkit.feature_maps(model, photos, LAYER).values
    photo, ops = photos.part([0]), model.ops
    x = ops.asarray(photos.tensor)
    seen = Seen(model, {LAYER: ops.asarray(maps)}, x, None, x)
    found = ops.numpy(Likeness(LAYER, photo, False, "likeness", "x", power).value(seen))
    flat = maps.reshape(3, -1)
    cosine = flat @ flat[0] / np.linalg.norm(flat, axis=1) / np.linalg.norm(flat[0])
    expected = flat @ flat[0] / (flat[0] @ flat[0]) * np.maximum(cosine, 0.1) ** power
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(found[0], 1, rtol=1e-8)
    assert cosine_between(model, LAYER, photos.tensor[:1], photos.tensor[1:2]) == pytest.approx(cosine[1], rel=1e-8)


def test_a_caricature_comes_near_the_photo(name: str) -> None:
    """From 0.42 after one step to 0.55 after 24; the cosine given is that of the picture."""
    model, photo = vizkit.load("shapes", backend=name), shapes.sample(8, seed=2026).images[7]
    short, long = (vizkit.caricature(model, photo, LAYER, steps=steps) for steps in (1, 24))
    assert long.cosine[0] > short.cosine[0] + 0.1
    pair = images.normalise(long.values, model.spec), images.prepare(photo, model.spec).tensor
    a, b = (vizkit.feature_maps(model, list(one.astype(np.float32)), LAYER).values.ravel() for one in pair)
    assert long.cosine[0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-4)
    again = vizkit.caricature(model, photo, LAYER, steps=1)
    assert (again.values == short.values).all()
    assert {"layers", "steps", "lr", "cosine_power", "seed", "fit", "transforms"} <= set(long.provenance["settings"])
    assert len(long.figure().axes) == 2


@both()
def test_gluon_is_pytorch() -> None:
    """The first steps, before rounding is magnified; measured 1e-14 on the pictures and 2e-16 on the cosine."""
    photo = shapes.sample(1, seed=3).images[0]
    models = [vizkit.load("shapes", backend=name, dtype="float64") for name in ("torch", "gluon")]
    first, second = (vizkit.caricature(model, photo, LAYER, steps=3) for model in models)
    np.testing.assert_allclose(first.values, second.values, atol=1e-8)
    np.testing.assert_allclose(first.cosine, second.cosine, rtol=1e-8)
    one, other = (vizkit.spritemap(model, LAYER, [1, 4], size=16, steps=3) for model in models)
    np.testing.assert_allclose(one.values, other.values, atol=1e-8)
    np.testing.assert_allclose(one.activation, other.activation, rtol=1e-8)


def test_a_sprite_does_not_depend_on_the_others(name: str) -> None:
    model = vizkit.load("shapes", backend=name, dtype="float64")
    found = vizkit.spritemap(model, LAYER, [3, 5, 7], size=16, steps=3, batch_size=2)
    for k, unit in enumerate(found.units):
        alone = vizkit.render(
            model, objectives.unit(LAYER, [unit]), parametrisation=Fourier(16), transforms=VIEWS, steps=3
        )
        np.testing.assert_allclose(found.values[k], alone.values[0], atol=1e-9)
        np.testing.assert_allclose(found.activation[k], alone.evidence.activation[0], rtol=1e-8)


@pytest.mark.quick
def test_the_sheet_is_the_sprites_pixel_by_pixel(tmp_path: Path) -> None:
    model = vizkit.load("shapes", backend=INSTALLED[0])
    found = vizkit.spritemap(model, "classifier.3", size=16, steps=1, columns=5)
    assert found.units == tuple(range(12))
    small = images.picture(found.values)
    saved = found.save(tmp_path / "sheet.png", sheet=True)
    with Image.open(saved) as opened:
        sheet, made = np.asarray(opened), json.loads(opened.info["vizkit"])
    assert sheet.shape == (48, 80, 3)
    for row, one in zip(found.records(), small, strict=True):
        top, left = row["top"], row["left"]
        assert (sheet[top : top + 16, left : left + 16] == one).all()
    assert not sheet[32:, 32:].any()
    assert made == json.loads(json.dumps(found.provenance))
    assert {"layer", "unit", "size", "steps", "lr", "columns", "seed", "transforms"} <= set(made["settings"])
    assert vizkit.spritemap(model, LAYER, range(5), size=16, steps=1).columns == 3
    assert found.save(tmp_path / "sheet.npz").exists()
    with pytest.raises(SettingError, match="sheet is written as"):
        found.save(tmp_path / "sheet.npz", sheet=True)


@pytest.mark.quick
def test_a_figure_of_sprites_says_which_unit_each_is_and_what_it_reached(tmp_path: Path) -> None:
    model = vizkit.load("shapes", backend=INSTALLED[0])
    found = vizkit.spritemap(model, "classifier.3", [7, 2], size=16, steps=1)
    found = replace(found, activation=np.array([0.5, 12.0]), failed=np.array([False, True]))
    figure = found.figure()
    assert [axis.get_title() for axis in figure.axes] == ["7: 0.5", "2: 12"]
    assert [axis.images[0].get_alpha() for axis in figure.axes] == [None, 0.25]
    assert "pale: no response" in figure.get_supxlabel()
    assert "pale" not in replace(found, failed=np.zeros(2, bool)).figure().get_supxlabel()
    with Image.open(found.save(tmp_path / "a.png")) as opened:  # the figure, not the sheet of 16 pixels
        assert opened.size[0] > 50


@pytest.mark.quick
def test_finished_batches_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, steps = vizkit.load("shapes", backend=INSTALLED[0]), []
    given: dict[str, Any] = {"size": 16, "steps": 2, "batch_size": 2, "state": tmp_path / "sprites.npz"}
    first = vizkit.spritemap(model, LAYER, [1, 2, 3], **given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sprites-0.npz", "sprites-2.npz"]
    (tmp_path / "sprites-2.npz").unlink()
    step = Ascent.step
    monkeypatch.setattr(Ascent, "step", lambda *given, **more: (steps.append(1), step(*given, **more))[1])
    again = vizkit.spritemap(model, LAYER, [1, 2, 3], **given)
    assert len(steps) == 2
    np.testing.assert_allclose(again.values, first.values, atol=1e-6)


@pytest.mark.quick
def test_what_they_refuse() -> None:
    model, photos = vizkit.load("shapes", backend=INSTALLED[0]), list(shapes.sample(2, seed=1).images)
    with pytest.raises(SettingError, match="one image; got 2"):
        vizkit.caricature(model, photos, LAYER)
    with pytest.raises(UnknownNameError):
        vizkit.caricature(model, photos[0], "features.99")
    with pytest.raises(SettingError, match="columns=0"):
        vizkit.spritemap(model, LAYER, columns=0)
    with pytest.raises(SettingError, match="size=4"):
        vizkit.spritemap(model, LAYER, size=4)
    with pytest.raises((SettingError, ShapeError), match="no 99"):
        vizkit.spritemap(model, LAYER, 99)
