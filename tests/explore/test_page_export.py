"""An exported site in a browser, from its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits.explorer import Screen, plain

import vizkit
from vizkit.explore.export import export
from vizkit.zoo import shapes

SAMPLE = shapes.sample(12, seed=7)
EDITS = '[{"layer":"features.2","unit":4,"mode":"add","amount":1.5}]'
VIEWS = [
    "tab=unit&layer=features.4&unit=3",
    "tab=layer&layer=features.7",
    f"tab=explain&methods=gradcam,saliency&edits={EDITS}",
    f"tab=ablate&edits={EDITS}",
]


def test_a_site_shows_its_views_without_a_server(
    browse: Callable[..., Screen], twins: list[Any], tmp_path: Path
) -> None:
    start = export(twins, tmp_path / "site", VIEWS)
    shown = browse(start.as_uri(), offline=True)
    rows = twins[0].predict(SAMPLE.images[0], 3, fit="squash")
    assert shown.all("#predictions tbody th")[0] == rows[0].label
    assert plain(shown.all("#predictions tbody .figure")[0]) == pytest.approx(100 * rows[0].probability, abs=0.051)
    shown.page.locator("[data-key=sum]").wait_for()
    maps = np.asarray(vizkit.feature_maps(twins[0], SAMPLE.images[0], "features.4", fit="squash").values[0])
    assert shown.number("[data-key=value]") == pytest.approx(maps[3].max(), rel=1e-5)
    shown.page.locator(".kernels canvas").first.wait_for()
    shown.page.get_by_role("button", name="Search the pictures").click()
    shown.expect(".patches li").to_have_count(9)
    links = shown.page.locator("#exported a")
    assert links.all_inner_texts() == ["Unit features.4 #3", "Layer features.7", "Explain gradcam, saliency", "Ablate"]
    links.nth(1).click()
    shown.page.locator(".cell:not(.waits)").first.wait_for()
    assert len(shown.all(".cell:visible")) == 32
    shown.page.locator("[role=treeitem]", has_text="max pool").first.click()
    shown.expect("#view-layer .problem").to_have_text("This is not part of the exported views.")
    links.nth(2).click()
    shown.expect("[data-part=words]").to_have_text("2 maps are done.")
    links.nth(3).click()
    edited = vizkit.edited(twins[0], [("features.2", 4, 1.5)]).predict(SAMPLE.images[0], 1, fit="squash")[0]
    cell = (
        shown.page.locator("#view-ablate table", has_text=INSTALLED[0])
        .locator("tr", has_text=edited.label)
        .locator("td")
    )
    cell.first.wait_for()
    assert plain(cell.nth(1).inner_text()) == pytest.approx(100 * edited.probability, abs=0.051)
