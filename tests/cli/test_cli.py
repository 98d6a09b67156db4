"""The command line as a user runs it: mostly within this process, for speed."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, call
from PIL import Image

import vizkit
from vizkit import images, results
from vizkit.cli import dreams, pictures

FAST = ("--model", "squeezenet1_1", "--weights", "random:7")
SMALL = ("--model", "shapes", "--weights", "random:7")


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Code in a process of its own, which nobody told how many threads to use."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@both()
def test_one_figure_of_both_backends(capsys: Any, here: Path) -> None:
    code, out, err = call(capsys, "saliency", *FAST, "-b", "torch", "-b", "gluon", "--out", "both.png")
    assert code == 0, err
    assert "gluon against torch, values: relative L2" in out
    made = results.read_provenance(here / "both.png")
    assert [one["backend"] for one in made["results"]] == ["torch", "gluon"]
    assert Image.open(here / "both.png").size[0] > 800


@both()
def test_dreams_are_compared_by_activation(capsys: Any) -> None:
    """The pixels of a chaotic loop part from the first rounding on; the activation does not."""
    sizes = ("--layer", "features.4", "--recipe", "published", "--stages", "2", "--steps", "3")
    code, out, _ = call(capsys, "dream", *SMALL, *sizes, "-b", "torch", "-b", "gluon", "-o", "dream.png")
    assert code == 0
    share = float(out.split("activation of each stage: relative L2 ")[1].split(",")[0])
    assert share < 1e-4


@pytest.mark.parametrize(
    ("arguments", "file", "says"),
    [
        (("saliency", *FAST, "--target", "tabby"), "saliency-squeezenet1_1.png", "cat.jpg: tabby"),
        (("saliency", *SMALL, "--mode", "published", "--seed", "3", "-o", "p.pdf"), "p.pdf", "all logits"),
        (("saliency", *SMALL, "--out", "raw.npz"), "raw.npz", "wrote raw.npz"),
        (("gradcam", *SMALL, "--target", "ring"), "gradcam-shapes.png", "cat.jpg: ring, at features"),
        (("gradcam", *SMALL, "--on", "original"), "gradcam-shapes.png", "wrote gradcam-shapes.png"),
        (("filters", *FAST, "--layer", "features.3.squeeze", "--limit", "4"), "filters-squeezenet1_1.png", "wrote"),
        (("features", *SMALL, "--layer", "features.4", "--scale", "common"), "features-shapes.png", "wrote"),
        (("features", *SMALL, "--noise", "-o", "noise.png"), "noise.png", "wrote"),
        (("explain", *SMALL, "--method", "gradcam", "-t", "ring", "-t", "3", "-o", "e.png"), "e.png", "wrote e.png"),
        (("explain", *SMALL, "--method", "eigencam", "--bare", "--scale", "common", "-o", "e.npz"), "e.npz", "wrote"),
        (
            ("evaluate", "--samples", "3", "--method", "gradcam", "--metric", "relevance_mass", "-o", "table.csv"),
            "table.csv",
            "random_map",
        ),
        (("features", *SMALL, "--statistics", "-o", "s.svg"), "s.svg", "features.12"),
        (
            ("statistics", "shapes", "-w", "random:7", "--samples", "3", "-l", "features.2"),
            "statistics-shapes.png",
            "3 pictures read",
        ),
        (
            ("dream", *SMALL, "-l", "features.4", "-u", "3", "-u", "5", "--steps", "2"),
            "dream-shapes.png",
            "features.4 unit 5: ",
        ),
        (
            ("dream", *SMALL, "-l", "features.4", "-u", "5", "--recipe", "published", "--stages", "2", "--steps", "2"),
            "dream-shapes.png",
            "unit 5: activation",
        ),
    ],
)
def test_commands_write_what_they_say(
    capsys: Any, here: Path, arguments: tuple[str, ...], file: str, says: str
) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    assert says in out
    assert [path.name for path in here.iterdir()] == [file]
    if file.endswith(".png") and "explain" not in arguments:
        assert results.read_provenance(here / file)["weights"]["source"] == "random:7"


def test_values_equal_pythons(capsys: Any, here: Path) -> None:
    """The command line and the API give the same numbers from the same names and defaults."""
    model = vizkit.load("shapes", backend=INSTALLED[0], weights="random:7")
    second = model.predict(images.sample())[1].label
    call(capsys, "saliency", *SMALL, "--target", second, "--out", "map.npz", "--backend", INSTALLED[0])
    expected = vizkit.saliency(model, images.sample(), target=second).values
    with np.load(here / "map.npz") as arrays:
        np.testing.assert_allclose(arrays["values"], expected, rtol=1e-4, atol=1e-7)


def test_numbers_as_the_homework_prints_them(capsys: Any) -> None:
    code, out, _ = call(capsys, "filters", *FAST, "--text", "--backend", INSTALLED[0])
    model = vizkit.load("squeezenet1_1", backend=INSTALLED[0], weights="random:7")
    assert code == 0
    assert model.architecture() in out
    assert out.count(".weight[0]") == len(model.filter_layers()) == 26


def test_lists(capsys: Any) -> None:
    code, out, _ = call(capsys, "models")
    assert code == 0
    assert all(f"{backend}: vgg16 vgg19 resnet18" in out for backend in INSTALLED)
    code, out, _ = call(capsys, "backends")
    assert code == 0
    assert all(f"{backend}: " in out for backend in INSTALLED)
    code, out, _ = call(capsys, "layers", "squeezenet1_1")
    assert code == 0
    assert "features.3.expand1x1" in out
    assert "1 x 64 x 55 x 55" in out
    code, out, _ = call(capsys, "predict", *FAST, "--top", "2")
    assert code == 0
    assert len(out.splitlines()) == 3


def test_a_backend_without_networks_of_its_own_says_so(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vizkit.zoo.loading.models", lambda backend: [])
    code, out, _ = call(capsys, "models", "--backend", INSTALLED[0])
    assert (code, out) == (0, f"{INSTALLED[0]}: no networks of its own; wrap yours\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("saliency", "none.png", *FAST), "There is no image 'none.png'"),
        (("saliency", "--model", "vgg91", "--weights", "random:7"), "Did you mean 'vgg19'"),
        (("saliency", *FAST, "--target", "tabbi"), "Did you mean 'tabby'"),
        (("saliency", *FAST, "--backend", "jax"), "Unknown backend 'jax'"),
        (("saliency", *FAST, "--out", "map.bmp"), "must end in .png, .pdf, .svg, .npz"),
        (("gradcam", *FAST, "--on", "photo"), "Unknown on 'photo'. Known: network, original"),
        (("gradcam", *FAST, "--on", "original", "--out", "map.pdf"), "ends in .png"),
        (("saliency", *FAST, "--out", "nowhere/map.png"), "the folder 'nowhere' does not exist"),
        (("saliency", *FAST, "--device", "cuda:9"), "device='cuda:9'"),
        (("filters", *SMALL, "--layer", "features.33"), "Unknown layer of shapes 'features.33'"),
        (("features", str(images.sample()), "--noise", *FAST), "exclude each other"),
        (("dream", *SMALL, "--unit", "99999"), "there is no 99999"),
        (("explain", *FAST, "--method", "gradcm"), "Did you mean 'gradcam'"),
        (("explain", *FAST, "--save-npz", "values.txt"), "must end in .npz"),
        (("evaluate", ".", *FAST), "holds no image"),
        (("evaluate", "--metric", "beauty", "--samples", "2"), "beauty"),
        (("dream", *SMALL, "--recipe", "published", "--stages", "0"), "stages=0"),
        (("dream", *FAST, "--stages", "3"), "--stages belongs to --recipe published"),
        (("dream", *FAST, "--recipe", "published", "--every", "3"), "--every belongs to --recipe fourier"),
        (("dream", *FAST, "--recipe", "published", "-b", "torch", "-b", "gluon", "-o", "x.gif"), "of one backend"),
        (("unit", "shapes", "features.6", "3", "-o", "x.png"), "is a folder"),
        (("unit", "shapes", "features.6", "-o", "x"), "are one figure"),
        (("features", *FAST, "--statistics", "-o", "x"), "one figure of all photos"),
        (("gradcam", *FAST, "--on", "network", "-o", "x"), "ends in .png"),
        (("dream", *FAST, "-b", "torch", "-b", "gluon", "-o", "x.gif"), "of one backend"),
        (("saliency", "--model", "squeezenet1_1", "--weights", "no.safetensors"), "no.safetensors"),
    ],
)
def test_a_mistake_is_one_message_and_code_two(
    capsys: Any, here: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert err.startswith("vizkit: ")
    assert message in err
    assert "Traceback" not in err
    assert not list(here.iterdir())


def test_usage_mistakes_exit_with_two() -> None:
    """Of a process of its own, too."""
    done = run("from vizkit.cli import main; main()", "saliency", "--colour", "red")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.quick
def test_options_are_the_apis_names_and_defaults() -> None:
    """A default that differs between the two would be a trap."""
    for name, command in (("saliency", pictures.saliency), ("filters", pictures.filters), ("dream", dreams.dream)):
        api = inspect.signature(getattr(vizkit, name)).parameters
        options = inspect.signature(command).parameters
        for key in set(api) - {"model", "image", "on_stage", "batch_size"}:
            assert key in options, f"vizkit {name} has no --{key}"
            if options[key].default is None and name == "dream":
                continue  # of two recipes, each with a default of its own
            assert options[key].default == api[key].default, f"--{key} of vizkit {name}"


def test_threads() -> None:
    """A process of its own, in which every framework starts with the threads that the command was told."""
    command = ["predict", *SMALL, "--threads", "1", *(part for name in INSTALLED for part in ("-b", name))]
    code = f"from vizkit import backend, cli\ntry:\n    cli.main({command})\nexcept SystemExit as end:\n"
    code += f"    print(end.code or 0, [backend.get(name).threads() for name in {INSTALLED}])"
    done = run(code)
    assert done.stdout.splitlines()[-1:] == [f"0 {[1] * len(INSTALLED)}"], done.stderr
