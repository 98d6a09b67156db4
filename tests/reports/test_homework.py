"""``vizkit homework``: the published notebook's sections, what it got wrong beside what is right, in two languages."""

from __future__ import annotations

import inspect
import json
import os
import re
import string
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits.browser import CHROMIUM, browse
from PIL import Image
from test_demo import Page

import vizkit
from vizkit import cli, homework, images, results
from vizkit.errors import SettingError, UnknownNameError
from vizkit.reports.homework import build, notebook, sections
from vizkit.reports.homework.run import WORDS, Run
from vizkit.zoo import download
from vizkit.zoo.catalog import CATALOG

DREAM = {"stages": 3, "steps": 2, "layer": "features.9"}
KEYS = [
    *("photo", "saliency-1", "saliency-2", "architecture", "weights", "last-filter", "first-filters", "features"),
    *("noise", "more-saliency", "more-filters", "more-features", "dream"),
]
TWICE = ("saliency-1", "saliency-2", "features", "noise")
PUBLISHED = np.array(
    [
        [-0.05347426, -0.04925704, -0.06794177],
        [0.01531445, 0.04506842, 0.0021444],
        [0.03622622, 0.01999945, 0.01986402],
    ]
)
"""VGG19's first filter, first channel, as the published notebook prints it."""
CASES = [(INSTALLED[0], "en", False), (INSTALLED[-1], "zh", True)]
Made = tuple[Path, str, str, bool]


def networks(backend: str) -> dict[str, Any]:
    """The small trained network in every part."""
    return dict.fromkeys(homework.ROLES, vizkit.load("shapes", backend=backend))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A page with its backend, language, and whether the published results come first."""
    backend, language, as_published = request.param
    folder = tmp_path_factory.mktemp(f"homework-{language}")
    images.read(images.sample()).save(folder / "photo.png")
    (folder / "books").mkdir()
    index = homework.make(
        folder / "photo.png",
        models=networks(backend),
        language=language,
        as_published=as_published,
        out=folder / "page",
        notebook=folder / "books" / "homework.ipynb",
        dream=DREAM,
        seed=5,
    )
    return index, backend, language, as_published


def text_of(made: Made) -> str:
    return made[0].read_text(encoding="utf-8")


def shown(text: str, key: str) -> str:
    """What a reader reads in one section, without the settings."""
    section = text.split(f'id="{key}"')[1].split("</section>")[0]
    return re.sub(r"<details>.*?</details>(</details>)?|<img[^>]*>", "", section, flags=re.DOTALL)


def test_every_section_in_the_notebooks_order(made: Made) -> None:
    index, _, language, as_published = made
    page = Page(re.sub(r'<pre tabindex="0">.*?</pre>', "", text_of(made), flags=re.DOTALL))
    assert re.findall(r'<section class="card" id="([^"]+)"', text_of(made)) == [*KEYS, "run"]
    assert page.all("html")[0]["lang"] == {"en": "en", "zh": "zh-Hant-TW"}[language]
    order = ("published", "correct") if as_published else ("correct", "published")
    expected = []
    for key in KEYS:
        if key in TWICE:
            expected += [f"{key}-{way}.png" for way in order]
        elif key not in ("architecture", "weights"):
            expected.append(f"{key}.png")
    listed = [one["href"] for one in page.all("a") if one["href"].endswith(".png")]
    assert listed == expected
    assert sorted(path.name for path in index.parent.iterdir()) == sorted([*expected, "index.html"])
    for file in listed:
        found = results.read_provenance(index.parent / file)
        assert page.provenance[file] == found
        assert found["page"] == "vizkit homework"


def test_both_ways_are_what_they_say(made: Made) -> None:
    folder, seed = made[0].parent, 5

    def settings(file: str) -> dict[str, Any]:
        found: dict[str, Any] = results.read_provenance(folder / file)["results"][0]["settings"]
        return found

    for key in ("saliency-1", "saliency-2"):
        right, published = settings(f"{key}-correct.png"), settings(f"{key}-published.png")
        assert (right["mode"], right["input_range"], right["seed"]) == ("inference", "imagenet", None)
        assert (published["mode"], published["input_range"], published["seed"]) == ("published", "unit", seed)
        assert right["target"][0]["index"] is not None
        assert published["target"][0]["index"] is None
        assert right["fit"] == published["fit"] == "squash"
    for key in ("features", "noise"):
        assert settings(f"{key}-correct.png")["input_range"] == "imagenet"
        assert settings(f"{key}-published.png")["input_range"] == "unit"
    assert settings("noise-correct.png")["noise"] == [150, 180]


def test_the_page_says_why_and_how_far_they_differ(made: Made) -> None:
    """The correlations in the sentences, computed again."""
    _, backend, language, _ = made
    model = vizkit.load("shapes", backend=backend)
    right = vizkit.saliency(model, images.sample(), fit="squash").values
    published = vizkit.saliency(model, images.sample(), mode="published", seed=5).values
    expected = np.corrcoef(right.ravel(), published.ravel())[0, 1]
    section = shown(text_of(made), "saliency-1")
    assert float(re.findall(r"(-?\d\.\d\d)[.。]", section)[0]) == pytest.approx(expected, abs=0.006)
    assert expected < 0.9
    assert all(
        word in section for word in {"en": ["training mode", "dropout"], "zh": ["訓練模式", "dropout"]}[language]
    )
    noise = images.noise(size=96, seed=5)
    maps = [
        vizkit.feature_maps(model, noise, fit="squash", input_range=one).values[0].reshape(16, -1)
        for one in ("imagenet", "unit")
    ]
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*maps, strict=True)])
    said = re.findall(r"(-?\d\.\d\d)[.。]", shown(text_of(made), "noise"))
    assert float(said[0]) == pytest.approx(expected, abs=0.006)


def test_weights_are_printed_as_they_are(made: Made) -> None:
    _, backend, _, _ = made
    model = vizkit.load("shapes", backend=backend)
    printed = re.search(r"<pre[^>]*>(.*?)</pre>", shown(text_of(made), "weights"), re.DOTALL)
    assert printed
    parts = re.split(r"^(features\.\d+)\.weight\[0\].*$", printed[1], flags=re.MULTILINE)[1:]
    assert parts[::2] == model.filter_layers()
    for layer, numbers in zip(parts[::2], parts[1::2], strict=True):
        found = np.array([float(one) for one in re.findall(r"-?\d+\.\d*(?:e[+-]\d+)?", numbers)])
        assert np.allclose(found, model.weight(layer)[0].ravel(), rtol=1e-7, atol=5e-9)


@pytest.mark.parametrize("language", list(WORDS))
def test_the_published_filter_is_known_when_it_is_there(name: str, language: str) -> None:
    model = vizkit.load("shapes", backend=name)
    weight = model.weight("features.0")
    weight[0, 0] = PUBLISHED
    golden = model.with_parameters({"features.0.weight": weight})
    for one, says in ((golden, "golden.same"), (model, "golden.other")):
        run = Run(dict.fromkeys(homework.ROLES, one), images.sample(), "cat.jpg", WORDS[language])
        done = sections.weights(run, "weights", "", run.models["vgg19"])
        assert WORDS[language][says].split("{")[0][:20] in done.text
        assert ("[[[-0.05347426 -0.04925704 -0.06794177]" in done.pre) == (one is golden)
        assert ("[ 0.01531445  0.04506842  0.0021444 ]" in done.pre) == (one is golden)


def real_vgg19() -> str:
    """Real weights of VGG19, where the user or a framework's cache has them."""
    given = os.environ.get("VIZKIT_VGG19_WEIGHTS", "")
    entry = CATALOG["vgg19"]
    cached = [
        download.torch_cache() / entry.torch_file,
        download.mxnet_cache() / f"{entry.gluon_name}-{entry.gluon_sha1[:8]}.params",
    ]
    found = [path for path in ([Path(given)] if given else []) + cached if path.exists()]
    if not found:
        pytest.skip("needs real VGG19 weights: set VIZKIT_VGG19_WEIGHTS to a file, or load them once")
    return str(found[0])


