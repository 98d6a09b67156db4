"""One figure of many methods, targets and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from matplotlib.axes import Axes

import vizkit
from vizkit import overlay as laid
from vizkit.cli import maps
from vizkit.errors import SettingError, UnknownNameError
from vizkit.reports.explain import controls, explain, methods
from vizkit.results.explanation import Explanation
from vizkit.results.files import read_provenance

pytestmark = pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")


@pytest.fixture
def models() -> list[Any]:
    """The same small network in every installed backend."""
    return [
        vizkit.wrap(
            kit_of(name).sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, labels=list("abcde")
        )
        for name in INSTALLED
    ]


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(2)]


@pytest.fixture
def shown(models: list[Any], pictures: Any) -> Explanation:
    chosen = ["saliency", ("smoothgrad", {"samples": 2}), "gradcam", "hirescam"]
    return explain(models, pictures, chosen, ["b", 3, None], layer="2", seed=4)


@pytest.mark.quick
def test_every_method_is_known() -> None:
    assert {"saliency", "gradcam", "integrated_gradients", "scorecam", "guided_backprop", "eigencam"} <= set(methods())
    assert not {"filters", "feature_maps", "dream", "activation_statistics"} & set(methods())


def test_all_methods_are_those_that_the_network_takes(
    models: list[Any], kit: Any, rng: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [("conv", 3, 4, 3, 1), ("sigmoid",), ("flatten",), ("dense", 4 * TRAPS_SIZE**2, 3)]
    bent = vizkit.wrap(kit.sequential(layers), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, name="bent")
    left_out = {"guided_backprop", "deconvnet", "guided_gradcam"}
    attention = {"attention", "attention_rollout", "attention_relevance"}
    assert set(methods()) - set(methods(models)) == {*attention, "feature_permutation", "is_cam", "ss_cam"}
    assert set(methods(models)) - set(methods([*models, bent])) == left_out
    picture = rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    for name in left_out:
        with pytest.raises(SettingError, match="ReLU"):
            explain(bent, picture, [name], layer="0")
    assert maps._methods(["all"], [bent]) == [*methods([bent]), *controls()]
    said = capsys.readouterr().err
    assert "guided_gradcam: bent has no ReLUs" in said
    assert "is_cam, ss_cam: bent would take thousands of passes" in said
    assert "attention_rollout: bent has no attention" in said
    assert maps._methods(["guided_backprop"], [bent]) == ["guided_backprop"], "asked for by name it is not left out"


def test_values_are_those_of_the_methods(shown: Explanation, models: list[Any], pictures: Any) -> None:
    assert shown.values.shape == (3, len(models), 4, 2, TRAPS_SIZE, TRAPS_SIZE)
    alone = vizkit.gradcam(models[-1], pictures, target=3, layer="2")
    np.testing.assert_array_equal(shown.values[1, -1, 2], alone.values)
    np.testing.assert_array_equal(shown.results[1][-1][2].values, alone.values)
    smooth = vizkit.smoothgrad(models[0], pictures, target="b", samples=2, seed=4)
    np.testing.assert_array_equal(shown.values[0, 0, 1], smooth.values)
    assert shown.results[0][0][2].layer == "2"
    assert shown.results[0][0][0].layer is None


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")) if text.get_text()]


@pytest.mark.parametrize("scale", ["each", "common"])
@pytest.mark.parametrize("overlay", [True, False])
def test_the_figure(models: list[Any], pictures: Any, scale: str, overlay: bool) -> None:
    shown = explain(models, pictures, ["saliency", "hirescam"], [1, 3], scale=scale, overlay=overlay)
    figure = shown.figure()
    rows = 2 * 2 * len(models)
    panels = [axes for axes in figure.findobj(Axes) if axes.images]
    assert len(panels) == rows * 3
    assert any(("own scale" if scale == "each" else "one scale for each method") in text for text in texts(figure))
    drawn = [panels[3 * r + 1 + k].images[-1] for r in range(rows) for k in range(2)]
    # Rows: for each picture each target in each model; the maps are the very values, or laid over the gray picture.
    for place, image in ((0, drawn[0]), (-1, drawn[-1])):
        values = shown.values[place, place, place, place]
        common = laid.end(shown.values[:, :, place]) if scale == "common" else None
        limits = laid.limits(values, place == -1, common)
        if overlay:
            gray = (shown.results[0][0][0].batch.pictures[place] @ np.array([0.299, 0.587, 0.114]))[..., None]
            over = laid.blend(gray.repeat(3, 2), values, limits, signed=place == -1, alpha=0.85)
            np.testing.assert_array_equal(image.get_array(), over)
        else:
            np.testing.assert_array_equal(image.get_array(), values)
            assert image.get_clim() == limits
            assert image.get_cmap().name == ("RdBu_r" if place else "inferno")
    for label in ("b", "d", *INSTALLED, "saliency", "hirescam\n8"):
        assert any(label in text for text in texts(figure)), label


def test_many_methods_are_a_grid_with_the_controls_apart(models: list[Any], pictures: Any) -> None:
    named = ["gradcam", "random_map", "saliency", "layercam", "hirescam", "xgradcam", "gradient_x_input", "edge_map"]
    named += ["vargrad"]
    figure = explain(models[0], pictures[0], named).figure()
    bands = [[axes.get_title().split("\n")[0] for axes in part.axes if axes.images] for part in figure.subfigs]
    assert [band[1:] for band in bands] == [
        ["gradcam", "saliency", "layercam", "hirescam"],
        ["xgradcam", "gradient_x_input", "vargrad"],
        ["random_map", "edge_map"],
    ]
    assert "know nothing of the network" in figure.subfigs[2].get_suptitle()
    assert figure.get_size_inches()[0] < 12
    assert not set(methods()) & set(controls())


def test_rows_of_another_dtype_say_so(pictures: Any) -> None:
    models = [vizkit.load("shapes", backend=INSTALLED[0], dtype=dtype) for dtype in ("float32", "float64")]
    rows = [text for text in texts(explain(models, pictures[0], ["saliency"]).figure()) if INSTALLED[0] in text]
    assert [row.endswith("float64") for row in rows] == [False, True]


@pytest.mark.quick
def test_a_blank_map_is_called_blank(models: list[Any], pictures: Any) -> None:
    figure = explain(models[0], pictures[0], [("vargrad", {"samples": 1})]).figure()
    assert any("blank" in text for text in texts(figure))


def test_saved_files(models: list[Any], pictures: Any, tmp_path: Path) -> None:
    shown = explain(models, pictures[:1], ["saliency", "gradcam"], ["b", 3], layer="2")
    saved = np.load(shown.save(tmp_path / "x.npz"))
    np.testing.assert_array_equal(saved["values"], shown.values)
    np.testing.assert_array_equal(saved["0/0/1/cam"], shown.results[0][0][1].extra["cam"])
    for path in (tmp_path / "x.npz", shown.save(tmp_path / "x.png")):
        made = read_provenance(path)
        assert made["technique"] == "explain"
        assert made["results"][1][0][1]["settings"]["target"] == [{"index": 3, "label": "d"}]


@pytest.mark.quick
def test_what_makes_no_sense(models: list[Any], pictures: Any) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gradcam'"):
        explain(models, pictures, ["grad_cam"])
    for settings in ({"scale": "log"}, {"methods": []}, {"targets": []}, {"models": []}):
        with pytest.raises(SettingError):
            explain(**{"models": models, "image": pictures, "methods": ["saliency"], **settings})
    other = vizkit.wrap(
        kit_of(INSTALLED[0]).sequential([("conv", 3, 2, 1, 0), ("flatten",)]),
        input_size=4,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    with pytest.raises(SettingError, match="One figure needs one input size"):
        explain([models[0], other], pictures, ["saliency"])


@pytest.mark.quick
def test_every_method_says_when_to_believe_it() -> None:
    """In one short line, under a family that has a name; nothing is listed that is not public."""
    from vizkit.reports.families import believe, families, table

    listed = {name: text for family in families().values() for name, text in family.items()}
    for name, one in {**methods(), **controls()}.items():
        assert believe(one), f"{name}: its docstring says nothing under 'Believe:'"
        assert listed[name] == believe(one), name
        assert 10 < len(listed[name]) <= 130, name
        assert listed[name].endswith("."), name
        assert listed[name][0].isupper(), name
    assert all(families())
    text = table()
    assert all(f"  {name} " in text for name in listed)


def test_one_method_twice_says_in_what_it_differs(models: list[Any], pictures: Any) -> None:
    chosen = [("occlusion", {"window": 6}), ("occlusion", {"window": 4}), "saliency"]
    figure = explain(models[0], pictures[0], chosen, 1).figure()
    titles = [axis.get_title() for part in figure.subfigs for axis in part.axes]
    assert {"saliency", "image 0"} <= set(titles)
    for side in (4, 6):
        assert [one for one in titles if one.startswith("occlusion") and f"window=[{side}, {side}]" in one], titles
