"""Every layer of every canonical network, by value: a name means the same in both frameworks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits.drawn import drawn

import vizkit
from vizkit.zoo import weights
from vizkit.zoo.architecture import parameter_shapes
from vizkit.zoo.catalog import CATALOG
from vizkit.zoo.names import gluon_paths

SIDE, ANY_SIZE = 64, ("resnet", "googlenet", "shapes")
"""Of the picture, for networks that take any; others take their own."""
UNSEEN = {"avgpool"}
"""What torchvision's networks have as a layer, and some of Gluon's do without."""
TOLERANCE = 1e-5
"""Of float32, as a share of a layer's largest value; the worst of 1400 layers was 2e-6."""


def loaded(network: str, backend: str) -> Any:
    model = vizkit.load(network, backend=backend, weights="random:7")
    if network.startswith(ANY_SIZE):
        model.spec = replace(model.spec, size=(SIDE, SIDE), resize=SIDE)
    return model


@both()
@pytest.mark.full_size
@pytest.mark.parametrize("network", CATALOG)
def test_every_layer_is_the_same_in_both_frameworks(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = drawn(parameter_shapes(network))
    monkeypatch.setattr(weights, "draw", lambda shapes, seed: given)
    models = [loaded(network, backend) for backend in ("torch", "gluon")]
    torch, gluon = (list(model.layers) for model in models)
    assert [name for name in torch if name in gluon] == gluon
    assert set(torch) - set(gluon) <= UNSEEN
    if CATALOG[network].gluon_name:
        assert set(gluon_paths(network)) == set(gluon), "a path in zoo/names.py leads nowhere"
    x = np.random.default_rng(0).normal(size=(1, *models[0].spec.shape)).astype(np.float32)
    found = [model.forward(model.ops.asarray(x), tuple(gluon)) for model in models]
    wrong = {}
    for name in gluon:
        ours, theirs = (model.ops.numpy(kept[name]) for model, kept in zip(models, found, strict=True))
        assert ours.shape == theirs.shape == models[0].layers[name].shape == models[1].layers[name].shape, name
        assert np.ptp(theirs) > 0, f"{name} is flat, which proves nothing"
        difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
        if difference > TOLERANCE:
            wrong[name] = float(difference)
    assert not wrong, "in Gluon these names mean another value; see zoo/names.py"
