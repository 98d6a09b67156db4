"""The page's files: no framework, nothing inline, one set of words in two languages, one classic script for a file."""

from __future__ import annotations

import base64
import re
from importlib.resources import files

import numpy as np
import pytest
from matplotlib import colormaps

from vizkit.contract.errors import SettingError
from vizkit.explore import bundle
from vizkit.reports.families import families

STATIC = {
    one.name: one.read_text(encoding="utf-8") for one in (files("vizkit.explore") / "static").iterdir() if one.is_file()
}
MODULES = {name: text for name, text in STATIC.items() if name.endswith(".js")}
PAGE, STYLE = STATIC["index.html"], STATIC["style.css"]


def words(name: str) -> dict[str, str]:
    """A language's words by name."""
    found = re.findall(r'\b(\w+): "((?:[^"\\]|\\.)*)"', MODULES[name])
    assert len({key for key, _ in found}) == len(found), "a name twice"
    return dict(found)


@pytest.mark.quick
def test_both_languages_have_the_same_words_with_the_same_places() -> None:
    english, chinese = words("lang_en.js"), words("lang_zh.js")
    assert english.keys() == chinese.keys()
    for name, text in english.items():
        assert sorted(re.findall(r"\{(\w+)\}", text)) == sorted(re.findall(r"\{(\w+)\}", chinese[name])), name


def test_every_family_of_methods_has_its_words() -> None:
    """The server's own, in English."""
    english = {text for name, text in words("lang_en.js").items() if name.startswith("fam")}
    assert english == set(families())
    starts = set(re.findall(r'^  "([^"]+)": "fam', MODULES["i18n.js"], re.MULTILINE))
    assert starts == {text.partition(":")[0] for text in english}


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    known = set(words("lang_en.js"))
    code = "\n".join(text for name, text in MODULES.items() if not name.startswith("lang_")) + PAGE
    said = set(re.findall(r'\bt\("(\w+)"', code)) | set(re.findall(r'data-i18n(?:-label)?="(\w+)"', PAGE))
    assert said <= known, said - known
    unused = {name for name in known if not re.search(rf'"{name}"', code)}
    assert not unused


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    assert re.findall(r"<script(?! type=\"module\" src=\"static/app.js\"></script>)", PAGE) == []
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", PAGE)
    for name, text in STATIC.items():
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, (name, addresses)
    for name, text in MODULES.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\"style", text
        ), name
    assert "@import" not in STYLE
    assert "url(" not in STYLE


@pytest.mark.parametrize(("name", "theirs"), [("VIRIDIS", "viridis"), ("INFERNO", "inferno"), ("DIVERGING", "RdBu_r")])
def test_the_colours_are_matplotlibs(name: str, theirs: str) -> None:
    table = MODULES["colours.js"].split(f"{name} = table(")[1].split(");")[0]
    ours = np.frombuffer(base64.b64decode("".join(re.findall(r'"([^"]+)"', table))), np.uint8).reshape(256, 3)
    assert np.array_equal(ours, colormaps[theirs](np.arange(256), bytes=True)[:, :3])


def test_the_bundle_is_one_classic_script_of_all_modules() -> None:
    script = bundle.bundle()
    assert set(re.findall(r'^modules\["(\w+\.js)"\] = ', script, re.MULTILINE)) == MODULES.keys()
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    page = bundle.page("d.js", "e.js", "s.css")
    assert page.index('src="d.js"') < page.index('src="e.js"')
    assert "static/" not in page
    assert 'type="module"' not in page


def test_modules_that_import_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"app.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./app.js";\nexport const b = 1;\n'}
    monkeypatch.setattr(bundle, "text", made.__getitem__)
    with pytest.raises(SettingError, match=r"app\.js imports b\.js imports app\.js"):
        bundle.bundle()


def test_a_module_is_bundled_with_its_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "app.js": 'import { a as x, b } from "./b.js";\nx(b);\n',
        "b.js": "export const b = 1;\nexport async function c() {}\nfunction d() {}\nexport { d as a };\n",
    }
    monkeypatch.setattr(bundle, "text", made.__getitem__)
    script = bundle.bundle()
    assert 'const { a: x, b } = modules["b.js"];' in script
    assert "return { b, c, a: d };" in script
    assert "async function c() {}" in script
