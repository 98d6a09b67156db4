"""FILE.py:NAME: networks of a user's own file on the command line."""

from __future__ import annotations

import pickle
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import both, call
from kits import TRAPS, TRAPS_SIZE, toy

import vizkit
from vizkit import docs, images, results
from vizkit.errors import SettingError, UnknownNameError
from vizkit.explore.views import _loaded
from vizkit.zoo import own

SPEC: dict[str, Any] = {"input_size": TRAPS_SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3, "labels": list("abcde")}
TRAP = f"""
from pathlib import Path

import kits
import vizkit

with Path("log").open("a") as log:
    log.write("file ")


def build(backend):
    with Path("log").open("a") as log:
        log.write(backend + " ")
    return vizkit.wrap(kits.kit(backend).sequential(kits.TRAPS), **{SPEC!r})
"""
TOY = """
from functools import partial

import vizkit
from beside import network


class Net:
    def __call__(self):
        raise AssertionError("a network was called")


net = Net()
ready = network()


def build():
    return network()


def flexible(weights: str = "none", device="cpu", *, backend="numpy"):
    model = network()
    model.name = f"{weights} {device} {backend}"
    return model


def again(name):
    return network()


def bare():
    return net


def nothing():
    build()


def broken():
    return deeper()


def deeper():
    return missing


def refused():
    return vizkit.wrap(build().native, input_size=0, mean=(0.5,) * 3, std=(0.5,) * 3)


made = partial(flexible, "mine")
_hidden = build
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A file of the toy backend's network, and one beside it."""
    (here / "beside.py").write_text("from kits.toy import network\n")
    (here / "toys.py").write_text(TOY)
    with toy.installed(tmp_path_factory.mktemp("site")):
        yield "toys.py"
    sys.modules.pop("beside", None)


def test_the_values_are_those_of_python_and_the_line_makes_them_again(
    kit: Any, name: str, here: Path, capsys: Any
) -> None:
    (here / "trap.py").write_text(TRAP)
    line = ["saliency", "-m", "trap.py:build", "-b", name, "--target", "c"]
    assert call(capsys, *line, "-o", "a.npz")[0] == 0
    model = vizkit.wrap(kit.sequential(TRAPS), **SPEC)
    with np.load("a.npz") as found:
        np.testing.assert_array_equal(found["values"], vizkit.saliency(model, images.sample(), target="c").values)
    made = results.read_provenance("a.npz")
    assert made["model"] == model.name
    assert made["model_file"] == {"name": "trap.py:build", "sha256": own.hashlib.sha256(TRAP.encode()).hexdigest()}
    assert made["weights"]["sha256"] == model.sha256()
    assert shlex.split(made["command"]) == ["vizkit", *line]
    assert call(capsys, *shlex.split(made["command"])[1:], "-o", "b.npz")[0] == 0
    assert Path("b.npz").read_bytes() == Path("a.npz").read_bytes()
    assert call(capsys, *line[:2], str(here / "trap.py"), *line[3:], "-o", "whole.npz")[0] == 0
    assert str(here) not in str(results.read_provenance("whole.npz"))
    assert call(capsys, *line)[0] == 0
    assert Path("saliency-trap.png").exists()


@both()
def test_the_file_runs_once_for_both_backends(here: Path, capsys: Any) -> None:
    (here / "trap.py").write_text(f"{TRAP}\n# for both\n")
    code, out, err = call(capsys, "gradcam", "-m", "trap.py", "-b", "torch", "-b", "gluon", "-o", "both.png")
    assert code == 0, err
    assert float(out.split("relative L2 ")[1].split(",")[0]) < 1e-5
    assert (here / "log").read_text() == "file torch gluon "
    made = results.read_provenance("both.png")["results"]
    assert [one["model_file"]["name"] for one in made] == ["trap.py:build"] * 2