@pytest.mark.quick
def test_golden_figures_of_vgg19(name: str) -> None:
    """The published printout of VGG19's first filter, from real weights."""
    model = vizkit.load("vgg19", backend=name, weights=real_vgg19())
    run = Run(dict.fromkeys(homework.ROLES, model), images.sample(), "cat.jpg", WORDS["en"])
    done = sections.weights(run, "weights", "", run.models["vgg19"])
    first = [float(one) for one in re.findall(r"-?\d+\.\d+", done.pre)[:9]]
    assert np.allclose(np.reshape(first, (3, 3)), PUBLISHED, rtol=0, atol=5e-9)
    assert WORDS["en"]["golden.same"] in done.text


def fields(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


@pytest.mark.quick
def test_the_translation_is_complete() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    assert english.keys() == chinese.keys()
    for key, words in english.items():
        assert fields(words) == fields(chinese[key]), key
        plain = re.sub(r"\{\w+\}", "", chinese[key])
        assert re.search("[\u4e00-\u9fff]", plain) or not plain, key
        names = "CNN|Gluon|GoogLeNet|SHA|saliency map|dropout|logit|weight|vizkit homework"
        assert not re.search("[A-Za-z]{2,}", re.sub(names, "", plain)), key


def test_pictures_are_the_same_in_both_languages() -> None:
    model = vizkit.load("shapes", backend=INSTALLED[-1])
    pngs = []
    for words in WORDS.values():
        run = Run(dict.fromkeys(homework.ROLES, model), images.sample(), "cat.jpg", words, dream=DREAM)
        both = sections.saliency(run, "s", "", model, ("correct", "published"))
        pngs.append([one.png for one in (*both.pictures, *sections.dream(run, "d", "", model).pictures)])
    assert pngs[0] == pngs[1]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")
def test_browser_opens_it_without_a_console_message(made: Made, tmp_path: Path) -> None:
    done = browse(made[0].as_uri(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<section") >= len(KEYS)
    assert "CONSOLE" not in done.stderr, done.stderr


def test_a_section_that_fails_is_told_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(networks(INSTALLED[0]), images.sample(), "cat.jpg", WORDS["zh"])
    plan = {key: (title, one) for key, title, one in sections.sections(run)}

    def fails(*_: Any, **__: Any) -> Any:
        raise SettingError("no luck")

    monkeypatch.setattr("vizkit.techniques.feature_maps", fails)
    done = run.finish("features", *plan["features"])
    assert (done.text, list(done.notes), list(done.pictures)) == (WORDS["zh"]["failed"], ["no luck"], [])
    assert done.title == plan["features"][0]
    assert run.finish("last-filter", *plan["last-filter"]).pictures
    monkeypatch.setattr("vizkit.techniques.feature_maps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.finish("features", *plan["features"])


@pytest.mark.quick
def test_weights_by_network() -> None:
    assert homework.weights_of(None) == dict.fromkeys(homework.ROLES, "imagenet")
    assert homework.weights_of(["random:7", "resnet152=a=b.params"]) == {
        "vgg19": "random:7",
        "resnet152": "a=b.params",
        "googlenet": "random:7",
    }
    assert homework.weights_of(["./a=b.pth"])["vgg19"] == "./a=b.pth"
    with pytest.raises(UnknownNameError, match="vgg19"):
        homework.weights_of(["vgg91=a.pth"])
    with pytest.raises(SettingError, match="twice"):
        homework.weights_of(["random:1", "random:2"])


@pytest.mark.quick
def test_mistakes_are_told_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="language='fr'"):
        homework.make(language="fr", out=tmp_path / "page")
    with pytest.raises(UnknownNameError, match="resnet152"):
        homework.make(weights={"resnet125": "x"}, out=tmp_path / "page")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(SettingError, match=r"holds 'thesis\.txt', which `vizkit homework` did not write"):
        homework.make(out=tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.quick
def test_the_homework_is_gluons() -> None:
    preferred = build._preferred()
    assert preferred == ("gluon" if "gluon" in INSTALLED else None)


@pytest.mark.quick
def test_command_and_function_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function = inspect.signature(homework.make).parameters
    command = inspect.signature(cli.pages.homework).parameters
    for name in ("photo", "backend", "as_published", "language", "notebook", "seed", "device"):
        assert command[name].default == function[name].default, name
    assert str(command["out"].default) == function["out"].default == homework.FOLDER
    called: dict[str, Any] = {}

    @wraps(homework.make)
    def make(*_: Any, **options: Any) -> Path:
        called.update(options)
        return tmp_path / "i.html"

    monkeypatch.setattr("vizkit.homework.make", make)
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "v.pth"):
        (tmp_path / name).touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["homework", "a.png", "-w", "random:7", "-w", "vgg19=v.pth", "--language", "zh", "--as-published"])
    assert not stopped.value.code
    assert called["weights"] == {"vgg19": "v.pth", "resnet152": "random:7", "googlenet": "random:7"}
    assert (called["language"], called["as_published"]) == ("zh", True)


def test_the_notebook_is_written_with_the_page(made: Made) -> None:
    """Whole, with paths as seen from the notebook's folder."""
    index, backend, _, _ = made
    path = index.parents[1] / "books" / "homework.ipynb"
    book = json.loads(path.read_text(encoding="utf-8"))
    start = "".join(book["cells"][1]["source"])
    assert "PHOTO = '../photo.png'" in start
    assert f"'vgg19': vizkit.load('shapes', backend='{backend}', weights='imagenet')," in start
    assert str(index.parents[1]) not in path.read_text(encoding="utf-8")
    assert notebook.check(path) == path


@pytest.mark.quick
def test_the_roles_are_networks_by_name() -> None:
    assert set(homework.ROLES) <= set(vizkit.models(INSTALLED[0]))


@pytest.mark.full_size
def test_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG19 itself with random weights, in the homework's own backend: 16 convolutions, 64 maps, and a note that
    nothing was learned. Sections of other networks are what they are above."""
    own = {"saliency-1", "architecture", "weights", "last-filter", "features"}
    monkeypatch.setattr(build, "sections", lambda run: [one for one in sections.sections(run) if one[0] in own])
    small = networks(INSTALLED[0])
    del small["vgg19"]
    given: dict[str, Any] = {"models": small, "weights": "random:7", "dream": DREAM}
    index = homework.make(out=tmp_path / "page", **given)
    text = index.read_text(encoding="utf-8")
    assert "each of the 16 convolutions of vgg19" in text
    assert "right 64 of its 64 maps" in text
    assert "these weights are random" in text
    assert Image.open(index.parent / "saliency-1-correct.png").size[0] > 900
