"""Weights files: equal bit for bit to what each framework writes and reads."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vizkit.errors import WeightsError
from vizkit.zoo.formats import read, write
from vizkit.zoo.formats.kinds import Array


def params(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "features.0.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "features.0.bias": rng.normal(size=4),
        "classifier.weight": rng.integers(-9, 9, (2, 3)),
        "a.mask": np.array([1, 0, 255], np.uint8),
        "z.steps": rng.integers(-100, 100, 5, np.int8),
    }


def assert_same(found: dict[str, Array], expected: dict[str, Array], *, order: bool = True) -> None:
    assert (list(found) == list(expected)) if order else (set(found) == set(expected))
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name
        assert found[name].flags.c_contiguous, name
        assert found[name].flags.writeable, name


def refused(path: Path, words: str) -> None:
    """Reading raises a WeightsError that names the file."""
    with pytest.raises(WeightsError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.quick
@pytest.mark.parametrize("suffix", ["safetensors", "pth", "params"])
def test_round_trip(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{suffix}"
    given = params() | {"odd": np.arange(12, dtype=">f4").reshape(3, 4).T}
    write(path, given, {"stride": "3x3", "naïve": "±"})
    found = read(path)
    expected = params() | {"odd": np.arange(12, dtype="<f4").reshape(3, 4).T.copy()}
    assert (found.path, found.format, found.metadata) == (path, suffix, {"stride": "3x3", "naïve": "±"})
    assert_same(found.params, expected, order=suffix != "safetensors")
    first = path.read_bytes()
    write(path, given, {"stride": "3x3", "naïve": "±"})
    assert path.read_bytes() == first or suffix == "safetensors"
    half = np.array([1, -2.5, 6e-8, np.inf], np.float16)
    write(path, {"h": half})
    assert_same(read(path).params, {"h": half.astype(np.float32)})
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.quick
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_what_torch_writes(zipped: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch writes the files of this test")
    base = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    tensors = {
        "weight": base,
        "tied": base,
        "transposed": base.T,
        "sliced": base[1:5, 2:7:2],
        "tail": base.flatten()[40:],
        "expanded": torch.ones(1, 3).expand(5, 3),
        "steps": torch.tensor(7),
        "none": torch.empty(0, 3),
        "half": torch.tensor([1.5, -65504.0, 6e-8]).half(),
        "brain": torch.tensor([1.5, -3e38, 1e-40]).bfloat16(),
        "mask": torch.tensor([True, False]),
        **{str(t): torch.arange(5).to(t) for t in (torch.float64, torch.int32, torch.int16, torch.int8, torch.uint8)},
    }
    path = tmp_path / "w.pth"
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    contents: list[Any] = [tensors, {"epoch": 3, "state_dict": tensors}, state, {"p": torch.nn.Parameter(base)}]
    for content in contents:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        plain = content.get("state_dict", content)
        wide = {name: t.float() if t.dtype in (torch.half, torch.bfloat16) else t for name, t in plain.items()}
        found = read(path)
        assert found.format == ("pth" if zipped else "pth-legacy")
        assert_same(found.params, {name: t.detach().contiguous().numpy() for name, t in wide.items()})
    for module in (torch.nn.Linear(2, 2), {"state_dict": {"w": torch.device("cpu")}}):
        torch.save(module, path, _use_new_zipfile_serialization=zipped)
        refused(path, r"asks for 'torch.*state_dict\(\)")
    torch.save({"w": base, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    refused(path, "'epoch' is a int")


@pytest.mark.quick
def test_torch_reads_what_is_written(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch reads the files of this test")
    path = tmp_path / "w.pth"
    given = params() | {"steps": np.array(7), "none": np.empty((0, 3), np.float32), "half": np.ones(3, np.float16)}
    write(path, given, {"stride": "3x3"})
    for mapped in (False, True):
        loaded = torch.load(path, weights_only=True, mmap=mapped)
        assert_same({name: tensor.numpy() for name, tensor in loaded.items()}, given)


@pytest.fixture(scope="module")
def mx() -> Any:
    if np.lib.NumpyVersion(np.__version__) >= "1.27.0":
        pytest.skip("mxnet 1.9.1 does not import under this NumPy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(np), "bool", np.bool_)
        return pytest.importorskip("mxnet", reason="MXNet writes and reads the files of this test")


@pytest.mark.quick
def test_reads_what_mxnet_writes(mx: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "w.params")
    given = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in params().items()}
    given |= {"long": np.array([2**40]), "half": np.array([1.5, 6e-8], np.float16), "mask": np.array([True, False])}
    mx.nd.save(path, {f"arg:{name}": mx.nd.array(array, dtype=array.dtype) for name, array in given.items()})
    assert_same(read(path).params, given | {"half": given["half"].astype(np.float32)})
    with mx.util.np_shape(True):
        mx.nd.save(path, {"aux:steps": mx.nd.ones((), dtype="int64")})
    assert_same(read(path).params, {"steps": np.array(1)})
    mx.nd.save(path, [mx.nd.ones(2)])
    refused(Path(path), "no names")
    mx.nd.save(path, {"s": mx.nd.ones((2, 2)).tostype("csr")})
    refused(Path(path), "sparse")


@pytest.mark.quick
def test_mxnet_reads_what_is_written(mx: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.params"
    given = params() | {"half": np.ones(3, np.float16), "mask": np.array([True, False])}
    write(path, given, {"stride": "1x1"})
    assert_same({name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}, given)
    net = mx.gluon.nn.Dense(2, in_units=3, prefix="")
    write(path, {"weight": np.ones((2, 3), np.float32), "bias": np.arange(2, dtype=np.float32)}, {"a": "b"})
    net.load_parameters(str(path))
    assert net.bias.data().asnumpy().tolist() == [0, 1]


@pytest.mark.quick
def test_unusable_paths(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    refused(path, "There is no")
    refused(tmp_path, "folder")
    refused(Path(os.devnull), "device")
    path.write_bytes(b"")
    refused(path, "empty")
    path.write_text("not weights, a longer text than any magic number")
    refused(path, "no weights format")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.params", b"")
    refused(path, "without a 'data.pkl'")


@pytest.mark.quick
def test_writing_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.params"
    write(path, params())
    before = path.read_bytes()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"a": np.ones(2), "steps": np.array(7)}, r"'steps' has the shape \(\)"),
        ({"c": np.ones(2, complex)}, "complex128"),
        ({"l": [1, 2]}, "is a list"),
        ({"": np.ones(2)}, "name"),
    ]
    for given, words in wrong:
        with pytest.raises(WeightsError, match=words):
            write(path, given)
    with pytest.raises(WeightsError, match="which format"):
        write(tmp_path / "w.npz", params())
    for suffix in ("pth", "params", "safetensors"):
        for folder in ("absent", "w.params"):
            with pytest.raises(WeightsError, match=folder):
                write(tmp_path / folder / f"w.{suffix}", params())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, params(1))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before
