"""The documentation: it builds without a warning, every link leads somewhere, what it shows runs, and it is whole."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from conftest import BOTH
from typer.main import get_command

import vizkit
from vizkit import cli, images, targets
from vizkit.docs import build, gallery
from vizkit.errors import SettingError

PAGES = build.HERE / "pages"
BUILDS = all(importlib.util.find_spec(name) for name in build.NEEDED)
CODE = [
    pytest.param(page, code, id=f"{page.stem}-{number}")
    for page in sorted(PAGES.glob("*.md"))
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not BUILDS:
        pytest.skip("pip install 'vizkit[docs]' builds the pages")
    folder: Path = tmp_path_factory.mktemp("site")
    build.build(folder)
    return folder


class Page(HTMLParser):
    """What a page names, what it links to, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names |= {str(found[key]) for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        source = found.get("src") or (found.get("href") if tag == "link" else None)
        if source and found.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(source)


def test_links_lead_somewhere_and_nothing_comes_from_the_net(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    assert len(pages) > 25
    checked = 0
    for file, page in pages.items():
        if file.name == "404.html":
            continue
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                assert link not in page.loads, f"{file.name} loads {link}"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{file.relative_to(site)}: {link}"
            if parts.fragment and target in pages and not parts.fragment.startswith("__"):
                assert unquote(parts.fragment) in pages[target].names, f"{file.relative_to(site)}: {link}"
            checked += 1
    assert checked > 1000


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    names: set[str] = set()
    for file in (site / "reference").glob("*.html"):
        names |= Page(file).names
    for name in vizkit.__all__:
        if name not in ("evaluate",):  # each of its functions is
            assert any(one == f"vizkit.{name}" or one.endswith(f".{name}") for one in names), name
    for name in vizkit.evaluate.__all__:
        assert any(one.endswith(f".{name}") for one in names), name


def test_every_command_is_described() -> None:
    text = (PAGES / "command-line.md").read_text(encoding="utf-8")
    for name in get_command(cli.app).commands:
        assert f"`{name}`" in text, name
    shown = (PAGES / "gallery.md").read_text(encoding="utf-8")
    for command, caption in gallery.SHOWN:
        assert f"vizkit {command}\n" in shown, "python -m vizkit.docs.gallery draws it anew"
        assert caption in shown


@pytest.mark.skipif(not BOTH, reason="examples are of both frameworks")
@pytest.mark.parametrize(("page", "code"), CODE)
def test_code_runs(page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"images": images, "targets": targets}
    exec(compile(code, page.name, "exec"), names)
    if page.stem == "dreams":
        first, second = names["found"].values
        assert np.abs(first - second).mean() > 0.05, "two facets are two pictures"
    if page.stem == "write-a-technique":
        model = vizkit.load("shapes")
        expected = vizkit.saliency(model, images.sample()).values
        found = names["gradient"](model, images.sample())
        np.testing.assert_allclose(np.abs(found).max(axis=1), expected, rtol=1e-5, atol=1e-9)


def test_a_checkout_without_pages_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SITE", tmp_path / "site")
    monkeypatch.setattr(build, "NEEDED", ("no_such_generator",))
    with pytest.raises(SettingError, match=r"vizkit\[docs\]"):
        build.index()


def test_the_command_says_where_the_pages_are(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "SITE", site)
    with pytest.raises(SystemExit):
        cli.main(["docs", "--no-open"])
    assert capsys.readouterr().out.strip() == (site / "index.html").as_uri()
