"""``vizkit demo``: the page and its folder, as files, as numbers, and in a browser."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup
from conftest import INSTALLED, both
from kits.browser import CHROMIUM, FRAME, PROBE, browse
from PIL import Image

import vizkit
from vizkit import cli, demo, images, results
from vizkit import page as pages
from vizkit.draw import pages as pages_drawn
from vizkit.reports.demo.run import GENERATOR
from vizkit.reports.page import prose
from vizkit.support.columns import deviation, share
from vizkit.zoo import shapes

SMALL = demo.Scale(
    pictures=3, explained=2, pairs=1, classes=2, units=2, late_steps=1, judged=24, dream={"stages": 2, "steps": 1}
)
KEYS = [
    *("predict", "saliency", "gradcam", "filters-1", "filters-2", "features-1", "features-2", "features-3"),
    *("statistics", "dreams-1", "dreams-2", "late"),
]


class Page:
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        self.soup = BeautifulSoup(text, "html.parser", multi_valued_attributes=None)
        self.tags = [(one.name, one.attrs) for one in self.soup(True)]
        self.headings = [int(one.name[1]) for one in self.soup(re.compile("^h[1-6]$"))]
        self.provenance = {one["data-file"]: json.loads(one.text) for one in self.soup("pre", {"data-file": True})}
        self.rows = {
            part["id"]: [(name.text, value.text) for name, value in zip(part("dt"), part("dd"), strict=True)]
            for part in self.soup("section")
        }

    def all(self, tag: str) -> list[dict[str, str]]:
        return [one.attrs for one in self.soup(tag)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo of ``shapes`` in every installed backend."""
    return demo.make(out=tmp_path_factory.mktemp("demo") / "page", seed=3, scale=SMALL)


@pytest.fixture(scope="module")
def text(index: Path) -> str:
    return index.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_one_file_that_loads_nothing(text: str, page: Page) -> None:
    written = re.sub('src="data:image/webp;base64,[^"]*"', "", text)
    assert not re.search(r"https?:|ftp:|file:|//[a-z]|@import|url\(", written, re.IGNORECASE)
    assert all(one["src"].startswith("data:image/webp;base64,") for one in page.all("img"))
    assert [one["href"] for one in page.all("link")] == ["data:,"]
    assert not any("src" in one for one in page.all("script"))
    assert "default-src 'none'" in text
    assert not page.all("iframe")


def test_page_can_be_read_without_eyes_or_mouse(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("title")) == page.headings.count(1) == 1
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert all(len(one["alt"]) > 20 for one in page.all("img"))
    assert all(one.get("tabindex") == "0" and one["aria-label"] for one in page.all("div") if "scroller" in str(one))
    anchors = {one["href"][1:] for one in page.all("a") if one["href"].startswith("#")}
    assert anchors == {"main", "agreement", *KEYS}
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert anchors <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(not one["tabindex"].strip("-01") for _, one in page.tags if "tabindex" in one)


def test_pictures_lie_beside_the_page_with_their_settings(index: Path, page: Page) -> None:
    assert results.read_provenance(index) == page.provenance
    listed = [one["href"] for one in page.all("a") if one["href"].endswith(".png")]
    assert listed == [f"{key}.png" for key in KEYS]
    assert sorted(path.name for path in index.parent.iterdir()) == sorted([*listed, "index.html"])
    for key, file in zip(KEYS, listed, strict=True):
        made = results.read_provenance(index.parent / file)
        assert page.provenance[file] == made
        assert [one["backend"] for one in made["results"]] == sorted(INSTALLED, reverse=True)
        assert Image.open(index.parent / file).format == "PNG"
        rows = dict(page.rows[key])
        assert rows["technique"] == made["results"][0]["technique"]
        assert {"seed", "stages"} <= set(rows) or "dreams" not in key
        for name, value in made["results"][0]["settings"].items():
            if isinstance(value, int | float | str):
                assert rows[name] == str(value)


def test_header_names_versions_and_weights(page: Page) -> None:
    rows = dict(page.rows["run"])
    model = vizkit.load("shapes", backend=INSTALLED[0])
    for backend in INSTALLED:
        assert rows[f"weights’ SHA-256, {backend}"] == model.sha256()
    assert f"vizkit {vizkit.__version__}" in rows["versions"]
    assert all(f"{name} {version}" in rows["versions"] for name, version in model.versions.items())


@both()
def test_differences_are_those_of_the_numbers(text: str) -> None:
    """Computed anew, from the public functions."""
    sample = shapes.sample(SMALL.pictures, 3)
    pair = shapes.sample(1, 3, objects=2)
    models = [vizkit.load("shapes", backend=name) for name in ("torch", "gluon")]
    cases = {
        "maps": [
            [vizkit.saliency(model, list(sample.images[:2])).values for model in models],
            [
                vizkit.gradcam(model, [pair.images[0]] * 2, target=[int(one) for one in pair.labels[0]]).values
                for model in models
            ],
        ],
        "activations": [
            [vizkit.feature_maps(model, sample.images[0], layer).values for model in models]
            for layer in ("features.2", "features.9", "features.23")
        ],
    }
    for what, pairs in cases.items():
        for first, other in pairs:
            a, b = first.astype(np.float64), other.astype(np.float64)
            assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(a)
            l2 = np.linalg.norm(a - b) / np.linalg.norm(a)
            largest = np.abs(a - b).max() / np.abs(a).max()
            sizes = f"relative L2 {deviation(l2)}, largest difference {deviation(largest)} of the maximum"
            assert prose(f"{what}, gluon against torch: {sizes}") in text


