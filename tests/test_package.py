"""The package as a whole: what it imports, what it leaves behind, what it says when something is missing."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
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


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_vizkit_imports_no_framework() -> None:
    code = "import sys, vizkit, vizkit.cli, vizkit_torch, vizkit_gluon\n"
    code += "from vizkit import backend; backend.registered()\n"
    code += "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'torchvision', 'mxnet'}))"
    assert python(code) == "[]"


def test_importing_vizkit_imports_little() -> None:
    """It takes a third of a second, of which Matplotlib would be half: only who draws waits for it."""
    code = "import sys; before = set(sys.modules); import vizkit; new = set(sys.modules) - before\n"
    code += "print(len(new), *sorted({name.split('.')[0] for name in new} - set(sys.stdlib_module_names)))"
    count, *others = python(code).split()
    own = {"vizkit", "vizkit_torch", "vizkit_gluon", "numpy", "PIL", "safetensors", "cython_runtime"}
    assert {one for one in others if not one.startswith("_")} <= own
    assert int(count) < 560


HEAVY = "{'torch', 'torchvision', 'mxnet', 'skimage', 'matplotlib'}"


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (["models"], set()),
        (["backends"], set()),
        (["predict", "-m", "shapes", "-b", "torch"], {"torch"}),
        (["saliency", "-m", "shapes", "-b", "torch"], {"torch", "matplotlib"}),
        (["gradcam", "-m", "shapes", "-b", "torch"], {"torch", "matplotlib"}),
        (["saliency", "-m", "shapes", "-b", "gluon"], {"mxnet", "matplotlib"}),
    ],
)
def test_a_command_imports_what_it_needs(command: list[str], needed: set[str], tmp_path: Path) -> None:
    """Torchvision takes as long as PyTorch, and MXNet too: who asks for none of them does not wait for them."""
    if needed & {"torch", "mxnet"} and command[-1] not in INSTALLED:
        pytest.skip(f"{command[-1]} is not installed")
    drawn = ["-o", str(tmp_path / "x.png")] if "matplotlib" in needed else []
    code = f"import sys\nfrom vizkit.cli import main\ntry:\n    main({[*command, *drawn]})\n"
    code += "except SystemExit:\n    pass\n"
    code += f"print('imported', *sorted({{name.split('.')[0] for name in sys.modules}} & {HEAVY}))"
    assert set(python(code).splitlines()[-1].split()) == {"imported"} | needed


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
    for path in (ROOT / "vizkit" / "techniques").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ".backend ==" not in text
        assert '"gluon"' not in text
        assert '"torch"' not in text


@pytest.mark.skipif("gluon" not in INSTALLED, reason="MXNet is what reads numpy.bool")
@pytest.mark.parametrize("first", ["vizkit", "vizkit_gluon"])
def test_who_has_imported_vizkit_can_import_mxnet(first: str) -> None:
    """And build a block of their own with it; NumPy is as before afterwards."""
    code = (
        f"import warnings; warnings.simplefilter('ignore'); import numpy as np, {first}; before = 'bool' in vars(np)\n"
    )
    code += "import mxnet; from mxnet.gluon import nn; block = nn.Dense(3); block.initialize()\n"
    code += "print(block(mxnet.nd.ones((2, 4))).shape, before == ('bool' in vars(np)))"
    assert python(code).splitlines()[-1] == "(2, 3) True"


@pytest.mark.skipif("gluon" not in INSTALLED, reason="MXNet is what reads numpy.bool")
def test_numpy_is_left_as_it_was() -> None:
    code = "import numpy as np; before = 'bool' in vars(np)\n"
    code += "import vizkit; vizkit.load('squeezenet1_1', backend='gluon', weights='random:1')\n"
    code += "import os; print(before == ('bool' in vars(np)), os.environ.get('OMP_NUM_THREADS'))"
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.stdout.strip() == "True None", done.stderr


@pytest.mark.skipif(len(INSTALLED) < 2, reason="needs two frameworks in one process")
@pytest.mark.parametrize("order", [("torch", "gluon"), ("gluon", "torch")])
def test_starting_one_framework_leaves_the_others_threads(order: tuple[str, str]) -> None:
    code = "from vizkit import backend\n"
    code += f"first = backend.get('{order[0]}'); before = first.threads(); second = backend.get('{order[1]}')\n"
    code += "print(before, first.threads(), second.threads(), backend.cpu_count())"
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    before, after, second, cpus = map(int, done.stdout.split())
    assert before == after, done.stderr
    assert second in (cpus, before)


def resident() -> int:
    """Resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_thousand_calls_do_not_grow_memory(kit: Any) -> None:
    model = vizkit.wrap(kit.sequential(TRAPS, dtype="float32"), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    picture = np.random.default_rng(0).integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
    for _ in range(100):
        vizkit.saliency(model, picture)
    gc.collect()
    before = resident()
    for _ in range(1000):
        vizkit.saliency(model, picture)
    gc.collect()
    assert resident() - before < 20e6


@pytest.mark.quick
def test_public_names_have_docstrings_with_examples() -> None:
    for name in vizkit.__all__:
        thing = getattr(vizkit, name)
        assert thing.__doc__, name
        if callable(thing) and getattr(thing, "__module__", "").startswith("vizkit.techniques"):
            assert ">>>" in thing.__doc__ or "as :func:`" in thing.__doc__, name


def test_docstring_examples_run() -> None:
    import doctest
    import importlib

    modules = {
        getattr(vizkit, name).__module__ for name in vizkit.__all__ if hasattr(getattr(vizkit, name), "__module__")
    }
    tried = 0
    for module in sorted(modules | {"vizkit.images", "vizkit.zoo.names"}):
        outcome = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
        assert outcome.failed == 0, module
        tried += outcome.attempted
    assert tried > 10
