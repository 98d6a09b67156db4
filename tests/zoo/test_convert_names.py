"""Names and shapes of the canonical networks, known without a framework, against the frameworks' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit import backend as contract
from vizkit.zoo import formats, naming
from vizkit.zoo import weights as loading
from vizkit.zoo.architecture import parameter_shapes
from vizkit.zoo.catalog import CATALOG

ZOO = [model for model, entry in CATALOG.items() if entry.gluon_name]


@pytest.fixture
def vision() -> Any:
    if "gluon" not in INSTALLED:
        pytest.skip("Gluon's own zoo is what the names are of")
    contract.get("gluon")
    from mxnet.gluon.model_zoo import vision

    return vision


@pytest.mark.parametrize("model", [model for model in CATALOG if model != "shapes"])
def test_shapes_and_order_are_torchvisions(model: str) -> None:
    torch = pytest.importorskip("torch", reason="compares with torchvision's own modules")
    import torchvision

    options = {"aux_logits": False, "init_weights": False} if model == "googlenet" else {}
    with torch.device("meta"):
        state = torchvision.models.get_model(model, weights=None, **options).state_dict()
    expected = [(name, tuple(value.shape)) for name, value in state.items() if not name.endswith("batches_tracked")]
    assert list(parameter_shapes(model).items()) == expected


@pytest.mark.quick
def test_shapes_of_the_bundled_network() -> None:
    found = loading.bundled("shapes").arrays
    assert {name: value.shape for name, value in found.items()} == parameter_shapes("shapes")


@pytest.mark.quick
@pytest.mark.parametrize("model", ZOO)
def test_names_are_those_of_gluons_zoo(model: str, vision: Any) -> None:
    """Each parameter's name now and before MXNet 1.3, of the same parameter."""
    native = vision.get_model(CATALOG[model].gluon_name)
    own = native._collect_params_with_prefix()
    everything = [*parameter_shapes(model), *naming.bias_norms(model)]
    to_gluon = naming.gluon(model, {name: name for name in everything})
    assert set(to_gluon) == set(own)
    by_name = {parameter.name: to_gluon[path] for path, parameter in own.items()}
    older = {name.removeprefix(native.prefix): canonical for name, canonical in by_name.items()}
    for names in (to_gluon, older, by_name):
        assert naming.canonical(model, names) == {name: name for name in everything}
    assert naming.canonical(model, {"more": 1, "features.99.weight": 2}) == {"more": 1, "features.99.weight": 2}


@pytest.mark.quick
@pytest.mark.parametrize("model", ZOO)
def test_a_files_names_are_those_of_the_network_that_is_computed_with(model: str, vision: Any) -> None:
    """Which has no biases where batch norms follow."""
    from vizkit_gluon import networks

    computed = networks.parameter_paths(*networks.build(model))
    assert computed.keys() == parameter_shapes(model).keys()
    assert {own: name for name, own in computed.items()} == naming.gluon(model, {name: name for name in computed})


def test_files_of_before_mxnet_1_3(vision: Any, tmp_path: Path) -> None:
    """What ``save_params`` wrote, as MXNet's store has the SqueezeNets, and what ``export`` writes."""
    import mxnet as mx

    native = vision.squeezenet1_1()
    native.initialize(mx.init.Xavier())
    native.hybridize()
    native(mx.nd.zeros((1, 3, 224, 224)))
    native.save_parameters(str(tmp_path / "now.params"))
    native.collect_params().save(str(tmp_path / "then.params"), strip_prefix=native.prefix)
    native.export(str(tmp_path / "graph"))
    expected = None
    for file in ("now.params", "then.params", "graph-0000.params"):
        assert any("." in name for name in formats.read(tmp_path / file).params) == (file == "now.params")
        for backend in INSTALLED:
            digest = vizkit.load("squeezenet1_1", backend=backend, weights=str(tmp_path / file)).sha256()
            assert digest == (expected := expected or digest)
    own = native.features[0].weight.data().asnumpy()
    assert np.array_equal(loading.from_file("squeezenet1_1", tmp_path / "then.params").arrays["features.0.weight"], own)
