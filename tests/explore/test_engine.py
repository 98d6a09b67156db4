"""What the explorer shows is what the API says, in every backend."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from conftest import both
from PIL import Image

import vizkit
from vizkit.errors import ImageError, SettingError, UnknownNameError
from vizkit.explore import passes as passing
from vizkit.explore import units, views
from vizkit.explore.engine import Engine
from vizkit.explore.passes import Passes
from vizkit.explore.protocol import View, unpack
from vizkit.results.files import read_provenance
from vizkit.zoo import shapes

LAYER, UNIT = "features.9", 3
OFF = json.dumps([{"layer": LAYER, "unit": UNIT, "mode": "off"}])


def view(**given: Any) -> View:
    return View({"picture": "3", "layer": LAYER} | {name: str(value) for name, value in given.items()})


@pytest.fixture(scope="module")
def model_of() -> Any:
    known: dict[str, Any] = {}
    return lambda name: known.setdefault(name, vizkit.load("shapes", backend=name))


@pytest.fixture
def model(model_of: Any, name: str) -> Any:
    return model_of(name)


@pytest.fixture
def engine(model: Any) -> Engine:
    return Engine([model])


@pytest.fixture
def picture() -> Any:
    """The same picture as number 3 of the explorer's."""
    return shapes.sample(12, seed=7).images[3]


@pytest.mark.quick
def test_maps_are_those_of_the_api(engine: Engine, model: Any, picture: Any) -> None:
    true = vizkit.feature_maps(model, picture, LAYER, fit="squash").values[0]
    header, found = unpack(engine.maps(view(count=4, size=12, **{"from": 2})))
    strength = np.abs(true).mean(axis=(1, 2))
    assert header["shape"] == list(true.shape)
    assert (np.diff(found["strength"]) <= 0).all()
    np.testing.assert_allclose(found["strength"], strength[found["order"]], rtol=1e-5)
    shown = found["order"][2:6]
    small = true[shown].reshape(4, 12, 4, 12, 4).mean(axis=(2, 4))
    low, high = true[shown].min(axis=(1, 2)), true[shown].max(axis=(1, 2))
    np.testing.assert_allclose(found["low"], low, atol=1e-5)
    expected = (small - low[:, None, None]) / (high - low)[:, None, None] * 255
    assert np.abs(found["thumbs"] - expected).max() <= 0.51
    exact = unpack(engine.map(view(unit=UNIT)))[1]["map"]
    np.testing.assert_allclose(exact, true[UNIT], atol=1e-5)


@pytest.mark.quick
def test_predictions_are_those_of_the_api(engine: Engine, model: Any, picture: Any) -> None:
    rows = engine.predictions(view(top=3))["backends"][0]["rows"]
    assert rows == [vars(one) for one in model.predict(picture, 3, fit="squash")]
    off = engine.predictions(view(top=3, edits=OFF))["backends"][0]["rows"]
    again = vizkit.edited(model, [(LAYER, UNIT)]).predict(picture, 3, fit="squash")
    assert off == [vars(one) for one in again] != rows


@both()
def test_the_other_backend_stands_beside_with_the_difference(model_of: Any) -> None:
    ours, theirs = model_of("torch"), model_of("gluon")
    changed = theirs.with_parameters({"features.7.weight": 1.5 * theirs.parameter("features.7.weight")})
    engine = Engine([ours, changed])
    found = unpack(engine.maps(view(other="gluon", count=32)))[1]
    picture = shapes.sample(12, seed=7).images[3]
    a, b = (vizkit.feature_maps(one, picture, LAYER, fit="squash").values[0] for one in (ours, changed))
    true = np.abs(a - b).max(axis=(1, 2)) / np.abs(a).max(axis=(1, 2))
    np.testing.assert_allclose(found["difference"], true[found["order"]], rtol=1e-3, atol=1e-6)
    header, one = unpack(engine.map(view(unit=UNIT, other="gluon")))
    assert header["difference"] == pytest.approx(true[UNIT], rel=1e-3)
    np.testing.assert_allclose(one["other"], b[UNIT], atol=1e-5)


