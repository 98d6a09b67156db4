"""Receptive fields: published values, perturbation of pixels, and effective fields worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, call
from kits.photos import smaller

import vizkit
from vizkit import images, results
from vizkit.errors import SettingError, UnknownNameError
from vizkit.techniques.network.receptive import fields

SPEC: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch's networks")
gluon_only = pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's networks")


def size_of(model: Any, layer: str) -> tuple[int, int] | None:
    graph = model.graph()
    return fields(graph)[graph.layers[layer]].size


@torch_only
@pytest.mark.parametrize(("depth", "size"), [(50, 483), (101, 1027), (152, 1507)])
def test_published_resnet_v1(depth: int, size: int) -> None:
    """Araujo, Norris & Sim 2019, resnet_v1 as TF-Slim has it: the stride lies in the last block of a stage."""
    import torch
    import torchvision
    from torch import nn

    with torch.device("meta"):
        network = torchvision.models.get_model(f"resnet{depth}")
    for stage in (1, 2, 3):
        first, last = getattr(network, f"layer{stage + 1}")[0], getattr(network, f"layer{stage}")[-1]
        first.conv2.stride = first.downsample[0].stride = (1, 1)
        last.conv2.stride, last.downsample = (2, 2), nn.MaxPool2d(1, 2)
    network = network.to_empty(device="cpu").eval()
    model = vizkit.wrap(network, input_size=64, **SPEC)
    assert size_of(model, "layer4") == (size, size)


@torch_only
def test_published_vgg_alexnet_and_inception() -> None:
    """The same table: alexnet_v2 195, vgg_16 212 (and 196 before its last pool), inception_v3 1311."""
    import torch
    from torchvision import models

    with torch.device("meta"):
        networks = {
            "vgg16": models.vgg.make_layers(models.vgg.cfgs["D"], False),
            "alexnet": models.alexnet().features,
            "inception_v3": models.inception_v3(init_weights=False, aux_logits=False),
        }
    wrapped = {
        name: vizkit.wrap(network.to_empty(device="cpu").eval(), input_size=side, **SPEC)
        for (name, network), side in zip(networks.items(), (64, 128, 112), strict=True)
    }
    assert size_of(wrapped["vgg16"], "28") == (196, 196)
    assert size_of(wrapped["vgg16"], "30") == (212, 212)
    assert size_of(wrapped["alexnet"], "12") == (195, 195)
    assert size_of(wrapped["inception_v3"], "Mixed_7c") == (1311, 1311)


@gluon_only
def test_published_mobilenet() -> None:
    """The same table: mobilenet_v1 315."""
    from vizkit import backend

    backend.get("gluon")
    import mxnet as mx
    from mxnet.gluon.model_zoo import vision

    network = vision.get_model("mobilenet1.0")
    network.initialize(mx.init.Xavier())
    model = vizkit.wrap(network, input_size=64, **SPEC)
    assert size_of(model, "features.80") == (315, 315)


CHANGED = 1e-6
"""Of the largest activation: what a change at the border must bring at least."""


def changes(model: Any, layer: str, at: tuple[int, int], rng: Any) -> tuple[float, list[float], float]:
    """Largest changes of the unit at ``at`` when noise replaces all pixels outside its field, and those of each side of
    its border, the better of two draws; and its largest activation."""
    graph = model.graph()
    field = fields(graph)[graph.layers[layer]]
    height, width = model.spec.size
    top, left, bottom, right = field.box(*at, (height, width))
    assert 0 < top < bottom < height
    assert 0 < left < right < width
    base = rng.normal(size=(1, model.spec.channels, height, width))
    inside = np.zeros((height, width), dtype=bool)
    inside[top:bottom, left:right] = True
    sides = [np.zeros((height, width), dtype=bool) for _ in range(4)]
    sides[0][top, left:right] = sides[1][bottom - 1, left:right] = True
    sides[2][top:bottom, left] = sides[3][top:bottom, right - 1] = True

    def unit(x: Any) -> Any:
        out = model.ops.numpy(model.forward(model.ops.asarray(x), (layer,))[layer])
        return out[0, :, at[0], at[1]]

    before = unit(base)

    def change(where: Any) -> float:
        noise = rng.normal(0, 20, size=base.shape)
        return float(np.abs(unit(np.where(where, noise, base)) - before).max())

    return change(~inside), [max(change(side) for _ in range(2)) for side in sides], float(np.abs(before).max())


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("squeezenet1_1", "features.7"),
        ("googlenet", "inception3a"),
        ("resnet18", "layer2.0"),
        ("shapes", "features.13"),
    ],
)
def test_pixels_outside_change_nothing_and_the_border_does(name: str, network: str, layer: str, rng: Any) -> None:
    model = smaller(name, network, 96, "random:7")
    shape = model.layers[layer].shape
    outside, border, level = changes(model, layer, (shape[2] // 2, shape[3] // 2 - 1), rng)
    assert outside <= 1e-13 * level
    assert min(border) > CHANGED * level


@pytest.mark.quick
@torch_only
@pytest.mark.filterwarnings("ignore:Using padding")
def test_odd_operations_by_perturbation(rng: Any) -> None:
    """Dilation, even kernels, uneven padding and "same", transposed convolutions, strides that differ by axis."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), stride=(1, 2), dilation=(2, 1), padding="valid"),
        nn.ZeroPad2d((1, 0, 2, 1)),
        nn.Conv2d(4, 4, 4, padding="same"),
        nn.AvgPool2d((2, 3), stride=2),
        nn.ConvTranspose2d(4, 4, 3, stride=1, padding=1),
        nn.Conv2d(4, 2, 1),
    ).double()
    model = vizkit.wrap(network, input_size=(48, 60), **SPEC)
    outside, border, level = changes(model, "5", (8, 6), rng)
    assert outside <= 1e-13 * level
    assert min(border) > CHANGED * level
    wide = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveAvgPool2d(7), nn.Conv2d(4, 2, 1)
    ).double()
    model = vizkit.wrap(wide, input_size=(30, 30), **SPEC)
    assert changes(model, "3", (3, 3), rng)[0] == 0


