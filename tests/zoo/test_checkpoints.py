"""Weights as training code leaves them: nested, wrapped, with heads of another size, in half precision."""

from __future__ import annotations

import argparse
import collections
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.backend import Weights
from vizkit.errors import SettingError, WeightsError
from vizkit.zoo import formats
from vizkit.zoo.architecture import parameter_shapes
from vizkit.zoo.catalog import CATALOG
from vizkit.zoo.formats import pth
from vizkit.zoo.weights import COUNTER, WRAPPERS, Parameters, headed, resized, unwrapped

if "torch" not in INSTALLED:
    pytest.skip("most of these files are PyTorch's", allow_module_level=True)
import torch
import torchvision

NAME = "squeezenet1_1"


def state(classes: int = 1000, name: str = NAME) -> dict[str, Any]:
    torch.manual_seed(1)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return dict(torchvision.models.get_model(name, weights=None, num_classes=classes, **options).state_dict())


class Settings:
    """Of a user's own, which no reader knows."""


def checkpoint(**entries: Any) -> dict[str, Any]:
    """What training code saves beside a state."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.Adam([parameter], lr=0.1)
    parameter.sum().backward()
    optimiser.step()
    return {
        "epoch": 3, "best": np.float64(0.5), "name": "run", "args": argparse.Namespace(lr=0.1, tags={"a", "b"}),
        "own": Settings(), "path": Path("x"), "losses": [1.5, 0.5], "counts": collections.Counter("aab"),
        "none": None, "raw": b"bytes", "big": 1 << 70, "optimizer": optimiser.state_dict(), **entries,
    }  # fmt: skip


def same(path: Path, name: str = NAME, **options: Any) -> None:
    """That both backends load the state that PyTorch itself loads, and say the same."""
    classes = options.pop("classes", 1000)
    wanted = state(classes, name)
    for backend in INSTALLED:
        model = vizkit.load(name, backend=backend, weights=str(path), **options)
        assert model.output_shape == (1, classes)
        for key in model.parameter_shapes():
            np.testing.assert_array_equal(model.parameter(key), wanted[key].float().numpy(), err_msg=key)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("entry", pth.ENTRIES)
def test_a_state_inside_a_checkpoint(entry: str, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "ck.pth"
    torch.save(checkpoint(**{entry: state()}), path, _use_new_zipfile_serialization=not legacy)
    found = formats.read(path)
    assert found.entry == entry
    wanted = state()
    assert found.params.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found.params[key], value.numpy())
    if entry == "state_dict":
        same(path)
    model = vizkit.load(NAME, weights=str(path))
    assert model.weights.note == f"the state under {entry!r}"


def test_which_state_is_taken_where_there_are_several(tmp_path: Path) -> None:
    other = {key: value + 1 for key, value in state().items()}
    for entries, taken in (
        ({"ema": other, "model": state()}, "model"),
        ({"model_ema": other, "state_dict": state(), "model": other}, "state_dict"),
        ({"ema": {"module": state(), "decay": 0.9}}, "ema.module"),
    ):
        torch.save(checkpoint(**entries), tmp_path / "ck.pth")
        found = formats.read(tmp_path / "ck.pth")
        assert found.entry == taken
        np.testing.assert_array_equal(found.params["features.0.bias"], state()["features.0.bias"].numpy())


@pytest.mark.quick
@pytest.mark.parametrize("content", ["whole", "entry", "none"])
def test_what_is_no_state_is_refused(content: str, tmp_path: Path) -> None:
    """Nothing of a pickled object is made, also where the file holds nothing else."""
    path = tmp_path / "ck.pth"
    whole = torchvision.models.squeezenet1_1(weights=None)
    torch.save({"whole": whole, "entry": {"model": whole}, "none": {"epoch": 3}}[content], path)
    with pytest.raises(WeightsError, match="SqueezeNet" if content != "none" else "expected tensors by name"):
        formats.read(path)


@pytest.mark.parametrize("outer", [*WRAPPERS, "module._orig_mod.", "model.model.", "model.net.backbone."])
def test_names_inside_wrappers(outer: str, tmp_path: Path) -> None:
    """Beside a loss's own weights, which Lightning saves, too."""
    wrapped = {outer + key: value for key, value in state().items()} | {"criterion.weight": torch.ones(1000)}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "ck.pth")
    found = formats.read(tmp_path / "ck.pth")
    assert unwrapped(found.params, state().keys()).keys() == state().keys()
    if outer in ("module.", "model.model."):
        same(tmp_path / "ck.pth")


