"""The package as a whole: what it imports, what it leaves behind, what it says when something is missing."""

from __future__ import annotations

import doctest
import gc
import importlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit.backend import get
from vizkit.zoo.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[1]
STATUS, CALLS = Path("/proc/self/status"), 150


def python(code: str) -> list[Any]:
    """What a fresh process says in JSON, a line each, that nobody told how many threads to use."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line.removeprefix("told ")) for line in done.stdout.splitlines() if line.startswith("told ")]


START = """
import json, os, sys
before = set(sys.modules)
import numpy as np
alias = "bool" in vars(np)

def tell(*what):
    print("told", json.dumps(what))

def imported():
    return sorted({name.split(".")[0] for name in sys.modules} & %s)

def command(*words):
    from vizkit.cli import main
    try:
        main(words)
    except SystemExit as end:
        tell(end.code or 0, imported())

def threads(first, second):
    from vizkit import backend
    first = backend.get(first)
    known = first.threads()
    second = backend.get(second)
    tell(known, first.threads(), second.threads(), backend.cpu_count())
"""
HEAVY = {"torch", "torchvision", "mxnet", "skimage", "matplotlib"}


@pytest.fixture(scope="module")
def torch_first(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """One process tells what importing vizkit imports, then commands, from those that need nothing to those that need
    most; at last, where it is installed, MXNet starts beside PyTorch."""
    if "torch" not in INSTALLED:
        pytest.skip("torch is not installed")
    folder = tmp_path_factory.mktemp("torch")
    code = START % HEAVY + "import vizkit; tell(*set(sys.modules) - before)\n"
    code += "import vizkit.cli, vizkit_torch, vizkit_gluon; vizkit.backend.registered(); tell(*imported())\n"
    code += "command('models'); command('backends'); command('predict', '-m', 'shapes', '-b', 'torch')\n"
    code += "vizkit.load('squeezenet1_1', backend='torch', weights='random:0')\n"
    code += "tell('torch._dynamo' in sys.modules, *imported())\n"
    for technique in ("saliency", "gradcam"):
        code += f"command({technique!r}, '-m', 'shapes', '-b', 'torch', '-o', {str(folder / 'x.png')!r})\n"
    return python(code + "threads('torch', 'gluon')\n" * ("gluon" in INSTALLED))


@pytest.fixture(scope="module")
def gluon_first(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The same of a picture by MXNet, how NumPy and the environment are left, and PyTorch that starts beside it."""
    if "gluon" not in INSTALLED:
        pytest.skip("gluon is not installed")
    out = str(tmp_path_factory.mktemp("gluon") / "x.png")
    code = START % HEAVY + f"command('saliency', '-m', 'shapes', '-b', 'gluon', '-o', {out!r})\n"
    code += "tell(alias == ('bool' in vars(np)), os.environ.get('OMP_NUM_THREADS'))\n"
    code += "threads('gluon', 'torch')\n" * ("torch" in INSTALLED)
    code += "from mxnet import test_utils\nfrom mxnet.contrib import quantization\nhalves = [0.5, 0.5]\n"
    code += "import mxnet\nfrom scipy import sparse\nimported = 'scipy.stats' in sys.modules\n"
    code += "dense = mxnet.nd.array(sparse.csr_matrix([[0, 2.0]])).asnumpy().tolist()\n"
    code += "tell(imported, dense, quantization.stats.entropy(halves), test_utils.ss.entropy(halves))\n"
    return python(code)


def test_importing_vizkit_imports_little(torch_first: list[Any]) -> None:
    """It takes a third of a second, of which Matplotlib would be half: only who draws waits for it."""
    new = torch_first[0]
    others = {name.split(".")[0] for name in new} - set(sys.stdlib_module_names)
    own = {"vizkit", "vizkit_torch", "vizkit_gluon", "numpy", "PIL", "safetensors", "cython_runtime"}
    assert {one for one in others if not one.startswith("_")} <= own
    assert 100 < len(new) < 600


def test_importing_vizkit_imports_no_framework(torch_first: list[Any]) -> None:
    """Nor do the command line and the backends' packages."""
    assert torch_first[1] == []


def test_a_command_imports_what_it_needs(torch_first: list[Any], gluon_first: list[Any]) -> None:
    """Torchvision takes as long as PyTorch, and MXNet too: who asks for none of them does not wait for them."""
    lists, predict, drawn = [0, []], [0, ["torch"]], [0, ["matplotlib", "torch", "torchvision"]]
    assert torch_first[2:5] == [lists, lists, predict]
    assert torch_first[6:8] == [drawn, drawn]
    assert gluon_first[0] == [0, ["matplotlib", "mxnet"]]


def test_a_network_of_torchvision_needs_no_compiler(torch_first: list[Any]) -> None:
    """PyTorch's compiler takes as long as PyTorch; neither torchvision nor a network without values waits for it."""
    assert torch_first[5] == [False, "torch", "torchvision"]


