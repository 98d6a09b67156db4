"""Conversion between formats: bit for bit where nothing is folded, and the same network where something is."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BOTH, INSTALLED

import vizkit
from vizkit import backend as contract
from vizkit import zoo
from vizkit.errors import SettingError, UnknownNameError, WeightsError, WeightsWarning
from vizkit.zoo import catalog, formats, naming
from vizkit.zoo import weights as loading
from vizkit.zoo.architecture import parameter_shapes

SUFFIXES = (".safetensors", ".params", ".pth")


def frameworks() -> tuple[Any, Any, Any]:
    """torch, torchvision and mxnet, imported as the backends import them."""
    if not BOTH:
        pytest.skip("the frameworks' own readers are both needed")
    contract.get("torch")
    contract.get("gluon")
    import mxnet
    import torch
    import torchvision

    return torch, torchvision, mxnet


def same(first: Path, second: Path) -> None:
    """The same tensors, to the bit."""
    a, b = formats.read(first).params, formats.read(second).params
    assert set(a) == set(b)
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name


def logits(model: str, backend: str, path: Path, x: Any, digests: set[str] | None = None) -> Any:
    """In float64; the parameters' digest is added to ``digests``."""
    loaded = vizkit.load(model, backend=backend, weights=str(path), dtype="float64")
    if digests is not None:
        digests.add(loaded.sha256())
    return loaded.ops.numpy(loaded.forward(loaded.ops.asarray(x))["output"])


def picture(side: int) -> Any:
    return np.random.default_rng(0).normal(size=(1, 3, side, side))


