"""What commands refuse before anything is loaded, folders of photos, and the lines that make a picture again."""

from __future__ import annotations

import csv
import json
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, call
from PIL import Image
from typer.main import get_command

from vizkit import cli, results
from vizkit.parametrisations import Fourier
from vizkit.zoo import shapes

ALL = set(get_command(cli.app).commands)
DRAWS = ("saliency", "explain", "dream")
NO_FILES = {"models", "backends", "doctor", "docs", "explore", "layers", "weights", "predict"}
"""Commands without --out."""
NEEDED: dict[str, list[str]] = {
    "unit": ["shapes", "features.6", "1"],
    "health": ["shapes"],
    "statistics": ["shapes"],
    "embed": ["shapes"],
    "atlas": ["shapes"],
    "gallery": ["shapes"],
    "diagram": ["shapes"],
    "convert": ["resnet18", "random:1"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a network was loaded")

    for name in (
        "vizkit.zoo.loading.load",
        "vizkit.load",
        "vizkit.homework.make",
        "vizkit.zoo.convert",
        "vizkit.demo.make",
    ):
        monkeypatch.setattr(name, load)


@pytest.mark.quick
@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize("command", sorted(ALL - NO_FILES))
def test_an_output_that_cannot_be_is_refused_first(command: str, capsys: Any, here: Path) -> None:
    (here / "file.doc").touch()
    wrong = ["file.doc", "file.doc/x.png" if command != "convert" else "file.doc/x.pth"]
    for out in wrong:
        code, _, err = call(capsys, command, *NEEDED.get(command, []), "--out", out)
        assert code == 2, err
        assert f"--out {out}" in err
    assert [one.name for one in here.iterdir()] == ["file.doc"]


@pytest.mark.quick
@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(
    "arguments",
    [
        *((one, "nowhere.png") for one in ("saliency", "gradcam", "explain", "features", "predict", "invert")),
        *((one, "nowhere.png") for one in ("deepdream", "receptive", "demo", "homework", "compare", "evaluate")),
        *((one, *NEEDED[one], "--images", "nowhere.png") for one in ("unit", "health", "embed", "gallery")),
        ("atlas", "shapes", "nowhere.png"),
        ("dream", "--images", "nowhere.png"),
        ("compare", "--study", "nowhere.png"),
        ("weights", "nowhere.png"),
        ("saliency", "--weights", "nowhere.png.pth"),
    ],
)
def test_what_is_not_there_is_named_first(arguments: tuple[str, ...], capsys: Any, here: Path) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert "'nowhere.png" in err
    assert not list(here.iterdir())


@pytest.mark.quick
@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(
    ("arguments", "offer"),
    [
        (("explain", "--cmap", "jett"), "colour map 'jett'. Did you mean 'jet'"),
        (("saliency", "--mode", "publishd"), "'published'"),
        (("saliency", "--fit", "crp"), "'crop'"),
        (("saliency", "--backend", "trch"), "'torch'"),
        (("saliency", "--dtype", "float46"), "'float64'"),
        (("saliency", "--input-range", "units"), "'unit'"),
        (("features", "--scale", "comon"), "'common'"),
        (("dream", "--recipe", "furier"), "'fourier'"),
        (("dream", "--gradient-filter", "schar"), "'scharr'"),
        (("embed", "shapes", "--method", "tsn"), "'tsne'"),
        (("embed", "shapes", "--pool", "men"), "'mean'"),
        (("evaluate", "--method", "gradcm"), "'gradcam'"),
        (("predict", "--csv", "x.json"), "--csv x.json: the file must end in .csv"),
        (("predict", "--json", "x.csv"), "--json x.csv: the file must end in .json"),
        (("health", "shapes", "--csv", "x.png"), "must end in .csv"),
        (("health", "shapes", "--state", __file__), "is a file; give a folder"),
        (("saliency", "-o", f"{__file__}/x.png"), "is a file, not a folder"),
        (("homework", "--notebook", "x.py"), "must end in .ipynb"),
    ],
)
def test_words_and_files_are_checked_first(arguments: tuple[str, ...], offer: str, capsys: Any) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert offer in err


def folder_of(count: int) -> Path:
    drawn = shapes.sample(count, seed=1)
    for i, one in enumerate(drawn.images):
        file = Path("photos") / "ab"[i % 2] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(file)
    return Path("photos")


@pytest.mark.parametrize("command", ["gradcam", "explain", "features"])
def test_a_folder_of_photos_becomes_a_folder_of_pictures(command: str, capsys: Any, here: Path) -> None:
    folder_of(3)
    options = ["--method", "gradcam"] if command == "explain" else []
    code, _, err = call(capsys, command, "photos", "-m", "shapes", "-b", INSTALLED[0], *options, "-o", "maps")
    assert code == 0, err
    written = sorted(str(one.relative_to("maps")) for one in Path("maps").rglob("*.png"))
    assert written == ["a/00.png", "a/02.png", "b/01.png", "contact-sheet.png"]
    call(capsys, command, "photos/b/01.png", "-m", "shapes", "-b", INSTALLED[0], *options, "-o", "one.png")
    np.testing.assert_array_equal(np.asarray(Image.open("maps/b/01.png")), np.asarray(Image.open("one.png")))


def test_many_photos_need_a_folder(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vizkit.cli.photos.MOST", 2)
    folder_of(3)
    code, _, err = call(capsys, "saliency", "photos", "-m", "shapes", "-o", "x.png")
    assert code == 2
    assert "3 photos do not fit" in err
    code, out, _ = call(capsys, "saliency", "photos", "-m", "shapes", "-t", "ring", "-t", "cross", "-t", "star")
    assert code == 0
    assert [line.split(": ")[-1] for line in out.splitlines()[:3]] == ["ring", "cross", "star"]
    assert Path("saliency-shapes/b/01.png").exists()
    assert "2 of 3" not in out


def test_predictions_as_tables(capsys: Any, here: Path) -> None:
    folder_of(2)
    code, _, err = call(capsys, "predict", "photos", "-m", "shapes", "--top", "3", "--csv", "p.csv", "--json", "p.json")
    assert code == 0, err
    rows = json.loads((here / "p.json").read_text())
    with (here / "p.csv").open() as stream:
        read = list(csv.DictReader(stream))
    assert [row["label"] for row in read] == [row["label"] for row in rows]
    assert [float(row["probability"]) for row in read] == [row["probability"] for row in rows]
    assert [row["place"] for row in rows] == [1, 2, 3] * 2
    assert rows[0]["probability"] > rows[1]["probability"] > rows[2]["probability"]


def test_a_film_by_its_suffix_alone(capsys: Any, here: Path) -> None:
    code, _, err = call(capsys, "dream", "-m", "shapes", "-u", "3", "--steps", "80", "--size", "32", "-o", "x.gif")
    assert code == 0, err
    with Image.open(here / "x.gif") as film:
        assert film.n_frames == 40
    published = ("--recipe", "published", "--stages", "4", "--steps", "2")
    code, _, err = call(capsys, "dream", "-m", "shapes", "-u", "3", *published, "--size", "32", "-o", "y.gif")
    assert code == 0, err
    with Image.open(here / "y.gif") as film:
        assert film.n_frames == 4


def made_by(file: Path) -> str:
    """The line that a page, or a picture, says it was made by."""
    if file.suffix == ".html":
        found = re.findall(r"Made by <code>(.*?)</code>", file.read_text(encoding="utf-8"))
        return found[0].replace("&#x27;", "'").replace("&quot;", '"').replace("&amp;", "&")
    said = results.read_provenance(file)
    return str(said.get("command") or said["results"][0]["command"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("saliency", "my photo.png", "-m", "shapes", "-t", "ring", "--fit", "squash", "--dtype", "float64"),
        ("explain", "my photo.png", "-m", "shapes", "--method", "smoothgrad", "--seed", "3", "--cmap", "viridis"),
        ("dream", "-m", "shapes", "-l", "features.16", "-u", "3", "--steps", "4", "--size", "48", "--seed", "2"),
        (
            *("gallery", "shapes", "--layers", "features.2", "--top", "2", "--images", "photos"),
            *("--steps", "3", "--size", "32"),
        ),
        ("embed", "shapes", "--images", "photos", "--layer", "features.16", "--method", "pca", "--fit", "squash"),
        ("unit", "shapes", "features.6", "3", "--images", "photos", "-k", "2", "--fit", "squash", "--dtype", "float64"),
    ],
    ids=lambda one: one[0],
)
def test_the_line_makes_the_picture_again(
    arguments: tuple[str, ...], capsys: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vizkit.reports.unit.build.STEPS", 4)
    monkeypatch.setattr("vizkit.reports.unit.build.Fourier", partial(Fourier, 64))
    folder_of(6)
    Image.fromarray(shapes.sample(1, seed=5).images[0]).save("my photo.png")
    out = ["--out", "made.png"] if arguments[0] in DRAWS else ["--out", "made"]
    code, _, err = call(capsys, *arguments, *out)
    assert code == 0, err
    made = here / out[1]
    line = made_by(made if made.is_file() else made / "index.html")
    assert shlex.split(line)[0] == "vizkit"
    again = here / ("again.png" if made.is_file() else "again")
    code, _, err = call(capsys, *shlex.split(line)[1:], "--out", again.name)
    assert code == 0, err
    first = [made] if made.is_file() else sorted(made.glob("*.png"))
    second = [again] if again.is_file() else sorted(again.glob("*.png"))
    assert first
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(a)), np.asarray(Image.open(b)))
