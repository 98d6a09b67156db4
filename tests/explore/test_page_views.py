"""What the page shows is what vizkit computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits.explorer import Screen, plain
from matplotlib import colormaps

import vizkit
from vizkit.draw.overlay import blend, limits
from vizkit.zoo import shapes

Open = Callable[..., Screen]
SAMPLE = shapes.sample(12, seed=7)
LAYER, UNIT = "features.4", 3


def maps_of(model: Any, layer: str = LAYER, picture: int = 0) -> Any:
    """A layer's maps (C, H, W) of a bundled picture."""
    return np.asarray(vizkit.feature_maps(model, SAMPLE.images[picture], layer, fit="squash").values[0])


def test_predictions_are_those_of_each_backend_and_follow_the_picture(screen: Open, twins: list[Any]) -> None:
    shown = screen()
    for picture in (0, 2):
        if picture:
            shown.page.locator("#gallery .option").nth(picture).click()
            shown.expect("#predictions tbody tr >> nth=0").to_contain_text("cross")
        for k, model in enumerate(twins):
            rows = model.predict(SAMPLE.images[picture], 10, fit="squash")
            share = {one.label: one.probability for one in rows}
            table = shown.all("#predictions tbody tr")
            assert len(table) == 10
            assert shown.all("#predictions tbody th")[0] == rows[0].label
            figures = shown.all(f"#predictions tbody td:nth-child({k + 2}) .figure")
            for name, figure in zip(shown.all("#predictions tbody th"), figures, strict=True):
                assert plain(figure) == pytest.approx(100 * share[name], abs=0.051), name
        assert shown.page.locator("#predictions .fill").first.evaluate("(bar) => parseFloat(bar.style.width)") > 90
    shown.expect("#live").to_contain_text("Predicted: cross")


def test_the_grid_has_the_layers_maps_the_strongest_first(screen: Open, twins: list[Any]) -> None:
    shown = screen(f"layer={LAYER}")
    shown.page.locator(".cell:not(.waits)").first.wait_for()
    values = maps_of(twins[0])
    order = np.argsort(-np.abs(values).mean((1, 2)), kind="stable")
    assert shown.all(".cell:visible .number") == [str(unit) for unit in order]
    best = values[order[0]]
    wanted = colormaps["viridis"]((best - best.min()) / np.ptp(best), bytes=True)[..., :3]
    drawn = shown.pixels(".cell canvas")
    assert drawn.shape == wanted.shape
    assert np.abs(drawn.astype(int) - wanted).max() <= 3
    shown.page.get_by_label("Order").select_option("number")
    shown.expect(".cell .number >> nth=0").to_have_text("0")
    assert shown.all(".cell:visible .number") == [str(unit) for unit in range(len(values))]


@both()
def test_the_other_backend_lies_beside_with_the_difference(screen: Open, twins: list[Any]) -> None:
    shown = screen(f"layer={LAYER}&b={INSTALLED[0]}&sort=number")
    shown.page.get_by_label("Beside it").select_option(INSTALLED[1])
    shown.page.locator(".cell .difference").first.wait_for()
    ours, theirs = (maps_of(model) for model in twins)
    assert shown.page.locator(".cell").first.locator("canvas").count() == 2
    for unit in (0, 7):
        text = shown.page.locator(f".cell[data-unit='{unit}'] .difference").inner_text()
        size = np.abs(ours[unit] - theirs[unit]).max() / np.abs(ours[unit]).max()
        assert plain(text.removeprefix("Δ")) == pytest.approx(size, rel=0.01, abs=5e-7)


def test_a_layer_is_found_in_the_diagram_and_its_blocks_close(screen: Open) -> None:
    shown = screen()
    tree = shown.page.get_by_role("tree")
    steps = tree.get_by_role("treeitem")
    everything = steps.count()
    tree.get_by_role("treeitem", name="max pool 2×2 /2, features.3").click()
    shown.page.locator("h2", has_text="features.3").wait_for()
    assert shown.view["layer"] == "features.3"
    shown.page.get_by_role("button", name="Close all").click()
    assert shown.all("[role=treeitem] .name") == ["input", "features", "global avg pool", "flatten", "classifier"]
    tree.get_by_role("treeitem", name="block features").click()
    assert steps.count() == everything
    shown.page.get_by_role("button", name="Open all").click()
    assert steps.count() == everything + 4  # the classifier's were closed


@pytest.mark.parametrize("b", INSTALLED)
def test_a_pixel_of_a_unit(screen: Open, twins: list[Any], b: str) -> None:
    model = twins[INSTALLED.index(b)]
    values = maps_of(model)[UNIT]
    shown = screen(f"tab=unit&layer={LAYER}&unit={UNIT}&b={b}")
    value = shown.page.locator("[data-part=value]")
    y, x = np.unravel_index(values.argmax(), values.shape)
    assert value.inner_text().startswith(f"row {y}, column {x}: ")
    assert plain(value.inner_text().split(": ")[1]) == pytest.approx(values.max(), rel=1e-5)
    frame = shown.page.locator(".map").first
    box = frame.bounding_box()
    frame.hover(position={"x": box["width"] * 20.5 / 48, "y": box["height"] * 9.5 / 48})
    assert value.inner_text().startswith("row 9, column 20: ")
    assert plain(value.inner_text().split(": ")[1]) == pytest.approx(values[9, 20], rel=1e-5)
    shown.page.locator("[data-part=sum][data-at='9,20']").wait_for()
    assert shown.number("[data-key=value]") == pytest.approx(values[9, 20], rel=1e-5)
    assert shown.number("[data-key=sum]") == pytest.approx(values[9, 20], rel=1e-4, abs=1e-4)
    assert shown.number("[data-key=deviation]") < 1e-4
    assert "8 × 8 pixels" in shown.page.get_by_label("On the picture", exact=True).first.inner_text()
    assert "y" not in shown.view, "hovering is no new address"
    frame.click(position={"x": box["width"] * 20.5 / 48, "y": box["height"] * 9.5 / 48})
    assert (shown.view["y"], shown.view["x"]) == ("9", "20")


