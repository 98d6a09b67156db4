"""Figures: nothing is cut off or lies over another, and what is said is so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

import vizkit
from vizkit.draw.base import captioned, ending, fallback, folded, shortened

pytestmark = pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")


def said(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def outside(figure: Figure) -> list[str]:
    """Titles and labels that stick out of the figure, after it was drawn."""
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    found = []
    for axes in figure.findobj(Axes):
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent()
            if text.get_text() and (min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height):
                found.append(text.get_text())
    return found


@pytest.fixture
def photo(rng: np.random.Generator) -> Any:
    return rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)


@pytest.fixture
def segmenter() -> Any:
    from kits import kit

    layers = [("conv", 3, 4, 3, 1), ("relu",), ("conv", 4, 2, 1, 0)]
    network = kit(INSTALLED[0]).sequential(layers)
    return vizkit.wrap(network, input_size=48, mean=(0.5,) * 3, std=(0.5,) * 3, labels=("road", "car"))


@pytest.mark.quick
def test_texts_as_they_fit() -> None:
    assert shortened("layer4", 2.0) == "layer4"
    assert shortened("features.12.expand3x3_activation", 1.2) == "…d3x3_activation"
    assert shortened("a label of many words", 1.2, start=True) == "a label of many…"
    assert shortened("四" * 20, 1.0) == "…" + "四" * 6
    assert captioned("a.png", "tabby", 2.0) == "a.png: tabby"
    assert captioned("a_photo_of_a_cat_on_a_sofa.png", "tabby", 1.2) == "…t_on_a_sofa.png\ntabby"
    assert ending("features.12.expand3x3_activation", 1.2) == "features.12.expa\nnd3x3_activation"
    assert folded("car in the box 10, 10, 40, 40", 1.2) == "car in the box\n10, 10, 40, 40"
    assert folded("one two three four five six", 0.75, lines=2) == "one two\nthree…"


@pytest.mark.parametrize("methods", [["gradcam"], ["saliency", "random_map"], ["gradcam", "layercam", "saliency"]])
def test_all_of_a_small_explanation_is_within_the_figure(segmenter: Any, photo: Any, methods: list[str]) -> None:
    figure = vizkit.explain(segmenter, photo, methods, ["car@40,12", "car@10,10,40,40"]).figure()
    assert not outside(figure)
    rows = [text.replace("\n", " ") for text in said(figure)]
    assert any(text.startswith("car in the box 10, 10, 40, 40 ") for text in rows), rows
    assert any(text.startswith("car at row 40, column 12 ") for text in rows), rows


def test_methods_that_do_not_know_the_target(segmenter: Any, photo: Any) -> None:
    """Those that are said to, and no others, give one map for two targets; the legend says so of them."""
    from vizkit.techniques.common.blind import CLASS_BLIND

    settings = {"rise": {"samples": 4}, "smoothgrad": {"samples": 2}, "occlusion": {"window": 24, "stride": 24}}
    some = ["eigencam", "fem", "kpca_cam", "random_map", "edge_map", "centre_map", "gradcam", "saliency", "hirescam"]
    for name in [*some, *settings]:
        of = settings.get(name, {})
        one, other = (getattr(vizkit, name)(segmenter, photo, target=target, **of) for target in ("road", "car"))
        assert np.array_equal(one.values, other.values) == (name in CLASS_BLIND), name
        words = " ".join(said(one.figure()))
        assert ("the target" in words) == (name not in CLASS_BLIND) or f"({name} does not know the target)" in words
        assert ("counts for the target" in words or "speaks for the target" in words) == (name not in CLASS_BLIND)
    both = " ".join(said(vizkit.explain(segmenter, photo, ["eigencam", "random_map", "hirescam"], ["car"]).figure()))
    assert "(random_map, eigencam do not know the target)" in both or "(eigencam, random_map do" in both
    assert "red speaks for the target" in both


def test_a_colour_bar_shows_where_colours_end(segmenter: Any, photo: Any) -> None:
    """An arrow where the map goes on beyond its colours; none where it does not."""
    from dataclasses import replace

    found = vizkit.saliency(segmenter, photo, target="car")
    values = np.zeros((1, 48, 48))
    for signed, peaks, arrows in ((False, (9.0,), "max"), (True, (9.0, -9.0), "both"), (False, (), "neither")):
        values[0] = np.linspace(0.0, 1.0, 48)
        values[0, 0, : len(peaks)] = peaks
        values[0, 1:] = np.minimum(values[0, 1:], 0.9 if peaks else 1.0)
        figure = replace(found, values=values.copy(), signed=signed).figure()
        (bar,) = [one for one in (image.colorbar for axes in figure.axes for image in axes.images) if one is not None]
        assert bar.extend == arrows
        assert any("99.5th percentile" in text for text in said(figure)) == bool(peaks)


@pytest.mark.parametrize("method", ["gradcam", "saliency"])
def test_long_names_stay_in_their_place(segmenter: Any, photo: Any, method: str) -> None:
    from dataclasses import replace

    found = getattr(vizkit, method)(segmenter, photo, target="car")
    batch = replace(found.batch, names=("a_photo_with_a_name_" * 4 + "end.png",))
    long = {"batch": batch, "labels": ("a label of many words, " * 4,), "layer": "a.very.long.layer." * 5 + "last"}
    figure = replace(found, **long).figure()
    assert not outside(figure)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[0].startswith("…")
    assert "end.png\na label of many words" in titles[0]
    assert titles[1].endswith("layer.last")


def test_chinese_names_have_letters(segmenter: Any, photo: Any) -> None:
    import warnings
    from dataclasses import replace

    if fallback() is None:
        pytest.skip("no font with Chinese letters is installed")
    found = vizkit.saliency(segmenter, photo, target="car")
    plain = found.figure()
    figure = replace(found, batch=replace(found.batch, names=("照片_猫和狗.png",))).figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib's of letters that are missing
        plain.canvas.draw()
        figure.canvas.draw()
    assert fallback() in figure.axes[0].title.get_fontfamily()
    assert fallback() not in plain.axes[0].title.get_fontfamily()
