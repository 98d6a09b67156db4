"""Every network that `vizkit models` lists: the smallest of each kind with values, all of them without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.techniques.cam.combining import choose_layer
from vizkit.zoo.architecture import parameter_shapes
from vizkit.zoo.catalog import CATALOG

SMALLEST = {
    "torch": (
        "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
        "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18",
        "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vit_b_32",
    ),
    "gluon": (
        "alexnet", "densenet121", "googlenet", "inceptionv3", "mobilenet0.25", "mobilenetv2_0.25", "resnet18",
        "resnet18_v2", "squeezenet1_0",
    ),
}  # fmt: skip
"""All but the VGGs, whose like with values are ``shapes``, a small one, and VGG19 in ``test_full_size``."""
BUILT_ALIKE = {
    "torch": (
        "alexnet", "convnext", "densenet", "efficientnet_b", "efficientnet_v2", "googlenet", "inception", "maxvit",
        "mnasnet", "mobilenet_v2", "mobilenet_v3", "regnet_x", "regnet_y", "resnet", "resnext", "shufflenet",
        "squeezenet", "swin_v2", "swin", "vgg", "vit", "wide_resnet", "shapes",
    ),
    "gluon": (
        "alexnet", "densenet", "googlenet", "inception", "mobilenetv2", "mobilenet", "resnet", "squeezenet", "vgg",
        "shapes",
    ),
}  # fmt: skip
SIDE = 96
"""Of the pictures, for networks that take any."""
ANY_SIZE = {
    "torch": tuple(one for one in BUILT_ALIKE["torch"] if one not in ("vit", "maxvit")),
    "gluon": ("mobilenet", "resnet"),
}
WITH_VALUES = [(backend, one) for backend in INSTALLED for one in SMALLEST[backend]]


@pytest.mark.parametrize(("backend", "network"), WITH_VALUES)
def test_the_smallest_of_each_kind(backend: str, network: str) -> None:
    model = vizkit.load(network, backend=backend, weights="random:1")
    if network.startswith(ANY_SIZE[backend]):
        model.spec = replace(model.spec, size=(SIDE, SIDE), resize=SIDE)
    picture = vizkit.images.sample()
    predicted = model.predict(picture, top=1000)
    assert sum(one.probability for one in predicted) == pytest.approx(1, abs=1e-4)
    spread = np.std([one.logit for one in predicted])
    assert spread > 0
    if network in CATALOG:
        assert model.parameter_shapes() == parameter_shapes(network)
        assert 0.3 < spread < 30, "random weights are ill conditioned"
        assert np.unique(np.round([one.logit for one in predicted], 4)).size > 300
    assert len(model.layers) > 5
    saliency = vizkit.saliency(model, picture)
    assert saliency.targets == (predicted[0].index,)
    assert np.isfinite(saliency.values).all()
    assert np.ptp(saliency.values) > 0
    cam = vizkit.gradcam(model, picture, relu=False)
    assert cam.extra["cam"][0].size > 1
    assert np.ptp(cam.values) > 0


@pytest.mark.quick
@pytest.mark.parametrize("backend", INSTALLED)
def test_every_network_is_of_one_of_these_kinds(backend: str) -> None:
    others = [one for one in vizkit.models(backend) if not one.startswith(BUILT_ALIKE[backend])]
    assert not others


TORCH = [one for one in vizkit.models("torch") if one != "shapes"] if "torch" in INSTALLED else []


@pytest.mark.cpu
@pytest.mark.parametrize("network", [one for one in TORCH if one not in SMALLEST["torch"]])
def test_every_network_of_torchvision_is_seen(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On tensors without values, at full size."""
    from kits import blind

    blind.install(monkeypatch)
    model: Any = blind.on_gpu(network)
    assert model.output_shape == (1, 1000)
    if network.startswith("vit"):
        assert model.layers["encoder"].shape[1] == (model.spec.size[0] // int(network.rpartition("_")[2])) ** 2 + 1
    else:
        name, grid = choose_layer(model, None)
        assert grid.positions > 1
        assert model.layers[name].shape[1 if grid.channels == model.layers[name].shape[1] else -1] == grid.channels


GLUON = [one for one in vizkit.models("gluon") if one != "shapes"] if "gluon" in INSTALLED else []


@pytest.mark.parametrize("network", [one for one in GLUON if one not in SMALLEST["gluon"]])
def test_every_network_of_gluons_zoo_is_seen(network: str) -> None:
    """Its layers and their shapes; nothing is computed, and its parameters have no values."""
    from kits.gluon import without_values

    model = without_values(network)
    name, grid = choose_layer(model, None)
    assert model.output_shape == (1, 1000)
    assert grid.positions > 1
    assert model.layers[name].shape[1] == grid.channels
