"""A study's options: from the command line, from a TOML file, and from both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import INSTALLED
from PIL import Image

import vizkit
from vizkit import cli, errors
from vizkit.reports.compare import plan, study

TOML = """
model = ["vgg19", "resnet152"]
backend = "{backend}"
weights = ["random:7", "vgg19=own/vgg.pth"]
technique = ["integrated_gradients", "feature_maps"]
image = ["a.png", "b/a.png"]
layers = "all"
tolerance = 1
[settings.integrated_gradients]
steps = 20
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study file, its images beside it."""
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/a.png"):
        Image.fromarray(vizkit.images.noise(0, 255, size=32)).save(tmp_path / name)
    path = tmp_path / "study.toml"
    path.write_text(TOML.format(backend=INSTALLED[0]), encoding="utf-8")
    return path


@pytest.mark.quick
def test_a_file_and_what_replaces_it(file: Path) -> None:
    found = plan.make(file, {"technique": ["gradcam"], "seed": 3, "layers": None})
    assert found.model == ("vgg19", "resnet152")
    assert found.backend == (INSTALLED[0],)
    assert found.technique == ("gradcam",)
    assert found.layers == "all"
    assert found.settings == {"integrated_gradients": {"steps": 20}}
    assert found.image == (file.parent / "a.png", file.parent / "b/a.png")
    assert found.names == ["a.png (1)", "a.png (2)"]
    own = str(file.parent / "own/vgg.pth")
    assert found.networks == [("vgg19", "random:7"), ("vgg19", own), ("resnet152", "random:7")]
    assert (found.seed, found.tolerance, found.repeats, found.judge) == (3, 1, 5, True)


@pytest.mark.quick
def test_what_is_written_reads_back(file: Path) -> None:
    found = plan.make(file, {})
    (file.parent / "vgg.pth").write_bytes(b"")
    file.write_text(plan.text(found), encoding="utf-8")
    assert file.read_text(encoding="utf-8").startswith(plan.MARK)
    assert str(file.parent) not in file.read_text(encoding="utf-8")
    again = plan.make(file, {})
    for name in ("model", "backend", "technique", "layers", "settings", "tolerance", "threads", "repeats", "judge"):
        assert getattr(again, name) == getattr(found, name), name
    assert again.weights == ("random:7", f"vgg19={file.parent / 'vgg.pth'}")


@pytest.mark.quick
def test_defaults() -> None:
    found = plan.make(None, {"model": "shapes"})
    assert found.backend == tuple(sorted(INSTALLED, reverse=True))
    assert found.technique == ("saliency", "feature_maps")
    assert found.weights == ("imagenet",)
    assert found.image == (vizkit.images.sample(),)
    assert (found.layers, found.tolerance) == ("blocks", 1e-5)
    every = set(plan.make(None, {"model": "shapes", "technique": "all"}).technique)
    assert set(plan.techniques()) - every == {
        *("attention", "attention_rollout", "attention_relevance"),
        *("feature_permutation", "is_cam", "ss_cam"),
    }


@pytest.mark.quick
def test_the_command_repeats_the_study(file: Path) -> None:
    found = plan.make(
        None, {"model": ["vgg19", "net"], "weights": "random:7", "layers": ["conv1", "relu"], "threads": 2}
    )
    shown = study.command(found)
    assert shown.startswith("vizkit compare cat.jpg --model vgg19 --model net --backend ")
    assert "--weights random:7 --layers conv1 --layers relu --repeats 5 --threads 2 --tolerance 1e-05" in shown
    assert study.command(plan.make(file, {"judge": False})).endswith("--no-judge")
    assert "--study study.toml" in study.command(plan.make(file, {}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs a model"),
        ({"model": "vgg19", "technique": "saliensy"}, "Did you mean 'saliency'"),
        ({"model": "vgg19", "backend": "jax"}, "Unknown backend 'jax'"),
        ({"model": "vgg19", "image": "none.png"}, "There is no image 'none.png'"),
        ({"model": "vgg19", "image": [3]}, "compares image files; got a int"),
        ({"model": "vgg19", "weights": "random:x"}, "random:SEED"),
        ({"model": "vgg19", "weights": "none.pth"}, "'none.pth' cannot be read"),
        ({"model": "vgg19", "repeats": 0}, "repeats=0"),
        ({"model": "vgg19", "threads": 0}, "threads=0"),
        ({"model": "vgg19", "tolerance": -1.0}, "tolerance=-1.0"),
        ({"model": "vgg19", "fit": "stretch"}, "fit='stretch'"),
        ({"model": "vgg19", "settings": {"saliency": {"stepz": 3}}}, "Unknown setting of saliency 'stepz'"),
        ({"model": "vgg19", "settings": {"salience": {}}}, "Did you mean 'saliency'"),
    ],
)
def test_a_study_that_cannot_run_says_so_first(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.VizkitError) as raised:
        vizkit.compare(given.pop("image", None), **given, out=tmp_path / "report")
    assert message in str(raised.value)
    assert not (tmp_path / "report").exists()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modell = "vgg19"', "Did you mean 'model'"),
        ('model = "vgg19', "cannot be read"),
        ('model = "vgg19"\nrepeats = "many"', "repeats = 'many'"),
        ('model = "vgg19"\njudge = "no"', "judge = 'no'"),
        ("model = 1.5", "model = 1.5"),
    ],
)
def test_a_study_file_with_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(errors.VizkitError) as raised:
        plan.make(path, {})
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.quick
def test_a_mistake_is_one_message_and_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", "--model", "vgg19", "--technique", "saliensy"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("vizkit: Unknown technique 'saliensy'")
