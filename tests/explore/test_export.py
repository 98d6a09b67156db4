"""An exported site holds what its views need, equal to what the server answers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from conftest import INSTALLED, call

import vizkit
from vizkit.errors import SettingError, UnknownNameError
from vizkit.explore.engine import Engine
from vizkit.explore.export import export, key
from vizkit.explore.protocol import View, unpack

EDITS = '[{"layer":"features.9","unit":3,"mode":"add","amount":2.0}]'
VIEWS = (
    "#picture=3&layer=features.9&tab=layer",
    "picture=3&layer=features.9&unit=3&tab=unit",
    f"picture=3&methods=saliency,gradcam&tab=explain&edits={EDITS}",
)


def read(folder: Path) -> dict[str, Any]:
    text = (folder / "data.js").read_text(encoding="utf-8")
    start, end = "window.VIZKIT_EXPORT = ", ";\n"
    assert text.startswith(start)
    found: dict[str, Any] = json.loads(text[len(start) : -len(end)])
    return found


@pytest.fixture(scope="module")
def models() -> list[Any]:
    return [vizkit.load("shapes", backend=name) for name in INSTALLED]


@pytest.fixture(scope="module")
def site(models: list[Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read(export(models, tmp_path_factory.mktemp("site") / "new", VIEWS).parent)


def frame(site: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return unpack(base64.b64decode(site["answers"][name]["data"]))


@pytest.mark.quick
def test_answers_are_those_of_the_engine(site: dict[str, Any], models: list[Any]) -> None:
    engine, b = Engine(models), models[0].backend
    given = {"b": b, "layer": "features.9", "picture": "3"}
    asked = {**given, "count": 64, "from": 0, "size": 64, "sort": "strength"}
    for ours, true in zip(
        frame(site, key("maps", asked)), unpack(engine.maps(View({k: str(v) for k, v in asked.items()}))), strict=True
    ):
        assert ours.keys() == true.keys()
    found = frame(site, key("map", {**given, "unit": 3}))[1]["map"]
    np.testing.assert_array_equal(found, unpack(engine.map(View({**given, "unit": "3"})))[1]["map"])
    edited = site["answers"][key("predictions", {"picture": "3", "top": 10, "edits": EDITS.replace("2.0", "2")})]
    assert edited["data"] == json.loads(json.dumps(engine.predictions(View({"picture": "3", "edits": EDITS}))))
    assert site["answers"]["session"]["data"] == json.loads(json.dumps(engine.session))


def test_a_view_says_all_that_it_left_out(site: dict[str, Any], models: list[Any]) -> None:
    second = dict(parse_qsl(site["views"][1]))
    own = frame(site, key("map", {"b": models[0].backend, "layer": "features.9", "picture": "3", "unit": 3}))[1]["map"]
    assert own[int(second["y"]), int(second["x"])] == own.max()
    place = {**{name: second[name] for name in ("layer", "picture", "unit", "x", "y")}, "b": models[0].backend}
    for name in ("sum", "effective"):
        assert frame(site, key(name, place))
    assert site["answers"][key("unit", place)]["data"]["field"]["size"] == [12, 12]
    assert site["view"] == site["views"][0]


def test_explanations_are_carried_with_their_maps(site: dict[str, Any], models: list[Any]) -> None:
    (name,) = [one for one in site["answers"] if one.startswith("jobs?") and "explain" in one]
    events, results = site["answers"][name]["events"], site["answers"][name]["results"]
    assert [kind for kind, _ in events] == ["result", "result", "end"]
    header, found = unpack(base64.b64decode(results["1"]))
    edits = [("features.9", 3, 2.0)]
    true = vizkit.gradcam(vizkit.edited(models[0], edits), vizkit.zoo.shapes.sample(12, seed=7).images[3], fit="squash")
    np.testing.assert_allclose(found["map"], true.values[0], rtol=1e-4, atol=1e-6)
    assert header["method"] == "gradcam"


def test_a_key_is_encoded_as_browsers_do() -> None:
    given = {"layer": "a b/c*~é", "edits": "", "unit": 0, "other": None}
    assert key("map", given) == "map?layer=a+b%2Fc*%7E%C3%A9&unit=0"


def test_a_folder_with_other_files_is_left_alone(models: list[Any], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingError, match="other files"):
        export(models[0], tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(UnknownNameError):
        export(models[0], tmp_path / "new", ["layer=nope&unit=1"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explore", "shapes", "--host", "0.0.0.0"], "--yes-others-can-connect"),
        (["explore", "shapes", "--view", "layer=x"], "--export"),
        (["explore", "shapes", "--images", "nowhere"], "nowhere"),
        (["explore", "nope", "--no-browser"], "Unknown model"),
        (["explore", "shapes", "-b", "torch", "-b", "nope"], "Unknown backend"),
    ],
)
def test_the_command_line_says_what_is_wrong(capsys: Any, arguments: list[str], says: str) -> None:
    code, _, error = call(capsys, *arguments)
    assert code == 2
    assert says in error


def test_the_command_line_exports(capsys: Any, tmp_path: Path) -> None:
    code, out, _ = call(capsys, "explore", "shapes", "--export", str(tmp_path / "site"), "--view", "layer=features.0")
    assert code == 0
    assert "index.html" in out
    assert sorted(one.name for one in (tmp_path / "site").iterdir()) == [
        "data.js",
        "explore.js",
        "index.html",
        "style.css",
    ]
    assert len(read(tmp_path / "site")["views"]) == 1
