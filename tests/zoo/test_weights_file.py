"""What a weights file says of itself, what `vizkit weights` says of it, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit import cli, zoo
from vizkit.errors import WeightsError
from vizkit.support import columns
from vizkit.zoo import catalog, description, formats, naming
from vizkit.zoo import weights as loading
from vizkit.zoo.architecture import parameter_shapes
from vizkit.zoo.spec import InputSpec

SMALL = "squeezenet1_1"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def odd_names() -> bytes:
    """A .safetensors file with a name that would colour the terminal."""
    header = json.dumps({"red\x1b[31m": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


@pytest.fixture
def arrays() -> dict[str, Any]:
    return dict(loading.draw(parameter_shapes(SMALL), 3).arrays)


@pytest.mark.quick
@pytest.mark.parametrize("model", catalog.CATALOG)
def test_the_likely_model(model: str) -> None:
    shapes = parameter_shapes(model)
    assert description.likely(shapes, "pth") == model
    with_biases = shapes | {bias: shapes[mean] for bias, mean in naming.bias_norms(model).items()}
    assert description.likely(naming.gluon(model, with_biases), "params") == model
    classes = {name: (10, *shape[1:]) if shape[0] == 1000 else shape for name, shape in shapes.items()}
    assert description.likely(classes, "pth") == model
    assert description.likely({f"module.{name}": shape for name, shape in shapes.items()}, "pth") is None


@pytest.mark.parametrize("suffix", [".pth", ".params", ".safetensors"])
def test_describe(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"w{suffix}"
    zoo.convert(SMALL, "random:4", path)
    found = zoo.describe(path)
    model = vizkit.load(SMALL, weights=str(path))
    assert (found.model, found.misfit, found.parameters_sha256) == (SMALL, "", model.sha256())
    assert found.count == 1_235_496
    assert found.metadata["source"] == "random:4"
    code, out, _ = call(capsys, "weights", str(path))
    assert code == 0
    assert out.strip() == found.table(columns.terminal()).strip()
    expected = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]
    for words in (expected, "1,235,496 in 52 tensors (float32)", "squeezenet1_1, every parameter fits", model.sha256()):
        assert words in out
    assert out.count(" x 1 x 1") >= 17


@pytest.mark.quick
def test_describe_what_fits_no_model(tmp_path: Path, arrays: dict[str, Any]) -> None:
    path = tmp_path / "w.pth"
    arrays["classifier.1.weight"] = arrays["classifier.1.weight"][:10].astype(np.float16)
    formats.write(path, arrays)
    text = zoo.describe(path).table()
    assert "squeezenet1_1, but not quite" in text
    assert "classifier.1.weight: (10, 512, 1, 1) in the file, (1000, 512, 1, 1) in squeezenet1_1" in text
    formats.write(path, {"lstm.weight": np.zeros((4, 3)), "steps": np.array(7)})
    found = zoo.describe(path)
    assert (found.model, found.count, found.parameters_sha256) == (None, 13, None)
    assert "none of the canonical ones" in found.table()
    assert "one number" in found.table()
    (tmp_path / "odd.safetensors").write_bytes(odd_names())
    text = zoo.describe(tmp_path / "odd.safetensors").table()
    assert r"red\x1b[31m" in text
    assert "\x1b" not in text


def test_describe_says_where_it_strides(tmp_path: Path) -> None:
    arrays = loading.draw(parameter_shapes("resnet50"), 1).arrays
    formats.write(tmp_path / "v15.pth", arrays)
    formats.write(tmp_path / "open.params", naming.gluon("resnet50", arrays))
    biased = naming.unfold("resnet50", arrays)
    formats.write(tmp_path / "v1.params", naming.gluon("resnet50", biased))
    assert "stride      in the 3x3 of a block (ResNet v1.5)" in zoo.describe(tmp_path / "v15.pth").table()
    assert "stride      in the first 1x1 convolution" in zoo.describe(tmp_path / "v1.params").table()
    assert "does not say where its bottlenecks stride" in zoo.describe(tmp_path / "open.params").table()


@pytest.mark.parametrize("suffix", [".pth", ".params", ".safetensors"])
def test_the_input_spec_travels(tmp_path: Path, suffix: str, arrays: dict[str, Any]) -> None:
    labels = tuple(f"class {i}" for i in range(1000))
    spec = InputSpec((96, 128), 110, (0.5, 0.25, 0.125), (0.1, 0.2, 0.3), labels)
    first, second = tmp_path / "first.safetensors", tmp_path / f"second{suffix}"
    formats.write(first, arrays, zoo.metadata.encode(SMALL, spec, {}, "a test"))
    zoo.convert(SMALL, first, second)
    for backend in INSTALLED:
        assert vizkit.load(SMALL, backend=backend, weights=str(second)).spec == spec
    zoo.convert(SMALL, "random:1", second)
    assert vizkit.load(SMALL, weights=str(second)).spec == catalog.spec_of(SMALL)


@pytest.mark.parametrize(
    "said",
    [
        {"input_size": "x"},
        {"input_size": "[1, 2, 3]"},
        {"input_size": "100000"},
        {"mean": "[NaN, 0, 0]"},
        {"mean": "[1]"},
        {"std": "[0, 1, 1]"},
        {"std": '["a", 1, 1]'},
        {"resize": "1e999"},
        {"labels": "3"},
        {"labels": "[" * 100_000},
        {"model": "resnet18"},
    ],
)
def test_metadata_that_cannot_be(tmp_path: Path, said: dict[str, str], arrays: dict[str, Any]) -> None:
    path = tmp_path / "w.pth"
    formats.write(path, arrays, said)
    with pytest.raises(WeightsError, match=r"w\.pth"):
        loading.from_file(SMALL, path)


def test_nothing_is_written_of_what_does_not_fit(
    tmp_path: Path, arrays: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "w.pth", tmp_path / "out.params"
    target.write_bytes(b"an older file")
    shape = arrays["features.0.weight"].shape
    cases: dict[str, dict[str, Any]] = {
        f"features.0.weight: (3, 3) in the file, {shape} in {SMALL}": {"features.0.weight": np.ones((3, 3), "f4")},
        "more (2,) has no place": {"more": np.ones(2, "f4")},
        "features.0.bias as int64; expected floating-point": {"features.0.bias": np.ones(64, "i8")},
        "not finite, first in features.0.bias": {"features.0.bias": np.full(64, np.inf, "f4")},
    }
    for words, changes in cases.items():
        formats.write(source, arrays | changes)
        code, out, err = call(capsys, "convert", SMALL, str(source), "-o", str(target))
        assert (code, out) == (2, "")
        assert words in err
        assert str(source) in err
    formats.write(source, {name: value for name, value in arrays.items() if "classifier" not in name})
    code, _, err = call(capsys, "convert", SMALL, str(source), "-o", str(target))
    assert code == 2
    assert "classifier.1.weight (1000, 512, 1, 1) is missing" in err
    code, _, err = call(capsys, "convert", "resnet18", str(source), "-o", str(target))
    assert code == 2
    assert "conv1.weight (64, 3, 7, 7) is missing" in err
    assert target.read_bytes() == b"an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.params", "w.pth"]


def test_hostile_and_damaged_files(tmp_path: Path, arrays: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    source, target, marker = tmp_path / "w.pth", tmp_path / "out.params", tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {marker}",)

    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"w": Hostile()}, 2))
    for arguments in (("convert", SMALL, str(source), "-o", str(target)), ("weights", str(source))):
        code, _, err = call(capsys, *arguments)
        assert code == 2
        assert "system" in err
        assert str(source) in err
    formats.write(source, arrays)
    source.write_bytes(source.read_bytes()[:-1000])
    for backend in INSTALLED:
        with pytest.raises(WeightsError, match=r"w\.pth"):
            vizkit.load(SMALL, backend=backend, weights=str(source))
    assert call(capsys, "convert", SMALL, str(source), "-o", str(target))[0] == 2
    assert not marker.exists()
    assert not target.exists()


def test_an_interrupted_conversion_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "w.params"
    zoo.convert(SMALL, "random:1", target)
    before = target.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(formats.params, "raw_bytes", interrupt)
    assert call(capsys, "convert", SMALL, "random:2", "-o", str(target))[0] == 130
    monkeypatch.undo()
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["w.params"]
    zoo.convert(SMALL, target, target)
    assert target.read_bytes() == before


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    v1, target = tmp_path / "v1.safetensors", tmp_path / "w.pth"
    code, out, err = call(capsys, "convert", "resnet50", "random:7", "--stride", "1x1", "-o", str(v1))
    assert (code, err) == (0, "")
    assert "25,610,152 numbers in 267 tensors, from random:7" in out
    code, out, err = call(capsys, "convert", "resnet50", str(v1), "-o", str(target))
    assert "stride: in the first 1x1 convolution of a block (ResNet v1)" in out
    assert f"wrote {target}" in out
    assert err.startswith("vizkit: warning: These are ResNet v1 weights")
    assert len(err.splitlines()) == 1


def test_conversion_imports_no_framework(tmp_path: Path) -> None:
    code = "import sys; sys.modules.update(dict.fromkeys(('torch', 'torchvision', 'mxnet')))\n"
    code += "from vizkit import zoo\n"
    for i, (source, suffix) in enumerate((("random:1", "pth"), ("0.pth", "params"), ("1.params", "safetensors"))):
        code += f"zoo.convert('{SMALL}', {source!r}, '{i}.{suffix}')\n"
    code += "print(zoo.describe('2.safetensors').model)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.stdout.strip() == SMALL, done.stderr


@pytest.mark.quick
def test_a_narrow_terminal_gets_short_lines_and_every_tensor(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    formats.write(path, {"a.block.of.a.long.name.weight": np.zeros((4, 3, 2, 2)), "steps": np.array(7)})
    text = zoo.describe(path).table(44)
    lines = text.replace(str(path), "").splitlines()
    assert max(len(line) for line in lines if len(line.strip()) != 64) <= 44
    assert " ".join(text.split()) == " ".join(zoo.describe(path).table().split())
    assert "\\n" not in text