@both()
def test_the_file_that_the_docs_show(here: Path, capsys: Any) -> None:
    page = (docs.HERE / "pages" / "guide" / "own.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"This is a whole `lenet.py`:\n\n```python\n(.*?)```", page, re.DOTALL)
    (here / "lenet.py").write_text(code)
    code, out, err = call(capsys, "gradcam", "-m", "lenet.py", "-b", "torch", "-b", "gluon")
    assert code == 0, err
    assert "torch: cat.jpg: " in out
    assert "gluon: cat.jpg: " in out
    assert call(capsys, "layers", "lenet.py:build", "-b", "gluon")[0] == 0
    assert (here / "gradcam-lenet.png").exists()


def test_commands_that_take_the_network_as_an_argument(kit: Any, name: str, here: Path, capsys: Any) -> None:
    (here / "trap.py").write_text(TRAP)
    model = vizkit.wrap(kit.sequential(TRAPS), **SPEC)
    code, out, _ = call(capsys, "layers", "trap.py:build", "-b", name)
    assert code == 0
    assert all(f"\n{layer} " in out for layer in model.layers)
    assert call(capsys, "diagram", "trap.py", "-b", name)[0] == 0
    assert call(capsys, "health", str(here / "trap.py"), "-b", name, "--samples", "3")[0] == 0
    assert {"diagram-trap.svg", "health-trap.png"} <= {one.name for one in here.iterdir()}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        (
            ":nobody",
            (),
            "'toys.py' has no 'nobody'. It has build, flexible, again, bare, nothing, broken, deeper, refused",
        ),
        (":nobody", (), ", refused, ready.\n"),
        (":Net", (), "gives the class Net, no vizkit Model. Wrap it, vizkit.wrap(net, input_size="),
        (":net", (), "toys.py:net gives a Net, no vizkit Model. Wrap it"),
        (":bare", (), "toys.py:bare gives a Net, no vizkit Model. Wrap it"),
        (":nothing", (), "toys.py:nothing gives a NoneType, no vizkit Model"),
        (":broken", (), 'toys.py", line 44, in deeper\n    return missing\n'),
        (":broken", (), "\nNameError: name 'missing' is not defined\n"),
        (":refused", (), "\nSettingError: input_size=0"),
        (":again", (), "\nTypeError: again() missing 1 required positional argument: 'name'\n"),
        ("", ("-w", "random:1"), "--weights random:1: toys.py:build has weights of its own (as given)"),
        ("", ("--device", "cuda"), "--device cuda: toys.py:build has device of its own (cpu)"),
        ("", ("-b", "numpy", "--dtype", "float32"), "has dtype of its own (float64). Leave the option out"),
    ],
)
def test_what_is_wrong_is_told(file: str, capsys: Any, name: str, more: tuple[str, ...], message: str) -> None:
    code, out, err = call(capsys, "predict", "-m", f"{file}{name}", *more)
    assert code == 2, out
    assert err.startswith("vizkit: ")
    assert message in err
    assert "Traceback" not in err
    assert "own.py" not in err, "a line of vizkit's own"


def test_another_backend_than_the_networks_is_refused(kit: Any, name: str, file: str, capsys: Any) -> None:
    for of in ("build", "ready", "flexible"):
        code, _, err = call(capsys, "predict", "-m", f"{file}:{of}", "-b", name)
        assert code == 2
        assert f"--backend {name}: toys.py:{of} has backend of its own (numpy)" in err


@pytest.mark.quick
def test_what_a_function_takes_it_is_given_where_it_was_asked_for(file: str) -> None:
    (model,) = own.Own(file, "flexible").load([None], {})
    assert model.name == "none cpu numpy"
    asked = {"weights": "random:3", "device": "cuda"}
    (model,) = own.Own(file, "flexible").load(["numpy"], asked)
    assert model.name == "random:3 cuda numpy"
    assert model.recipe is not None
    assert model.recipe.device == "cuda"  # type: ignore[attr-defined]
    assert model.recipe("cuda:1").name == "random:3 cuda:1 numpy"
    (model,) = own.Own(file, "made").load([None], {})
    assert model.name == "mine cpu numpy"
    ready = own.Own(file, "ready")
    assert ready.load([None], {})[0] is ready.load(["numpy"], {})[0]


