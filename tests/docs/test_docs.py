"""The documentation: it builds, its links lead somewhere, it loads nothing from the net, and its code runs."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import FunctionType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from conftest import BOTH
from typer.main import get_command

import vizkit
from vizkit import VizkitError, cli, docs
from vizkit.docs import hooks

PAGES = docs.HERE / "pages"
BUILDS = all(importlib.util.find_spec(name) is not None for name in docs.NEEDED)
RUN = [PAGES / "index.md", PAGES / "gallery.md", PAGES / "technique.md", *sorted((PAGES / "guide").glob("*.md"))]
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """Anchors of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADED and LOADED[tag] in given and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given[LOADED[tag]])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not BUILDS:
        pytest.skip("MkDocs and its plugins are not installed")
    folder = tmp_path_factory.mktemp("site")
    docs.build(folder)  # strictly: a warning is an error
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_links_anchors_and_pictures_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target in pages and (not to.fragment or unquote(to.fragment) in pages[target].anchors)
            if not there and not (target.suffix != ".html" and target.is_file()):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken
    assert len(pages) > 30


def test_nothing_is_loaded_from_the_net(site: Path, pages: dict[Path, Page]) -> None:
    away = [f"{path.name}: {link}" for path, page in pages.items() for link in page.loads if urlsplit(link).netloc]
    for path in [*site.rglob("*.css"), *site.rglob("*.html")]:
        text = path.read_text(encoding="utf-8")
        away += [
            f"{path.name}: {found}" for found in re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//[^)\s]+", text)
        ]
    assert not away


def test_every_public_name_is_in_the_reference(pages: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for path, page in pages.items() if path.parent.name == "api"))
    modules = {name for name in vizkit.__all__ if hasattr(getattr(vizkit, name), "__path__")}
    modules |= {name for name in vizkit.__all__ if type(getattr(vizkit, name)) is type(vizkit)}
    missing = [name for name in vizkit.__all__ if name not in modules and f"vizkit.{name}" not in anchors]
    missing += [name for name in modules if not any(one.startswith(f"vizkit.{name}.") for one in anchors)]
    absent = [name for name in missing if name != "VizkitError"]
    assert not absent, f"give each a line '::: vizkit.NAME' in a page under {PAGES / 'api'}"
    assert "vizkit.errors.VizkitError" in anchors


def referred() -> list[str]:
    """Addresses that the reference's pages document."""
    pages = [hooks.on_page_markdown(path.read_text(encoding="utf-8")) for path in (PAGES / "api").glob("*.md")]
    return re.findall(r"^::: (vizkit\.\S+)", "\n".join(pages), re.MULTILINE)


def resolved(address: str) -> Any:
    """What lies there, be it a module or in one."""
    module, _, name = address.rpartition(".")
    found = importlib.import_module(module or address)
    return getattr(found, name, None) or importlib.import_module(address)


@pytest.mark.quick
@pytest.mark.parametrize("module", sorted({one.rpartition(".")[0] for one in referred()}))
def test_what_a_documented_module_exports_is_documented(module: str) -> None:
    """Its classes and functions, be it at another address; what is not for users is not in ``__all__``."""
    known = {id(Any), *(id(resolved(one)) for one in referred())}
    exported = {name: getattr(resolved(module), name) for name in getattr(resolved(module), "__all__", ())}
    missing = [f"{module}.{name}" for name, one in exported.items() if isinstance(one, type | FunctionType)]
    missing = [one for one in missing if id(resolved(one)) not in known]
    assert not missing, f"give each a line '::: ADDRESS' in a page under {PAGES / 'api'}, or take it out of __all__"


def test_every_command_is_shown() -> None:
    text = (PAGES / "guide" / "cli.md").read_text(encoding="utf-8")
    assert not [name for name in get_command(cli.app).commands if f"`vizkit {name}`" not in text]


def blocks() -> Iterator[Any]:
    for path in RUN:
        found = re.findall(
            r"(<!-- not run[^>]*-->\n+)?```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL
        )
        for i, (aside, code) in enumerate(found):
            if not aside:
                yield pytest.param(code, id=f"{path.relative_to(PAGES).with_suffix('')}-{i}")


@pytest.mark.skipif(not BOTH, reason="the examples compare two backends")
@pytest.mark.parametrize("code", list(blocks()))
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "set_threads" in code:  # which MXNet takes before it starts alone
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return
    exec(compile(code, "docs", "exec"), {"__name__": "example"})


def test_files_are_shown_as_they_are() -> None:
    page = hooks.on_page_markdown((PAGES / "backend.md").read_text(encoding="utf-8"))
    toy = hooks.ROOT / "tests" / "toy"
    for path in toy.rglob("*.py"):
        assert path.read_text(encoding="utf-8") in page
    assert "<!-- file" not in page
    assert "\nclass ToyKit(Kit):" in page
    assert "\n@pytest.fixture\ndef kit() -> Kit:" in page


def test_few_examples_are_not_run() -> None:
    assert sum(path.read_text(encoding="utf-8").count("<!-- not run") for path in RUN) <= 4


def test_the_gallery_is_what_its_script_says() -> None:
    from benchmarks import gallery

    text = (PAGES / "gallery.md").read_text(encoding="utf-8")
    entries = list(gallery.ENTRY.finditer(text))
    assert len(entries) == text.count("```bash") > 20
    for entry in entries:
        assert entry["command"].startswith("vizkit ")
        assert entry["printed"] or (PAGES / entry["picture"]).stat().st_size < gallery.LARGEST


def test_the_command_tells_where_the_pages_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("pages")
    monkeypatch.setattr(docs, "SITE", tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["docs", "--print"])
    assert not stopped.value.code
    assert capsys.readouterr().out.strip() == (tmp_path / "index.html").as_uri()


def test_without_mkdocs_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "SITE", tmp_path)
    monkeypatch.setattr(docs, "NEEDED", ("mkdocs_of_another_world",))
    with pytest.raises(VizkitError, match=r"pip install 'vizkit\[docs\]'"):
        docs.pages()


def test_a_page_that_does_not_build_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not BUILDS:
        pytest.skip("MkDocs and its plugins are not installed")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text("[nowhere](nowhere.md)")
    (tmp_path / "mkdocs.yml").write_text("site_name: broken\ndocs_dir: pages\nstrict: true\n")
    monkeypatch.setattr(docs, "CONFIG", tmp_path / "mkdocs.yml")
    with pytest.raises(VizkitError, match="nowhere"):
        docs.build(tmp_path / "site")


def test_the_build_backend_asks_for_mkdocs_for_wheels_alone() -> None:
    """What a wheel needs is the extra ``docs``; read, not imported, since Hatchling is there in builds alone."""
    hook = (docs.HERE / "build_hook.py").read_text(encoding="utf-8")
    project = (docs.HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.search(r"^NEEDED = (\[.*\])$", hook, re.MULTILINE)
    extra = re.search(r"^docs = (\[.*\])$", project, re.MULTILINE)
    assert wanted is not None
    assert extra is not None
    assert wanted[1] == extra[1]
    assert "def get_requires_for_build_wheel" in hook
    assert "def get_requires_for_build_editable" not in hook


@pytest.mark.parametrize("name", ["docstrings", "hooks"])
def test_what_mkdocs_runs_needs_nothing_of_vizkit(name: str) -> None:
    """Where a wheel is built there is MkDocs, and no NumPy, so that ``import vizkit`` fails."""
    pytest.importorskip("griffe", reason="MkDocs' plugins are not installed")
    code = f"import runpy, sys; sys.modules['numpy'] = None; runpy.run_path({str(docs.HERE / name) + '.py'!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
