"""What a user does on the page: bring a picture, explain, switch off, dream, share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits.explorer import Screen, plain
from PIL import Image

import vizkit
from vizkit.zoo import shapes

Open = Callable[..., Screen]
SAMPLE = shapes.sample(12, seed=7)
LAYER, UNIT = "features.14", 3


def test_an_uploaded_picture_is_predicted_and_a_bad_file_refused(
    screen: Open, twins: list[Any], tmp_path: Path
) -> None:
    photo, broken = tmp_path / "環.png", tmp_path / "broken.png"
    Image.fromarray(shapes.sample(12, seed=3).images[3]).save(photo)
    broken.write_bytes(b"no picture <img src=x onerror=alert(1)>")
    shown = screen()
    shown.page.locator("#file").set_input_files(photo)
    shown.expect("#gallery .option >> nth=0").to_have_attribute("title", "環.png")
    rows = twins[0].predict(photo, 3)
    shown.expect("#predictions tbody tr >> nth=0").to_contain_text(rows[0].label)
    shown.expect("#photo").to_have_attribute("aria-label", re.compile("Picture 環.png, 96 × 96"))
    share = shown.all("#predictions tbody tr:first-child .figure")[0]
    assert plain(share) == pytest.approx(100 * rows[0].probability, abs=0.051)
    assert shown.view["picture"].startswith("u")
    shown.page.locator("#file").set_input_files(broken)
    shown.expect("#stage .problem").to_be_visible()
    assert shown.console.pop().startswith("Failed to load resource: the server responded with a status of 400")


def test_a_frame_of_the_camera(screen: Open) -> None:
    shown = screen(permissions=["camera"])
    hold = "HTMLVideoElement.prototype.addEventListener = function () { window.late = arguments[1]; }"
    shown.page.evaluate(f"() => {{ {hold}; }}")  # no frame has come, says the page
    shown.page.get_by_role("button", name="Camera…").click()
    taking = shown.page.get_by_role("button", name="Take this picture")
    assert taking.is_disabled()
    shown.expect("dialog video").to_have_js_property("paused", False)
    shown.page.wait_for_function("() => document.querySelector('dialog video').videoWidth > 0")
    shown.page.evaluate("() => window.late()")
    taking.click()
    shown.expect("#gallery .option >> nth=0").to_have_attribute("title", "camera.png")
    shown.expect("dialog").to_be_hidden()
    assert shown.pixels("#photo").std() > 10


@pytest.mark.parametrize("b", INSTALLED)
def test_a_unit_that_is_switched_off(screen: Open, twins: list[Any], b: str) -> None:
    shown = screen(f"layer=features.22&sort=number&b={b}")
    cell = shown.page.locator(".cell").first
    cell.wait_for()
    unit = int(cell.get_attribute("data-unit"))
    cell.focus()
    cell.press("x")
    shown.expect(f".cell[data-unit='{unit}']").to_have_class(re.compile(r"\boff\b"))
    assert json.loads(shown.view["edits"]) == [{"layer": "features.22", "unit": unit, "mode": "off", "amount": 0}]
    shown.page.locator("#edited").click()
    shown.page.get_by_label("Change", exact=True).select_option("add")
    shown.page.get_by_label("Amount", exact=True).fill("2")
    shown.page.get_by_role("spinbutton", name="Unit").fill(str(unit))
    shown.page.get_by_role("button", name="Add this change").click()
    shown.expect(".edit output").to_have_text("2")
    shown.expect("#predictions").not_to_have_class("waits")
    model = twins[INSTALLED.index(b)]
    peak = float(
        np.abs(vizkit.feature_maps(model, SAMPLE.images[0], "features.22", fit="squash").values[0, unit]).max()
    )
    assert peak > 0
    before = {row.label: row.probability for row in model.predict(SAMPLE.images[0], 12, fit="squash")}
    edited = vizkit.edited(model, [("features.22", unit, 2.0)])
    after = {row.label: row.probability for row in edited.predict(SAMPLE.images[0], 12, fit="squash")}
    table = shown.page.locator("#view-ablate table", has_text=b)
    first = next(iter(before))
    shown.page.locator("#view-ablate td").first.wait_for()
    was, now, change = (
        plain(one.replace("+", "")) for one in table.locator("tr", has_text=first).locator("td").all_inner_texts()
    )
    assert was == pytest.approx(100 * before[first], abs=0.051)
    assert now == pytest.approx(100 * after[first], abs=0.051)
    assert change == pytest.approx(100 * (after[first] - before[first]), abs=0.051)
    shown.page.get_by_role("button", name="Undo all").click()
    shown.expect("#edited").to_be_hidden()
    assert "edits" not in shown.view


def test_a_dream_grows_and_is_stopped(screen: Open) -> None:
    shown = screen(f"tab=unit&layer={LAYER}&unit={UNIT}")
    shown.page.locator("[data-part=dream] input").first.fill("240")
    shown.page.get_by_role("button", name="Dream", exact=True).click()
    canvas = shown.page.locator(".dream[data-step]")
    canvas.wait_for()
    first, begun = int(canvas.get_attribute("data-step")), shown.pixels(".dream")
    shown.expect(".dream").not_to_have_attribute("data-step", str(first))
    assert (shown.pixels(".dream") != begun).mean() > 0.1
    shown.page.locator("[data-part=dream]").get_by_role("button", name="Stop").click()
    shown.expect("[data-part=dream] output").to_have_text("Stopped.")
    assert int(canvas.get_attribute("data-step")) < 240
    shown.page.get_by_role("button", name="Dream", exact=True).click()
    shown.page.locator("[data-part=dream]").get_by_role("button", name="Stop").wait_for()
    shown.page.locator(".map").first.press("Escape")
    shown.page.get_by_role("tab", name="Unit").click()
    shown.page.get_by_role("button", name="Dream", exact=True).wait_for()


def test_the_patches_are_those_of_top_patches(screen: Open, twins: list[Any]) -> None:
    shown = screen(f"tab=unit&layer={LAYER}&unit={UNIT}&b={INSTALLED[0]}")
    shown.page.get_by_role("button", name="Search the pictures").click()
    shown.expect(".patches li").to_have_count(9)
    found = vizkit.top_patches(twins[0], list(SAMPLE.images), LAYER, UNIT, k=9, fit="squash")
    rows = found.records()
    shares = [plain(one.split(": ")[1]) for one in shown.all(".patches small")]
    assert shares == pytest.approx([row["activation"] for row in rows], rel=1e-3)
    assert np.array_equal(shown.pixels(".patches canvas"), found.patches(0)[0])


def test_a_target_is_found_and_pointers_are_linked(screen: Open) -> None:
    shown = screen("tab=explain")
    for name in ("gradcam", "saliency"):
        shown.page.get_by_role("checkbox", name=name, exact=True).check()
    shown.page.get_by_role("button", name="Explain", exact=True).click()
    shown.expect(".overlay canvas >> nth=1").to_have_attribute("aria-label", re.compile("for square$"))
    field = shown.page.get_by_role("combobox", name="Target")
    field.fill("stri")
    field.press("Enter")  # at once: what was typed counts, though the list may still be that of before
    shown.expect("[data-part=target]").to_have_text("stripes")
    assert shown.view["target"] == str(shapes.CLASSES.index("stripes"))
    for k in range(2):
        shown.expect(f".overlay canvas >> nth={k}").to_have_attribute("aria-label", re.compile("for stripes$"))
    shown.expect("[data-part=words]").to_have_text("2 maps are done.")
    stages = shown.page.locator(".overlay .stage")
    box = stages.first.bounding_box()
    stages.first.hover(position={"x": box["width"] / 4, "y": box["height"] / 2})
    hairs = stages.nth(1).locator(".hair")
    assert [one.evaluate("(hair) => parseFloat(hair.style.top || hair.style.left)") for one in hairs.all()] == [
        pytest.approx(50, abs=1), pytest.approx(25, abs=1)]  # fmt: skip
    before = shown.pixels(".overlay canvas")
    shown.page.get_by_label("Opacity").fill("0.1")
    assert shown.view["opacity"] == "0.1"
    assert (shown.pixels(".overlay canvas") != before).any()


def test_keys_do_not_wait_for_the_list(screen: Open) -> None:
    shown = screen("tab=explain")
    held: list[Any] = []
    shown.page.route("**/labels?*", lambda route: held.append(route))  # no list opens until the test says so

    def answer() -> None:
        while held:
            held.pop().continue_()

    field = shown.page.get_by_role("combobox", name="Target")
    with shown.page.expect_request("**/labels?*q=stri*"):
        field.fill("stri")
    field.press("Enter")
    shown.expect("[data-part=target]").not_to_have_text("stripes")
    answer()
    shown.expect("[data-part=target]").to_have_text("stripes")
    with shown.page.expect_request("**/labels?*q=disc*"):
        field.fill("disc")
    field.press("Escape")  # the search is given up: nothing opens when it answers
    with shown.page.expect_response("**/labels?*q=disc*"):
        answer()
    field.press("Enter")
    shown.page.wait_for_function("() => new Promise((done) => setTimeout(done, 50))")
    assert field.get_attribute("aria-expanded") == "false"
    shown.expect("[data-part=target]").to_have_text("stripes")


def test_an_address_restores_its_view_and_back_undoes(screen: Open) -> None:
    edits = '[{"layer":"features.2","unit":1,"mode":"add","amount":0.5}]'
    place = f"picture=2&b={INSTALLED[-1]}&layer={LAYER}&unit=7&y=3&x=4"
    text = f"tab=unit&sort=number&{place}&edits={edits}&lang=zh-TW&theme=dark"
    shown = screen(text)
    shown.page.locator("[data-part=value]", has_text="第 3 列第 4 行").wait_for()
    value = shown.page.locator("[data-part=value]").inner_text()
    assert shown.page.locator("html").get_attribute("lang") == "zh-TW"
    shown.page.get_by_role("tab", name="層", exact=True).click()
    shown.expect(".cell[data-unit='7']").to_have_attribute("aria-selected", "true")
    kept = shown.view
    assert kept.items() >= {"picture": "2", "layer": LAYER, "unit": "7", "edits": edits}.items()
    shown.page.go_back()
    shown.expect("#view-unit").to_be_visible()
    other = screen(shown.page.url.partition("#")[2])
    shown.expect("[data-part=value]").to_have_text(value)
    other.expect("[data-part=value]").to_have_text(value)


SAVED = {
    f"tab=layer&layer={LAYER}": "feature_maps",
    f"tab=unit&layer={LAYER}&unit=3&y=1&x=2": "receptive_field",
    "tab=explain&methods=gradcam": "explain(",
}


def test_a_view_is_saved_with_its_provenance_and_its_python(screen: Open) -> None:
    shown = screen()
    for view, function in SAVED.items():
        shown.open(f"{view}&b={INSTALLED[0]}")
        shown.expect(f"#tab-{view[4:].split('&')[0]}").to_have_attribute("aria-selected", "true")
        with shown.page.expect_download() as waiting:
            shown.page.get_by_role("link", name="Save PNG").click()
        with Image.open(waiting.value.path()) as picture:
            said = json.dumps(picture.text)
            assert picture.format == "PNG"
        assert "shapes" in said
        shown.page.get_by_role("button", name="Python").click()
        shown.expect("dialog code").to_contain_text("import vizkit")
        text = shown.page.locator("dialog code").inner_text()
        assert function in text
        compile(text, "line", "exec")
        shown.page.keyboard.press("Escape")
        shown.expect("dialog").to_be_hidden()


def test_views_that_follow_one_another_at_once_are_not_mixed(screen: Open) -> None:
    """What is on its way for a unit is neither asked on nor shown once the address names another layer and no unit."""
    wanted = f"tab=unit&layer={LAYER}&unit={UNIT}&y=1&x=2"
    shown = screen(wanted)
    for pause in (5, 10, 20, 40, 60, 90, 120) * 2:
        for view in ("tab=layer&layer=features.4", wanted):
            shown.page.evaluate("view => { location.hash = view }", view)
            shown.page.wait_for_timeout(pause)
    shown.expect("#view-unit h2").to_have_text(re.compile(f"{LAYER} #\\s*{UNIT}"))
    shown.expect("[data-part=sum]").to_have_attribute("data-at", "1,2")