def test_the_sum_is_products_of_a_convolution_and_the_largest_of_a_pool(screen: Open, twins: list[Any]) -> None:
    shown = screen("tab=unit&layer=features.4&unit=3&y=9&x=20&b=" + INSTALLED[0])
    shown.page.locator(".sums").wait_for()
    parts = [plain(one) for one in shown.all(".sums tbody td:last-child")]
    bias = shown.number("[data-key=bias]")
    assert sum(parts) + bias == pytest.approx(maps_of(twins[0])[3, 9, 20], abs=2e-3)
    rows = shown.page.locator(".sums tbody button")
    rows.nth(1).click()
    assert shown.page.locator(".sums tr.chosen").count() == 1
    assert f"Channel {rows.nth(1).inner_text()}" in shown.page.locator("[data-part=sum]").inner_text()
    shown.open("tab=unit&layer=features.3&unit=3&y=9&x=20&b=" + INSTALLED[0])
    shown.page.get_by_text("The largest of these values is kept.").wait_for()
    before = maps_of(twins[0], "features.2")[3, 18:20, 40:42]
    assert shown.number("[data-key=value]") == pytest.approx(before.max(), rel=1e-5)
    label = shown.page.locator("[data-part=sum] canvas").get_attribute("aria-label")
    assert [plain(one) for one in label.split(", ")] == pytest.approx(list(before.ravel()), rel=6e-3, abs=1e-6)


def test_an_overlay_is_drawn_as_vizkit_draws_it(screen: Open, twins: list[Any]) -> None:
    methods = ["gradcam", "integrated_gradients"]
    shown = screen(
        f"tab=explain&b={INSTALLED[0]}&target={SAMPLE.labels[0]}&methods={','.join(methods)}&opacity=0.6&threshold=0.2"
    )
    shown.expect("[data-part=words]").to_have_text("2 maps are done.")
    for name in methods:
        made = getattr(vizkit, name)(twins[0], SAMPLE.images[0], target=int(SAMPLE.labels[0]), fit="squash")
        ends = limits(made.values[0], made.signed)
        photo = made.batch.pictures[0]
        wanted = blend(photo, made.values[0], ends, signed=made.signed, alpha=0.6, threshold=0.2)
        drawn = shown.pixels(f".overlay[data-method={name}] canvas")
        # The map comes as float32: a value at the threshold, or between two colours, may fall to the other side.
        assert (np.abs(drawn.astype(int) - wanted) > 2).mean() < 1e-3, name
        assert np.abs(drawn.astype(int) - photo).max() > 50


def test_scores_stand_beside_those_of_the_controls(screen: Open, twins: list[Any]) -> None:
    shown = screen(f"tab=explain&b={INSTALLED[0]}&target={SAMPLE.labels[0]}&methods=gradcam")
    shown.page.locator("[data-score=relevance_mass]").wait_for()
    made = vizkit.gradcam(twins[0], SAMPLE.images[0], target=int(SAMPLE.labels[0]), fit="squash")
    mass = float(vizkit.evaluate.relevance_mass(made, SAMPLE.masks[:1])[0])
    assert shown.number("[data-score=relevance_mass]") == pytest.approx(mass, rel=0.01)
    assert shown.all(".overlay thead th")[2:] == ["random", "edge", "centre"]


def test_the_real_network(browse: Open, squeezenet_weights: Any, photos: list[Any]) -> None:
    """Held against networks of their own: one is not to be used while the explorer computes with it."""
    models, twins = (
        [vizkit.load("squeezenet1_0", backend=name, weights=str(squeezenet_weights)) for name in INSTALLED]
        for _ in range(2)
    )
    layer = "features.3.expand3x3"
    with vizkit.explore(models, photos, browser=False) as running:
        shown = browse(running.url, f"picture=1&tab=unit&layer={layer}&unit=5&y=20&x=30&b={INSTALLED[0]}")
        for name, model in zip(INSTALLED, twins, strict=True):
            if name != INSTALLED[0]:
                shown.page.get_by_label("Backend").select_option(name)
            shown.expect("[data-part=sum]").to_have_attribute("data-at", "20,30")
            value = vizkit.feature_maps(model, photos[0], layer).values[0, 5, 20, 30]
            assert shown.number("[data-key=value]") == pytest.approx(value, rel=1e-5)
            assert shown.number("[data-key=sum]") == pytest.approx(value, rel=1e-4)
            row = model.predict(photos[0], 1)[0]
            assert shown.all("#predictions tbody th")[0] == row.label
            figure = shown.all("#predictions tbody tr:first-child .figure")[INSTALLED.index(name)]
            assert plain(figure) == pytest.approx(100 * row.probability, abs=0.051)
        shown.close()