@pytest.mark.quick
def test_what_the_file_imports_lies_beside_it_while_it_loads(file: str, here: Path, monkeypatch: Any) -> None:
    before = list(sys.path)
    monkeypatch.chdir(here.parent)
    (model,) = own.Own(str(here / file), "").load([None], {})
    assert sys.path == before
    assert model.file_sha256 == own.hashlib.sha256(TOY.encode()).hexdigest()
    assert "toys" not in sys.modules
    assert sys.modules["vizkit_file_toys"].flexible.__annotations__ == {"weights": str}, "as Python alone runs the file"
    net = sys.modules["vizkit_file_toys"].net
    assert type(pickle.loads(pickle.dumps(net))) is type(net)
    (here / file).write_text("import nowhere_at_all")
    with pytest.raises(SettingError, match=r'toys.py", line 1, in <module>\n(.*\n)+ModuleNotFoundError: '):
        own.Own(str(here / file), "").load([None], {})
    assert sys.path == before
    assert "vizkit_file_toys" not in sys.modules


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(:\n    pass\n", 'odd.py", line 1\n    def build(:\n'),
        ("import sys\n\nsys.exit(3)\n", 'odd.py", line 3, in <module>\n    sys.exit(3)\nSystemExit: 3'),
        (
            "x = 1\n",
            "'odd.py' has no 'build', which is taken where no name is given. Say what to take: odd.py:NAME. It",
        ),
        ("x = 1\n", "It has no function of its own, and no Model.\n"),
        ("def lenet():\n    pass\n", "odd.py:NAME. It has lenet.\n"),
    ],
)
def test_a_file_that_gives_nothing(here: Path, capsys: Any, text: str, message: str) -> None:
    (here / "odd.py").write_text(text)
    code, _, err = call(capsys, "layers", "odd.py")
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert "own.py" not in err


@pytest.mark.quick
def test_nothing_runs_but_a_file_that_was_named(here: Path, capsys: Any) -> None:
    for plain in ("lenet", "lenet:build", "lenet.pyc:build", "lenet.py.txt"):
        (here / plain).write_text("raise AssertionError('it ran')")
        assert own.of(plain) is None
        code, _, err = call(capsys, "layers", plain)
        assert code == 2
        assert err.startswith(f"vizkit: Unknown model '{plain}'.")
        assert err.endswith("A network of your own: FILE.py:NAME.\n")
    for line in (["layers", "no.py:build"], ["gradcam", "-m", "no.py"], ["unit", "no.py:x", "0"]):
        code, _, err = call(capsys, *line)
        assert code == 2
        assert err.startswith("vizkit: There is no file 'no.py'")
    (here / "yes.py").write_text("raise AssertionError('it ran')")
    for line in (
        ["demo", "-m", "yes.py"],
        ["compare", "-m", "shapes", "-m", "yes.py"],
        ["convert", "yes.py", "x", "-o", "y.pth"],
    ):
        code, _, err = call(capsys, *line)
        assert code == 2
        assert f"yes.py: {line[0]} takes names from `vizkit models` alone." in err


def test_workers_run_the_file_themselves(file: str, here: Path, capsys: Any) -> None:
    for out, more in (("alone.npz", ()), ("two.npz", ("--workers", "2"))):
        code, _, err = call(capsys, "statistics", file, "--samples", "6", "--batch-size", "2", *more, "-o", out)
        assert code == 0, err
    assert Path("alone.npz").read_bytes() == Path("two.npz").read_bytes()
    (model,) = own.Own(file, "").load([None], {})
    recipe = pickle.loads(pickle.dumps(model.recipe))
    assert recipe(None).sha256() == model.sha256()
    Path(file).write_text(f"{TOY}\n# another\n")
    with pytest.raises(SettingError, match="was changed since the work began"):
        recipe(None)


def test_messages_name_what_lists_the_layers(kit: Any, name: str, here: Path) -> None:
    (here / "my traps.py").write_text(TRAP)
    wrapped = vizkit.wrap(kit.sequential(TRAPS), **SPEC)
    (of_file,) = own.Own("my traps.py", "").load([name], {})
    loaded = vizkit.load("shapes", backend=name)
    count = len(wrapped.layers)
    for model, lists in (
        (wrapped, rf"`list\(model.layers\)` lists all {count}\."),
        (vizkit.edited(wrapped, [(next(iter(wrapped.layers)), 0, None)]), r"`list\(model.layers\)` lists"),
        (of_file, rf"`vizkit layers 'my traps.py:build'` lists all {count}\."),
        (loaded, f"`vizkit layers shapes` lists all {len(loaded.layers)}"),
    ):
        with pytest.raises(UnknownNameError, match=lists):
            vizkit.feature_maps(model, images.sample(), "nowhere")
    assert _loaded("model", wrapped)[0].endswith("as you gave it to vizkit.wrap")
    assert _loaded("model", of_file)[0].endswith("as my traps.py:build gives it")