@pytest.fixture(scope="module")
def zoo_v1(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """ResNet50 v1 as Gluon's zoo saves it, with biases and statistics that matter, an input, and its float64 logits."""
    mx = frameworks()[2]
    path = tmp_path_factory.mktemp("v1") / "zoo.params"
    rng = np.random.default_rng(1)
    drawn = loading.draw(parameter_shapes("resnet50"), 3).arrays
    drawn |= {name: rng.normal(0, 0.3, drawn[mean].shape) for name, mean in naming.bias_norms("resnet50").items()}
    native = mx.gluon.model_zoo.vision.resnet50_v1()
    native.initialize()
    x = picture(64)
    native(mx.nd.array(x))
    own = native._collect_params_with_prefix()
    for name, value in naming.gluon("resnet50", drawn).items():
        own[name].set_data(mx.nd.array(value))
    native.save_parameters(str(path))
    native.cast("float64")
    return path, x, native(mx.nd.array(x, dtype="float64")).asnumpy()


@pytest.mark.parametrize("model", ["resnet18", "googlenet", "squeezenet1_1", "shapes"])
def test_round_trips_are_bit_exact(model: str, tmp_path: Path) -> None:
    first = tmp_path / "first.pth"
    done = zoo.convert(model, "random:7", first)
    shapes = parameter_shapes(model)
    assert (done.tensors, done.count) == (len(shapes), sum(int(np.prod(shape)) for shape in shapes.values()))
    assert list(formats.read(first).params) == list(shapes)
    path = first
    for i, suffix in enumerate((*SUFFIXES, ".params", ".safetensors", ".pth")):
        following = tmp_path / f"{i}{suffix}"
        zoo.convert(model, path, following)
        if suffix != ".params":
            same(following, first)
        path = following
    assert path.read_bytes() == first.read_bytes()  # origin and input spec came along
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {first.stat().st_mode & 0o777}


def test_real_weights_come_back(squeezenet_weights: Path, photos: list[Path], tmp_path: Path) -> None:
    paths = [squeezenet_weights]
    for suffix in (".params", ".pth", ".safetensors"):
        paths.append(tmp_path / f"real{suffix}")
        zoo.convert("squeezenet1_0", paths[-2], paths[-1])
    same(paths[-1], squeezenet_weights)
    for backend in INSTALLED:
        loaded = [vizkit.load("squeezenet1_0", backend=backend, weights=str(path)) for path in paths]
        assert len({model.sha256() for model in loaded}) == 1
        first, last = (model.logits(photos) for model in (loaded[0], loaded[-1]))
        assert np.array_equal(first, last)
        assert first.argmax(axis=1).tolist() == [56, 243]


@pytest.mark.parametrize(("model", "side"), [("resnet18", 64), ("squeezenet1_0", 224)])
def test_the_frameworks_themselves_load_what_is_written(model: str, side: int, tmp_path: Path) -> None:
    torch, torchvision, mx = frameworks()
    zoo.convert(model, "random:5", tmp_path / "w.pth")
    zoo.convert(model, "random:5", tmp_path / "w.params")
    theirs = torchvision.models.get_model(model, weights=None)
    theirs.load_state_dict(torch.load(tmp_path / "w.pth", weights_only=True))
    x = picture(side)
    expected = theirs.double().eval()(torch.from_numpy(x)).detach().numpy()
    own = mx.gluon.model_zoo.vision.get_model(catalog.CATALOG[model].gluon_name)
    own.load_parameters(str(tmp_path / "w.params"))
    own.cast("float64")
    found = own(mx.nd.array(x, dtype="float64")).asnumpy()
    assert np.abs(expected).max() > 0.3
    assert np.abs(found - expected).max() < 1e-12
    assert set(mx.nd.load(str(tmp_path / "w.params"))) == set(own._collect_params_with_prefix())


def test_resnet_v1_is_the_same_network_in_every_format(zoo_v1: tuple[Path, Any, Any], tmp_path: Path) -> None:
    """Biases folded, the stride carried along; float64 logits against the zoo's own network."""
    torch, torchvision, mx = frameworks()
    source, x, expected = zoo_v1
    paths = [source, *(tmp_path / f"v1{suffix}" for suffix in (".pth", ".safetensors", ".params"))]
    with pytest.warns(WeightsWarning, match="strides in the 3x3, which gives other, wrong, answers"):
        done = zoo.convert("resnet50", source, paths[1])
    assert (done.stride, done.folded, done.left_out) == ("1x1", 32, ())
    for given, path in pairwise(paths[1:]):
        zoo.convert("resnet50", given, path)
    same(paths[2], paths[1])
    first = loading.from_file("resnet50", source)
    for path in (source, paths[1], paths[3]):
        read = loading.from_file("resnet50", path)
        assert read.properties == {"stride_in_1x1": True}
        for name, value in read.arrays.items():
            assert np.array_equal(value.astype(np.float32), first.arrays[name].astype(np.float32)), name
    digests: set[str] = set()
    for backend, path in (("gluon", source), ("torch", source), ("gluon", paths[1]), ("torch", paths[-1])):
        assert np.abs(logits("resnet50", backend, path, x, digests) - expected).max() < 1e-12
    assert len(digests) == 1
    native = mx.gluon.model_zoo.vision.resnet50_v1()
    native.load_parameters(str(paths[-1]))
    native.cast("float64")
    assert np.abs(native(mx.nd.array(x, dtype="float64")).asnumpy() - expected).max() < 1e-12
    theirs = torchvision.models.resnet50(weights=None)
    theirs.load_state_dict(torch.load(paths[1], weights_only=True))
    inputs = torch.from_numpy(x).float()
    assert np.abs(theirs.eval()(inputs).detach().numpy() - expected).max() > 0.01  # what the warning is about
    for block in theirs.modules():  # its advice
        if isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    assert np.abs(theirs(inputs).detach().numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def test_folding_is_exact(zoo_v1: tuple[Path, Any, Any], tmp_path: Path) -> None:
    given = naming.canonical("resnet50", formats.read(zoo_v1[0]).params)
    folded, count = naming.fold("resnet50", given)
    assert count == 32
    assert list(folded) == [name for name in given if name not in naming.bias_norms("resnet50")]
    again, _ = naming.fold("resnet50", naming.unfold("resnet50", folded))
    for bias, mean in naming.bias_norms("resnet50").items():
        exact = given[mean].astype(np.float64) - given[bias]
        assert np.array_equal(folded[mean], exact)
        assert np.abs(again[mean] - exact).max() <= 2.0**-47 * np.abs(exact).max()


def test_resnet_v1_5_goes_to_gluon_and_back(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}{suffix}" for i, suffix in enumerate((".pth", ".params", ".pth"))]
    assert zoo.convert("resnet50", "random:7", paths[0]).warning == ""
    with pytest.warns(WeightsWarning, match="resnet50_v1 loads this file and strides in the first 1x1"):
        assert zoo.convert("resnet50", paths[0], paths[1]).stride == "3x3"
    assert zoo.convert("resnet50", paths[1], paths[2]).stride == "3x3"
    assert paths[2].read_bytes() == paths[0].read_bytes()
    biases = [value for name, value in formats.read(paths[1]).params.items() if name.endswith(("0.bias", "6.bias"))]
    assert len(biases) == 32
    assert not any(value.any() for value in biases)
    x = picture(64)
    values = [
        logits("resnet50", backend, path, x) for backend, path in zip((INSTALLED * 2)[:2], paths[1::-1], strict=True)
    ]
    assert all(np.abs(one - values[0]).max() < 1e-12 for one in values)


def test_the_strides_place_is_never_guessed(tmp_path: Path) -> None:
    bare, told = tmp_path / "bare.params", tmp_path / "told.params"
    arrays = loading.draw(parameter_shapes("resnet50"), 1).arrays
    formats.write(bare, naming.gluon("resnet50", arrays))
    with pytest.raises(WeightsError, match=r"bare\.params does not say where its bottlenecks stride"):
        vizkit.load("resnet50", weights=str(bare))
    zoo.convert("resnet50", bare, told, stride="1x1")
    assert loading.from_file("resnet50", told).properties == {"stride_in_1x1": True}
    with pytest.raises(WeightsError, match="strides in its first 1x1 convolutions, not 3x3"):
        zoo.convert("resnet50", told, tmp_path / "x.pth", stride="3x3")
    folded = arrays | {"layer1.0.bn1.running_mean": arrays["layer1.0.bn1.running_mean"].astype(np.float64)}
    formats.write(tmp_path / "resaved.pth", folded)
    with pytest.raises(WeightsError, match=r"resaved\.pth does not say where"):
        vizkit.load("resnet50", weights=str(tmp_path / "resaved.pth"))
    some = naming.unfold("resnet50", arrays)
    del some["layer2.0.conv3.bias"]
    formats.write(bare, naming.gluon("resnet50", some))
    with pytest.raises(WeightsError, match=r"bare\.params lacks layer2\.0\.conv3\.bias"):
        vizkit.load("resnet50", weights=str(bare))
    with pytest.raises(SettingError, match="'1x1'"):
        zoo.convert("resnet50", told, tmp_path / "x.pth", stride="2x2")
    with pytest.raises(SettingError, match="has no bottlenecks"):
        zoo.convert("resnet18", "random:1", tmp_path / "x.pth", stride="1x1")
    assert not (tmp_path / "x.pth").exists()


def test_googlenets_input_transform_travels(tmp_path: Path) -> None:
    """torchvision's own file has auxiliary heads and rescales its input; judged by torchvision's network."""
    torch, torchvision, _ = frameworks()
    theirs = torchvision.models.googlenet(weights=None, aux_logits=True, transform_input=True, init_weights=False)
    drawn = loading.draw({name: tuple(value.shape) for name, value in theirs.state_dict().items()}, 2).arrays
    theirs.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in drawn.items()})
    paths = [tmp_path / "theirs.pth", *(tmp_path / f"w{suffix}" for suffix in (*SUFFIXES,))]
    torch.save(theirs.state_dict(), paths[0], _use_new_zipfile_serialization=False)
    x = picture(64)
    expected = theirs.double().eval()(torch.from_numpy(x)).detach().numpy()
    done = zoo.convert("googlenet", paths[0], paths[1])
    assert done.transform_input
    assert sum(name.startswith("aux") for name in done.left_out) == 20
    zoo.convert("googlenet", paths[1], paths[2])
    with pytest.warns(WeightsWarning, match="transform_input=True"):
        zoo.convert("googlenet", paths[2], paths[3])
    theirs.transform_input = False
    assert np.abs(theirs(torch.from_numpy(x)).detach().numpy() - expected).max() > 0.01
    for i, path in enumerate(paths):
        for backend in INSTALLED if i == 0 else INSTALLED[i % len(INSTALLED) :][:1]:
            assert np.abs(logits("googlenet", backend, path, x) - expected).max() < 1e-12
    bare = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False, transform_input=True)
    bare.load_state_dict(torch.load(paths[3], weights_only=True))
    assert np.array_equal(bare.double().eval()(torch.from_numpy(x)).detach().numpy(), expected)


@pytest.mark.quick
def test_names_that_are_not_canonical() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50'"):
        zoo.convert("resnet5", "random:7", "x.pth")