@pytest.mark.quick
def test_names_that_fit_are_left_alone(tmp_path: Path) -> None:
    arrays = {"model.a": np.ones(1), "a": np.zeros(1)}
    assert unwrapped(arrays, ["a"]) is arrays
    assert unwrapped(arrays, ["model.a"]) is arrays
    assert unwrapped(arrays, ["b"]) is arrays
    torch.save({"module." + key: value for key, value in list(state().items())[:-1]}, tmp_path / "ck.pth")
    with pytest.raises(WeightsError, match="do not fit"):
        vizkit.load(NAME, weights=str(tmp_path / "ck.pth"))


@pytest.mark.quick
@pytest.mark.parametrize("name", [name for name in CATALOG if name != "shapes"])
def test_the_heads_of_every_network(name: str) -> None:
    """Which parameters another number of classes changes; without values."""
    wanted = resized(parameter_shapes(name), 7)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, num_classes=7, **options).state_dict()
    assert wanted == {key: tuple(value.shape) for key, value in theirs.items() if not key.endswith(COUNTER)}
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in wanted.items()}
    found, shapes = headed(Parameters(arrays, Weights("none")), parameter_shapes(name))
    assert (found.classes, shapes) == (7, wanted)
    if "gluon" in INSTALLED:
        from kits.gluon import parameter_shapes_of

        assert parameter_shapes_of(name, found) == wanted


@pytest.mark.parametrize("name", [NAME, "resnet18", "googlenet"])
def test_heads_of_another_size(name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {"module." + key: value for key, value in state(7, name).items()}}, tmp_path / "ck.pth")
    same(tmp_path / "ck.pth", name, classes=7)
    model = vizkit.load(name, weights=str(tmp_path / "ck.pth"))
    assert model.predict(vizkit.images.sample())[0].label.startswith("class ")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121"])
def test_heads_of_another_size_outside_the_catalog(name: str, tmp_path: Path) -> None:
    torch.save(state(3, name), tmp_path / "ck.pth")
    model = vizkit.load(name, backend="torch", weights=str(tmp_path / "ck.pth"))
    assert model.output_shape == (1, 3)
    network = torchvision.models.get_model(name, num_classes=3)
    network.load_state_dict(state(3, name))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        np.testing.assert_allclose(model.ops.numpy(model.forward(x)["output"]), network.eval()(x), atol=1e-4)


def test_labels(tmp_path: Path) -> None:
    path, names = tmp_path / "ck.pth", ["cat", "dog", "eel"]
    torch.save(state(3), path)
    (tmp_path / "names.txt").write_text("cat\n dog\n\neel\n")
    (tmp_path / "list.json").write_text(json.dumps(names))
    (tmp_path / "index.json").write_text(json.dumps({"2": "eel", "0": ["n01", "cat"], "1": "dog"}))
    for labels in (names, *(str(tmp_path / one) for one in ("names.txt", "list.json", "index.json"))):
        for backend in INSTALLED:
            model = vizkit.load(NAME, backend=backend, weights=str(path), labels=labels)
            assert model.spec.labels == ("cat", "dog", "eel")
    found = vizkit.saliency(model, vizkit.images.sample(), target="dog")
    assert found.targets == (1,)
    with pytest.raises(SettingError, match="2 labels for the 3 outputs"):
        vizkit.load(NAME, weights=str(path), labels=names[:2])
    with pytest.raises(SettingError, match="no such file"):
        vizkit.load(NAME, weights=str(path), labels="names.csv")
    (tmp_path / "bad.json").write_text("{1: 2}")
    with pytest.raises(SettingError, match="expected a JSON list"):
        vizkit.load(NAME, weights=str(path), labels=str(tmp_path / "bad.json"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_files_in_half_precision(kind: Any, tmp_path: Path) -> None:
    rounded = {key: value.to(kind) for key, value in state().items()}
    torch.save(rounded, tmp_path / "half.pth")
    for backend in INSTALLED:
        model = vizkit.load(NAME, backend=backend, weights=str(tmp_path / "half.pth"))
        key = "features.0.weight"
        np.testing.assert_array_equal(model.parameter(key), rounded[key].float().numpy())


@pytest.mark.quick
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_networks_in_half_precision(kind: Any) -> None:
    """Computed in float32 from the numbers that they hold; the user's own stays as it is."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    network.append(torch.nn.Linear(784, 3))
    exact = network.to(kind).float()
    expected = vizkit.saliency(wrap(exact), picture(), target=1, fit="squash")
    half = exact.to(kind)
    model = wrap(half)
    found = vizkit.saliency(model, picture(), target=1, fit="squash")
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    assert next(half.parameters()).dtype == kind
    assert "copy in float32" in (model.weights.note or "")


def wrap(native: Any) -> Any:
    return vizkit.wrap(native, input_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def picture() -> Any:
    return np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