@pytest.mark.quick
def test_effective_fields_by_hand(kit: Any, name: str) -> None:
    """Two 3x3 convolutions of ones see each pixel as often as paths lead to it: 1 2 3 2 1, both ways."""
    layers = [("conv", 1, 1, 3, 1), ("conv", 1, 1, 3, 1)]
    model = vizkit.wrap(kit.sequential(layers), input_size=(9, 9), mean=(0.5,), std=(0.5,), name="ones")
    model = model.with_parameters({"0.weight": np.ones((1, 1, 3, 3)), "1.weight": np.ones((1, 1, 3, 3))})
    found = vizkit.receptive_field(model, images.noise(size=9), ["0", "1"], fit="squash")
    expected = np.zeros((9, 9))
    expected[2:7, 2:7] = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 9
    np.testing.assert_allclose(found.values[1], expected, atol=1e-15)
    assert found.values[0].sum() == 9
    assert found.boxes == ((3, 3, 6, 6), (2, 2, 7, 7))
    assert found.sizes == (3, 5)
    assert "5 x 5" in found.table()


def test_effective_lies_within_theoretical(name: str) -> None:
    """At every layer: nothing outside the frame, and the deeper field is larger."""
    model = vizkit.load("shapes", backend=name)
    found = vizkit.receptive_field(model, images.noise(size=96), noise=4, fit="squash")
    assert found.layers[0] == "features.2"
    for values, (top, left, bottom, right) in zip(found.values, found.boxes, strict=True):
        inside = values[top:bottom, left:right]
        assert values.max() == inside.max() == 1
        assert inside.sum() == pytest.approx(values.sum(), rel=1e-12)
    assert list(found.sizes) == sorted(found.sizes)
    every = vizkit.receptive_field(model, images.noise(size=96), "all", noise=1, fit="squash")
    assert every.layers == tuple(model.layers)
    assert every.theoretical[-1].text() == "whole image"
    assert every.boxes[-1] == (0, 0, 96, 96)


@pytest.mark.quick
def test_a_field_at_a_place(name: str) -> None:
    model = vizkit.load("shapes", backend=name)
    found = vizkit.receptive_field(model, None, ["features.9", "features.3"], unit=3, at=(0, 40), noise=2)
    assert found.units == ((0, 40), (0, 40))
    for values, (top, left, bottom, right) in zip(found.values, found.boxes, strict=True):
        outside = values.copy()
        outside[top:bottom, left:right] = 0
        assert values.max() == 1
        assert not outside.any()
    assert found.boxes[1] == (0, 79, 3, 83)
    assert "row 0, column 40" in found.figure().get_suptitle()
    with pytest.raises(SettingError, match="columns 0 to 47"):
        vizkit.receptive_field(model, None, "features.9", at=(0, 48))


@pytest.mark.quick
def test_the_middle_is_recorded_as_asked(name: str) -> None:
    """What the provenance says gives the same fields once more: each layer's middle, and not the last layer's."""
    model = vizkit.load("shapes", backend=name)
    found = vizkit.receptive_field(model, None, ["features.2", "features.23"], noise=1)
    settings = found.provenance["settings"]
    assert settings["at"] is None
    assert "the middle unit" in found.figure().get_suptitle()
    again = vizkit.receptive_field(model, None, **settings)
    assert (again.boxes, again.units) == (found.boxes, found.units)
    np.testing.assert_array_equal(again.values, found.values)


@both()
def test_effective_fields_are_equal_in_both_backends() -> None:
    one, other = (
        vizkit.receptive_field(smaller(name, "squeezenet1_1", 96, "random:7"), noise=2, layer="features.7")
        for name in ("torch", "gluon")
    )
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)
    assert one.boxes == other.boxes


@pytest.mark.quick
def test_bad_requests(name: str) -> None:
    model = vizkit.load("shapes", backend=name)
    with pytest.raises(SettingError, match="noise=-1"):
        vizkit.receptive_field(model, noise=-1)
    with pytest.raises(UnknownNameError, match=r"features\.2"):
        vizkit.receptive_field(model, layer="features.22222")
    with pytest.raises(SettingError, match="there is no 99"):
        vizkit.receptive_field(model, layer="features.0", unit=99)


def test_the_command(capsys: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("receptive", "-m", "squeezenet1_1", "-w", "random:7", "-l", "features.5", "-l", "features.7")
    code, out, err = call(capsys, *arguments, "--noise", "1", "-o", "r.png")
    assert code == 0, err
    assert "31 x 31" in out
    assert results.read_provenance(tmp_path / "r.png")["settings"]["layer"] == ["features.5", "features.7"]
