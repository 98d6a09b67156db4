"""The page by keyboard, by screen reader, in another language, on a narrow window, and with thousands of maps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import INSTALLED
from kits.explorer import Screen

import vizkit

Open = Callable[..., Screen]
VIEWS = {
    "layer": "tab=layer&layer=features.4",
    "unit": "tab=unit&layer=features.4&unit=3&y=4&x=5",
    "explain": "tab=explain&methods=gradcam",
    "ablate": 'tab=ablate&edits=[{"layer":"features.4","unit":3,"mode":"add","amount":1}]',
}
DONE = {
    "layer": ".cell:not(.waits)",
    "unit": "[data-key=value]",
    "explain": ".overlay canvas",
    "ablate": "#view-ablate td",
}


def focused(shown: Screen, name: str) -> str:
    """An attribute of what has the focus."""
    return str(shown.page.evaluate(f"document.activeElement.getAttribute('{name}')"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(screen: Open, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="scans with axe").Axe()
    shown = screen(VIEWS["layer"], color_scheme=theme, bypass_csp=True)
    for name, view in VIEWS.items():
        shown.open(view)
        shown.page.locator(DONE[name]).first.wait_for()
        # What has no colour is the same in both themes.
        rules = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
        found = axe.run(shown.page, options={**rules, "resultTypes": ["violations"]}).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == [], name


def test_a_layer_and_a_unit_are_reached_by_keys_alone(screen: Open) -> None:
    shown = screen("layer=features.0&sort=number")
    shown.page.locator(DONE["layer"]).first.wait_for()
    keys = shown.page.keyboard
    keys.press("Tab")
    assert focused(shown, "class") == "skip"
    keys.press("Enter")
    assert focused(shown, "id") == "work"
    keys.press("/")
    assert focused(shown, "id") == "find"
    shown.page.locator(".found li").first.wait_for()
    keys.press("Tab")
    assert focused(shown, "id") == "copy"  # the list below the field is no stop
    keys.press("/")
    keys.type("features.7")
    shown.page.locator(".found li", has_text="features.7").wait_for()
    keys.press("Enter")
    shown.expect("#view-layer h2").to_have_text("features.7")
    cells = shown.page.locator(".cell[tabindex='0']")
    assert cells.count() == 1, "one place of the grid is in the tab order"
    cells.focus()
    columns = int(shown.page.get_by_role("grid").get_attribute("aria-colcount"))
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    assert focused(shown, "data-unit") == str(columns + 1)
    keys.press("End")
    assert focused(shown, "data-unit") == "31"
    keys.press("Enter")
    shown.expect("#tab-unit").to_have_attribute("aria-selected", "true")
    shown.page.locator(".map").first.focus()
    place = re.findall(r"\d+", shown.page.locator("[data-part=value]").inner_text())[:2]
    keys.press("ArrowUp" if int(place[0]) else "ArrowDown")
    assert abs(int(shown.view["y"]) - int(place[0])) == 1
    shown.expect("#live").to_contain_text("row ")
    keys.press("[")
    assert shown.view["unit"] == "30"
    keys.press("Escape")
    assert "tab" not in shown.view
    keys.press("3")
    assert focused(shown, "id") == "tab-explain"
    keys.press("ArrowRight")
    assert focused(shown, "id") == "tab-ablate"
    keys.press("?")
    shown.expect("dialog h2").to_have_text("Keys")
    keys.press("Escape")
    shown.expect("dialog").to_be_hidden()


def test_the_diagram_is_a_tree_of_arrow_keys(screen: Open) -> None:
    shown = screen("layer=features.0")
    chosen = shown.page.locator("[role=treeitem][tabindex='0']")
    assert chosen.count() == 1
    chosen.focus()
    keys = shown.page.keyboard
    keys.press("ArrowDown")
    assert focused(shown, "data-layer") == "features.1"
    keys.press("ArrowLeft")
    assert focused(shown, "data-key") == "bfeatures"
    keys.press("ArrowLeft")
    assert focused(shown, "aria-expanded") == "false"
    keys.press("ArrowRight")
    assert focused(shown, "aria-expanded") == "true"
    keys.press("ArrowDown")
    keys.press("Enter")
    shown.expect("#view-layer h2").to_have_text("features.0")


def test_a_narrow_window_is_one_column(screen: Open) -> None:
    """In either language."""
    shown = screen(viewport={"width": 390, "height": 844})
    for language in ("en", "zh-TW"):
        for name, view in VIEWS.items():
            shown.open(f"{view}&lang={language}")
            shown.expect("html").to_have_attribute("lang", language)
            shown.page.locator(DONE[name]).first.wait_for()
            width = shown.page.evaluate("document.documentElement.scrollWidth")
            assert width == 390, (name, width)
            if name == "explain":  # every method by scrolling down alone, and its name beside its box
                shown.page.locator(".methods:not([open]) summary").click()
                parts = "[...document.querySelectorAll('.families, .families label')]"
                over = f"{parts}.filter((one) => one.scrollWidth > one.clientWidth).length"
                assert shown.page.evaluate(over) == 0
        lefts = {round(shown.page.locator(one).bounding_box()["x"]) for one in ("#seen", "#network", "#work")}
        assert lefts == {0}


def test_chinese_and_the_dark_theme_by_their_switches(screen: Open) -> None:
    shown = screen(VIEWS["layer"])
    light = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    shown.page.get_by_label("Theme").select_option("dark")
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    shown.page.get_by_label("Language").select_option("zh-TW")
    shown.expect("html").to_have_attribute("lang", "zh-TW")
    assert shown.all("#tabs button") == ["層", "單元", "解釋", "消融"]
    assert "個單元，每張 48 × 48" in shown.page.locator("#view-layer").inner_text()
    assert shown.view.items() >= {"lang": "zh-TW", "theme": "dark"}.items()


def test_a_browser_in_chinese_gets_chinese(screen: Open) -> None:
    assert screen(locale="zh-TW").page.locator("h2").first.inner_text() == "圖片"


def test_of_thousands_of_maps_only_those_in_sight_exist(browse: Open) -> None:
    model = wide(2048)
    with vizkit.explore(model, browser=False) as running:
        shown = browse(running.url, "layer=0&sort=number")
        cells = shown.page.locator(DONE["layer"])
        cells.first.wait_for()
        assert 20 < shown.page.locator(".cell").count() < 300
        grid = shown.page.get_by_role("grid")
        assert int(grid.get_attribute("aria-rowcount")) * int(grid.get_attribute("aria-colcount")) >= 2048
        shown.page.locator(".cell[tabindex='0']").focus()
        shown.page.keyboard.press("End")
        assert focused(shown, "data-unit") == "2047"
        shown.page.locator(".cell[data-unit='2047']:not(.waits)").wait_for()
        assert shown.page.locator(".cell").count() < 300
        shown.close()


def wide(channels: int) -> Any:
    """A network whose first layer has that many maps."""
    if "torch" not in INSTALLED:
        pytest.skip("builds a network in PyTorch")
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, channels, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(channels, 4)
    )
    return vizkit.wrap(net.eval(), input_size=64, mean=[0.5] * 3, std=[0.5] * 3)
