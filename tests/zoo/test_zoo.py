"""Names, weights, and what is said of names that do not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import (
    BackendMissingError,
    DeviceError,
    LayerError,
    SettingError,
    UnknownNameError,
    VizkitError,
    WeightsError,
)
from vizkit.zoo import formats, weights


@pytest.mark.quick
def test_random_weights_depend_on_seed_and_name_alone() -> None:
    shapes = {"a.weight": (4, 3, 3, 3), "b.weight": (4,), "b.running_var": (4,), "layer1.0.conv1.weight": (2, 2, 1, 1)}
    first = weights.draw(shapes, 7).arrays
    again = weights.draw(dict(reversed(shapes.items())), 7).arrays
    other = weights.draw(shapes, 8).arrays
    for key in shapes:
        assert first[key].dtype == np.float32
        np.testing.assert_array_equal(first[key], again[key])
        assert (first[key] != other[key]).any()
    many = weights.draw({"x.weight": (256, 64, 3, 3)}, 0).arrays["x.weight"]
    assert many.std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.01)
    assert first["b.running_var"].min() > 0.5


def test_real_weights_in_every_backend(name: str, squeezenet_weights: Path, photos: list[Path]) -> None:
    model = vizkit.load("squeezenet1_0", backend=name, weights=str(squeezenet_weights))
    snake, dog = (rows[0] for rows in model.predict(photos))
    assert (snake.index, snake.label) == (56, "king snake")
    assert (dog.index, dog.label) == (243, "bull mastiff")
    assert snake.probability >= 0.99
    assert dog.probability >= 0.9


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_loads_in_every_backend(tmp_path: Path, suffix: str) -> None:
    source = vizkit.load("resnet18", weights="random:3")
    path = tmp_path / f"weights{suffix}"
    formats.write(path, {key: source.parameter(key) for key in source.parameter_shapes()}, {"model": "resnet18"})
    expected = source.logits(vizkit.images.sample())
    for backend in INSTALLED:
        model = vizkit.load("resnet18", backend=backend, weights=str(path))
        assert model.sha256() == source.sha256()
        assert np.abs(model.logits(vizkit.images.sample()) - expected).max() < 1e-4
        assert model.weights.file == str(path.resolve())


def test_wrong_weights_are_explained(tmp_path: Path, name: str) -> None:
    source = vizkit.load("squeezenet1_1", backend=name, weights="random:3")
    params = {key: source.parameter(key) for key in source.parameter_shapes()}
    params["classifier.1.weight"] = params["classifier.1.weight"][:7]
    del params["features.0.bias"]
    path = tmp_path / "odd.safetensors"
    formats.write(path, params | {"more.weight": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError) as caught:
        vizkit.load("squeezenet1_1", backend=name, weights=str(path))
    text = str(caught.value)
    assert "odd.safetensors" in text
    assert "classifier.1.weight: (7, 512, 1, 1) in the file, (1000, 512, 1, 1) in squeezenet1_1" in text
    assert "features.0.bias (64,) is missing" in text
    assert "more.weight (3,) has no place" in text
    formats.write(path, params, {"model": "resnet18"})
    with pytest.raises(WeightsError, match="holds weights of resnet18, not of squeezenet1_1"):
        vizkit.load("squeezenet1_1", backend=name, weights=str(path))
    full = {key: source.parameter(key) for key in source.parameter_shapes()}
    full["features.0.bias"][3] = np.nan
    formats.write(path, full)
    with pytest.raises(WeightsError, match=r"not finite, first in features\.0\.bias"):
        vizkit.load("squeezenet1_1", backend=name, weights=str(path))


@pytest.mark.quick
def test_a_digest_is_of_the_weights_alone() -> None:
    """Not of the framework, nor of what is computed in."""
    made = [vizkit.load("shapes", backend=one, dtype=dtype) for one in INSTALLED for dtype in ("float32", "float64")]
    assert len({model.sha256() for model in made}) == 1


@pytest.mark.quick
def test_misspelt_names_offer_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'vgg19'"):
        vizkit.load("vg19", weights="random:7")
    with pytest.raises(UnknownNameError, match="Did you mean 'torch'"):
        vizkit.load("vgg19", backend="troch")
    with pytest.raises(SettingError, match="random:7"):
        vizkit.load("vgg19", weights="random:seven")
    with pytest.raises(SettingError, match="float32"):
        vizkit.load("vgg19", weights="random:7", dtype="float16")
    with pytest.raises(WeightsError, match=r"nothing\.pth"):
        vizkit.load("squeezenet1_1", weights="nothing.pth")
    model = vizkit.load("squeezenet1_1", weights="random:7")
    with pytest.raises(UnknownNameError, match="'tiger cat'"):
        vizkit.saliency(model, vizkit.images.sample(), target="tigr cat")
    with pytest.raises(UnknownNameError, match="1000 classes"):
        vizkit.saliency(model, vizkit.images.sample(), target=1000)
    with pytest.raises(LayerError, match="no filters"):
        vizkit.filters(model, "features.1")


@pytest.mark.quick
@pytest.mark.parametrize("device", ["cuda:7", "tpu", "cuda:x"])
def test_a_device_that_is_not_there(name: str, device: str) -> None:
    with pytest.raises(DeviceError, match="device="):
        vizkit.load("squeezenet1_1", backend=name, weights="random:7", device=device)


@pytest.mark.quick
def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from vizkit import backend as contract

    known = contract.registered()
    monkeypatch.setattr(contract, "_started", {})
    for backend in known.values():
        monkeypatch.setattr(backend, "installed", classmethod(lambda cls: False))
        monkeypatch.setattr(backend, "requires", ("module_that_nobody_has",))
    with pytest.raises(BackendMissingError, match=r"pip install 'vizkit\[torch\]'"):
        contract.get("torch")
    with pytest.raises(BackendMissingError, match=r"pip install 'vizkit\[gluon\]'"):
        contract.get()


def test_other_networks_keep_their_own_names(name: str) -> None:
    other = {"torch": "mobilenet_v2", "gluon": "mobilenet0.25"}.get(name)
    if other is None:
        pytest.skip("names of this backend's own networks are not known here")
    model = vizkit.load(other, backend=name, weights="random:7")
    assert len(model.layers) > 20
    result = vizkit.saliency(model, vizkit.images.sample())
    assert result.values.shape == (1, 224, 224)
    assert result.values.max() > 0


@pytest.mark.quick
def test_wrap_refuses_what_is_no_network() -> None:
    with pytest.raises(VizkitError, match="no installed backend"):
        vizkit.wrap(object(), input_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