def test_one_pass_serves_every_layer(engine: Engine, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = engine.of(view())
    engine.ahead(view())
    monkeypatch.setattr(type(model), "forward", lambda *_, **__: pytest.fail("computed again"))
    for name in model.layers:
        passes.maps(*_batch(engine), (), name)


def _batch(engine: Engine) -> tuple[Any, str]:
    found = engine.picture(view())
    return found.batch, found.digest


def test_passes_are_bounded_and_follow_the_weights(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "OLDER", 0)
    engine = Engine([model.with_parameters({"features.0.bias": model.parameter("features.0.bias")})])
    passes = engine.of(view())
    for number in range(3):
        engine.maps(view(picture=number))
        assert len(passes._kept) == 1
    engine.maps(view(edits=OFF))
    both = dict(passes._kept)
    assert len(both) == 2, "the pass without edits stays beside"
    engine.maps(view(edits=OFF))
    engine.maps(view())
    engine.map(view(edits=OFF, unit=UNIT))
    assert all(passes._kept[key] is found for key, found in both.items()), "and neither is made again"
    monkeypatch.setattr(passing, "ONE", passes.bytes() // 4)
    few = Passes(passes.model)
    known = few.complete(*_batch(engine), ())
    left_out = next(name for name in reversed(model.layers) if few._same.get(name, name) not in known)
    np.testing.assert_allclose(
        few.maps(*_batch(engine), (), left_out), passes.maps(*_batch(engine), (), left_out), atol=1e-5
    )


def test_a_network_that_is_trained_shows_its_new_weights(kit: Any) -> None:
    from kits import TRAPS, TRAPS_SIZE

    model = vizkit.wrap(kit.sequential(TRAPS, dtype="float32"), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    layer = next(iter(model.filter_layers()))
    engine = Engine([model])
    asked = View({"picture": "0", "layer": layer, "unit": "0"})
    before = unpack(engine.map(asked))[1]["map"].copy()
    kit.write(model.native, f"{layer}.weight", 0 * model.parameter(f"{layer}.weight"))
    after = unpack(engine.map(asked))[1]["map"]
    assert np.ptp(before) > 0
    assert np.ptp(after) == 0


def test_a_units_field_and_filter_are_those_of_the_api(engine: Engine, model: Any, picture: Any) -> None:
    found = units.unit(engine, view(unit=UNIT, y=5, x=7))
    field = vizkit.receptive_field(model, picture, LAYER, unit=UNIT, at=(5, 7), noise=0, fit="squash")
    top, left, bottom, right = found["field"]["theoretical"]
    assert (max(top, 0), max(left, 0), min(bottom, 96), min(right, 96)) == field.boxes[0]
    shown = unpack(units.effective(engine, view(unit=UNIT, y=5, x=7)))[1]["field"]
    np.testing.assert_allclose(shown, field.values[0], atol=1e-6)
    assert shown[max(top, 0) : bottom, max(left, 0) : right].sum() == pytest.approx(shown.sum(), rel=1e-6)
    kernel = unpack(units.weights(engine, view(unit=UNIT)))[1]["kernel"]
    np.testing.assert_array_equal(kernel, model.weight("features.7")[UNIT])
    assert found["parameters"]["layer"] == "features.7"
    assert found["parameters"]["kernel"] == [32, 3, 3]


def test_the_session_names_every_layer_method_and_picture(engine: Engine, model: Any) -> None:
    session = json.loads(json.dumps(engine.session))
    assert [one["name"] for one in session["layers"]] == list(model.layers)
    graph = model.graph()
    assert [(one["id"], one["kind"]) for one in session["diagram"]["nodes"]] == [(n.name, n.kind) for n in graph.nodes]
    assert session["diagram"]["edges"] == [list(edge) for edge in graph.edges]
    named = {one["id"]: one["layer"] for one in session["diagram"]["nodes"]}
    assert named["features.9"] == "features.9"
    assert {"gradcam", "saliency"} <= {one["name"] for one in session["methods"]}
    assert all(one["family"] and one["line"] for one in session["methods"])
    assert [one["mask"] for one in session["pictures"]] == [True] * 12
    png = Image.open(io.BytesIO(engine.png(view())))
    np.testing.assert_array_equal(np.asarray(png), shapes.sample(12, seed=7).images[3])


def test_pictures_are_brought_and_those_of_a_folder_listed(model: Any, tmp_path: Any) -> None:
    Image.fromarray(np.full((120, 200, 3), 90, np.uint8)).save(tmp_path / "<b>gray.png")
    engine = Engine([model], vizkit.folders.find(tmp_path))
    listed, after = engine.gallery.page(11, 5)
    assert [one["name"] for one in listed][1:] == ["<b>gray.png"]
    assert after is None
    data = vizkit.images.sample().read_bytes()
    one, two = engine.gallery.bring(data, "cat\n.jpg"), engine.gallery.bring(data, "again.jpg")
    assert (one.id, one.name, two.name) == (two.id, "cat.jpg", "again.jpg")
    true = model.predict(vizkit.images.sample(), 1)[0]
    assert engine.predictions(view(picture=one.id, top=1))["backends"][0]["rows"] == [vars(true)]
    for wrong in ("99", "uabc", "../0", "-1", "²"):
        with pytest.raises(ImageError, match="no picture"):
            engine.picture(view(picture=wrong))


@pytest.mark.parametrize(
    ("shown", "technique", "call"),
    [
        ("layer=features.9&tab=layer", "feature_maps", "feature_maps(model, picture, 'features.9', fit='squash')"),
        ("layer=features.9&unit=3&y=5&x=7&tab=unit", "receptive_field", "unit=3, at=(5, 7), noise=0, fit='squash')"),
        ("methods=saliency&target=2&tab=explain", "explain", "vizkit.explain(model, picture, ['saliency'], [2]"),
        ("tab=ablate", "predict", "print(model.predict(picture, 10, fit='squash'))"),
    ],
)
def test_a_view_is_saved_with_its_provenance_and_its_line(
    engine: Engine, shown: str, technique: str, call: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = View.of(f"#picture=3&{shown}&edits={OFF}")
    (tmp_path / "view.png").write_bytes(views.save(engine, asked))
    made = read_provenance(tmp_path / "view.png")
    first = made["results"][0][0][0] if technique == "explain" else made
    assert made["technique"] == technique
    assert first["weights"]["note"].endswith(f"edited: {LAYER}[{UNIT}] off")
    line = views.line(engine, asked)
    assert call in line
    assert "vizkit.edited(model, [('features.9', 3, None)])" in line
    monkeypatch.chdir(tmp_path)
    exec(compile(line, "line", "exec"), {})
    if technique not in ("predict",):
        again = read_provenance(next(one for one in tmp_path.iterdir() if one.name != "view.png"))
        again = again["results"][0][0][0] if technique == "explain" else again
        assert again["settings"]["fit"] == "squash"
        assert again["images"][0]["sha256"] == first["images"][0]["sha256"]


@pytest.mark.parametrize("wrong", [{"layer": "nope"}, {"unit": 99}, {"b": "nope"}, {"picture": "77"}])
def test_what_is_not_there_is_named(engine: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises((UnknownNameError, ImageError)):
        engine.map(view(**{"unit": UNIT, **wrong}))


def test_networks_that_cannot_stand_beside_each_other_are_refused(model: Any) -> None:
    with pytest.raises(SettingError, match="once in each backend"):
        Engine([model, model])