@pytest.mark.quick
def test_difference_by_hand() -> None:
    named = [("a", np.array([3.0, 4.0])), ("b", np.array([3.0, 4.5])), ("c", np.array([3.0, 4.0]))]
    ab, ac = pages.difference("x", named)
    assert (ab.l2, ab.largest) == (0.1, 0.125)
    assert (ac.l2, ac.largest) == (0.0, 0.0)
    assert ab.text() == "x, b against a: relative L2 1.0e-01, largest difference 1.2e-01 of the maximum"


def test_truth_and_answers_are_right(text: str) -> None:
    sample = shapes.sample(SMALL.pictures, 3)
    model = vizkit.load("shapes", backend=INSTALLED[-1])
    for i, label in enumerate(sample.labels):
        best = model.predict(sample.images[i])[0]
        answer = f"{best.label} {escape(share(best.probability))}"
        assert f'<th scope="row">{i + 1}: {shapes.CLASSES[label]}</th><td>{answer}<' in text


def test_dreams_of_classes_ascend_to_their_class() -> None:
    """A logit below zero must rise, too."""
    model = vizkit.load("shapes", backend=INSTALLED[0])
    units = list(range(len(shapes.CLASSES)))
    settings = {**demo.subjects.SMOOTH, "stages": 8, "steps": 6, "activation_weight": 0.5}
    found = vizkit.dream(model, "classifier.3", units, seed=0, **settings)
    pixels = images.normalise(found.values, model.spec).astype(np.float32)
    logits = model.ops.numpy(model.forward(model.ops.asarray(pixels))["output"])
    np.testing.assert_array_equal(logits.argmax(axis=1), units)


def test_same_run_same_bytes(index: Path, tmp_path: Path) -> None:
    again = demo.make(out=tmp_path, seed=3, scale=SMALL)
    for one in sorted(index.parent.iterdir()):
        assert (tmp_path / one.name).read_bytes() == one.read_bytes(), one.name
    assert again.read_bytes() == index.read_bytes()


def test_a_photo_through_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """From the command line, over an earlier page, whose other pictures go."""
    monkeypatch.setattr("vizkit.reports.demo.build.Scale", lambda: SMALL)
    Image.open(images.sample()).save(tmp_path / "a <cat> & co.png")
    out = tmp_path / "out"
    out.mkdir()
    stale = {"page": GENERATOR, "results": []}
    results.save_figure(pages_drawn.pictures(np.zeros((1, 4, 4, 3), np.uint8), [""]), out / "dreams-9.png", stale)
    options = ("--model", "squeezenet1_1", "--weights", "random:7", "-b", INSTALLED[-1], "--out", str(out))
    with pytest.raises(SystemExit) as stopped:
        cli.main(("demo", str(tmp_path / "a <cat> & co.png"), *options))
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    assert (out / "index.html").as_uri() in said.out
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    listed = [one["href"] for one in page.all("a") if one["href"].endswith(".png")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*listed, "index.html"])
    assert listed == [f"{key}.png" for key in KEYS[:-2]]
    assert "a &lt;cat&gt; &amp; co.png" in text
    assert "<cat>" not in text
    assert str(tmp_path) not in text
    best = vizkit.load("squeezenet1_1", backend=INSTALLED[-1], weights="random:7").predict(images.sample(), 2)
    targets = page.provenance["gradcam.png"]["results"][0]["settings"]["target"]
    assert [one["index"] for one in targets] == [one.index for one in best]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")
def test_browser_opens_it_without_a_console_message(index: Path, tmp_path: Path) -> None:
    done = browse(index.as_uri(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "</html>" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
    broken = tmp_path / "broken.html"
    broken.write_text("<script>absent()</script>")
    assert "CONSOLE" in browse(broken.as_uri(), tmp_path).stderr, "this check sees no console errors"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")
def test_phone_shows_it_without_scrolling_sideways(index: Path, tmp_path: Path) -> None:
    """In a frame 390 pixels wide, with all details open; enlarging and the arrow keys work."""
    assert all(Image.open(one).width > 390 for one in index.parent.glob("*.png")), "too narrow to be in the way"
    (tmp_path / "probe.html").write_text(index.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")
    done = browse((tmp_path / "frame.html").as_uri(), tmp_path, "--virtual-time-budget=10000")
    said = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr
    found = json.loads(unescape(said[1]))
    assert found["inner"] == 390
    assert found["scroll"] <= 390, found["wide"]
    assert found["wide"] == []
    assert found["broken"] == 0
    assert found["opened"]
    assert found["moved"]
    assert found["pictures"] == 12
    assert "CONSOLE" not in done.stderr, done.stderr