@pytest.mark.skipif("torch" not in INSTALLED, reason="torch is not installed")
@pytest.mark.parametrize("wanted", ["is_compile_supported", "counters"])
def test_a_compiler_that_was_left_out_answers_when_asked(
    wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torchvision asks it is handed on later; who wants more of it at once gets it itself."""
    from vizkit_torch import start

    package = tmp_path / "compiling"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "utils.py").write_text("def is_compile_supported(device): return device == 'cpu'\ncounters = [3]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(start, "COMPILER", "compiling.utils")
    try:
        with start.without_compiler():
            found = getattr(importlib.import_module("compiling.utils"), wanted)
            assert ("compiling" in sys.modules) == (wanted == "counters")
        assert ("compiling.utils" in sys.modules) == (wanted == "counters")
        if wanted == "counters":
            assert found is importlib.import_module("compiling.utils").counters
        else:
            assert (found("cpu"), found("another")) == (True, False)
            assert found("cpu") == importlib.import_module("compiling.utils").is_compile_supported("cpu")
    finally:
        for name in ("compiling.utils", "compiling"):
            sys.modules.pop(name, None)


def test_mxnet_gets_scipy_once_it_asks(gluon_first: list[Any]) -> None:
    """Its statistics, which take as long to import as all of MXNet; its sparse arrays are known from the start."""
    imported, dense, *entropies = gluon_first[-1]
    assert not imported
    assert dense == [[0.0, 2.0]]
    assert entropies == pytest.approx([np.log(2)] * 2)


def test_numpy_is_left_as_it_was(gluon_first: list[Any]) -> None:
    """And the environment, though MXNet is given its threads by it."""
    assert gluon_first[1] == [True, None]


@pytest.mark.skipif(len(INSTALLED) < 2, reason="needs two frameworks in one process")
@pytest.mark.parametrize("order", ["torch_first", "gluon_first"])
def test_starting_one_framework_leaves_the_others_threads(order: str, request: pytest.FixtureRequest) -> None:
    before, after, second, cpus = next(told for told in request.getfixturevalue(order) if len(told) == 4)
    assert before == after
    assert second in (cpus, before)


@pytest.mark.parametrize("first", ["vizkit", "vizkit_gluon"])
def test_who_has_imported_vizkit_can_import_mxnet(first: str, tmp_path: Path) -> None:
    """Itself, under a NumPy that lacks what MXNet reads as it is imported; NumPy is as before afterwards. A module of
    this name reads it here: the framework itself is imported by the same way above."""
    (tmp_path / "mxnet.py").write_text("import numpy\nread = numpy.bool\n", encoding="utf-8")
    code = START % HEAVY + f"import {first}\nsys.path.insert(0, {str(tmp_path)!r})\n"
    code += "vars(np).pop('bool', None); import mxnet; tell(mxnet.read is np.bool_, 'bool' in vars(np))"
    assert python(code) == [[True, False]]


@pytest.mark.quick
def test_names_read_from_files_are_those_of_the_frameworks() -> None:
    """Lists and versions come from the frameworks' own files, so that nobody waits for an import."""
    for name in {"torch", "gluon"} & set(INSTALLED):
        backend = get(name)
        if name == "torch":
            import torch
            import torchvision

            named = torchvision.models.list_models(module=torchvision.models)
            assert backend.versions() == {"torch": torch.__version__, "torchvision": torchvision.__version__}
        else:
            import mxnet
            from mxnet.gluon.model_zoo import vision

            with pytest.raises(ValueError, match="resnet18_v1") as said:
                vision.get_model("")
            named = [line.strip() for line in str(said.value).splitlines()[1:] if line.strip()]
            assert mxnet.__version__ == backend.versions()["mxnet"]
        canonical = {entry.gluon_name for entry in CATALOG.values()} | set(CATALOG)
        assert set(named) - canonical == set(backend.models()) - set(CATALOG)


@pytest.mark.quick
def test_vizkit_knows_no_framework() -> None:
    for path in (ROOT / "vizkit").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                root = words[1].split(".")[0]
                assert root not in ("torch", "torchvision", "mxnet", "vizkit_torch", "vizkit_gluon"), f"{path}: {line}"


@pytest.mark.quick
def test_no_technique_asks_which_backend_it_runs_on() -> None:
    for path in (ROOT / "vizkit" / "techniques").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ".backend ==" not in text
        assert '"gluon"' not in text
        assert '"torch"' not in text


def own_memory() -> int:
    """Of this process in bytes, without the pages of files, which the system takes and brings back."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
    return 1024 * int(lines["RssAnon"].split()[0])


@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_many_calls_do_not_grow_memory(kit: Any) -> None:
    """By less than 20 kB each; measured under 1 kB."""
    model = vizkit.wrap(kit.sequential(TRAPS, dtype="float32"), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    picture = np.random.default_rng(0).integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    for _ in range(50):
        vizkit.saliency(model, picture)
    gc.collect()
    before = own_memory()
    for _ in range(CALLS):
        vizkit.saliency(model, picture)
    gc.collect()
    assert own_memory() - before < CALLS * 20e3


@pytest.mark.quick
def test_public_names_have_docstrings_with_examples() -> None:
    for name in vizkit.__all__:
        thing = getattr(vizkit, name)
        assert thing.__doc__, f"{name} has no docstring"
        if callable(thing) and getattr(thing, "__module__", "").startswith("vizkit.techniques"):
            shown = ">>>" in thing.__doc__ or "as :func:`" in thing.__doc__
            assert shown, f"{name}: its docstring shows no example, and names no function whose example does for it"


def test_docstring_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most load the same network, which is loaded once here."""
    monkeypatch.setattr(vizkit, "load", cache(vizkit.load))
    modules = {
        getattr(vizkit, name).__module__ for name in vizkit.__all__ if hasattr(getattr(vizkit, name), "__module__")
    }
    tried = 0
    for module in sorted(modules | {"vizkit.images", "vizkit.zoo.names"}):
        outcome = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
        assert outcome.failed == 0, module
        tried += outcome.attempted
    assert tried > 10
