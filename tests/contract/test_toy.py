"""The toy backend in NumPy: it meets the contract from outside, and techniques run on it as on any other."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import kit as kit_of
from kits import toy

import vizkit
from vizkit import VizkitError, images
from vizkit.backend import bilinear_matrix
from vizkit.reports.doctor import reference
from vizkit.testing import ContractTests, Kit, case

KINDS = {"dense": "linear", "batch_norm": "norm"}
CHAIN = [("conv", 3, 6, 3, 1), ("relu",), ("pool",), ("conv", 6, 8, 3, 1), ("relu",), ("flatten",), ("dense", 512, 5)]
SIDE = 16
SPEC: dict[str, Any] = {"input_size": SIDE, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}


class ToyKit(Kit):
    """Networks of tinynet."""

    backend = "numpy"

    def build(self, parts: Any, dtype: str) -> Any:
        tinynet = importlib.import_module("tinynet")
        layers = [(KINDS.get(part.kind, part.kind), dict(part.settings)) for part in parts]
        arrays = {f"{i}.{name}": value for i, part in enumerate(parts) for name, value in part.arrays.items()}
        return tinynet.Network(layers, {name: value.astype(dtype) for name, value in arrays.items()})

    def snapshot(self, native: Any) -> Any:
        return copy.deepcopy(native.layers), {name: value.tolist() for name, value in native.parameters.items()}

    def write(self, native: Any, name: str, values: Any) -> None:
        native.parameters[name][:] = values


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toy, as pip would install it: on the path, with the entry point that registers it; for this file alone."""
    with toy.installed(tmp_path_factory.mktemp("site")):
        yield


@pytest.fixture
def kit() -> Kit:
    return ToyKit()


class TestContract(ContractTests):
    """The required part; what is optional is skipped."""


@pytest.fixture
def pair() -> tuple[Any, Any]:
    """One network in the toy and in PyTorch, float64."""
    if "torch" not in INSTALLED:
        pytest.skip("PyTorch is the oracle")
    ours, theirs = (vizkit.wrap(one.sequential(CHAIN, dtype="float64"), **SPEC) for one in (ToyKit(), kit_of("torch")))
    return ours, theirs


def far(ours: Any, theirs: Any) -> float:
    """The largest difference, as a part of the largest value."""
    assert ours.shape == theirs.shape
    assert np.ptp(theirs) > 0
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


PICTURE = vizkit.images.noise(0, 255, size=SIDE, seed=3)
TECHNIQUES: dict[str, Callable[[Any], Any]] = {
    "saliency": lambda model: vizkit.saliency(model, PICTURE, target=2),
    "smoothgrad": lambda model: vizkit.smoothgrad(model, PICTURE, target=2, samples=4),
    "gradcam": lambda model: vizkit.gradcam(model, PICTURE, layer="4", target=2),
    "feature_maps": lambda model: vizkit.feature_maps(model, PICTURE, "4"),
    "occlusion": lambda model: vizkit.occlusion(model, PICTURE, target=2, window=5, stride=4),
    "filters": lambda model: vizkit.filters(model, "0"),
    "dream": lambda model: vizkit.dream(model, "4", [1, 3], stages=2, steps=4, size=SIDE),
}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_techniques_give_what_pytorch_gives(pair: tuple[Any, Any], technique: str) -> None:
    """To 1e-11 of the largest value, a dream of eight steps, too."""
    ours, theirs = (TECHNIQUES[technique](model).values for model in pair)
    assert far(ours, theirs) <= 1e-11


@pytest.mark.quick
def test_saliency_by_central_differences(kit: Kit) -> None:
    model, truth = vizkit.wrap(kit.sequential(CHAIN), **SPEC), case(CHAIN)
    batch = images.prepare(PICTURE, model.spec)
    expected = np.abs(reference.gradient(truth, batch.tensor, np.eye(5)[[2]])).max(axis=1)
    assert far(vizkit.saliency(model, PICTURE, target=2).values, expected) <= 1e-7


@pytest.mark.quick
def test_gradcam_by_hand(kit: Kit) -> None:
    """With the mean gradient of a dense layer: its weights', over the places of each channel."""
    model, truth = vizkit.wrap(kit.sequential(CHAIN), **SPEC), case(CHAIN)
    batch = images.prepare(PICTURE, model.spec)
    maps = reference.forward(replace(truth, parts=truth.parts[:5]), batch.tensor)
    weights = truth.parts[-1].arrays["weight"][2].reshape(8, 64).mean(axis=1)
    small = np.maximum(np.einsum("c,ncij->nij", weights, maps), 0)
    rows = bilinear_matrix(8, SIDE)
    assert far(vizkit.gradcam(model, PICTURE, layer="4", target=2).values, rows @ small @ rows.T) <= 1e-12


@pytest.mark.quick
def test_average_pools(kit: Kit) -> None:
    """A layer that the suite's networks do not have."""
    tinynet = importlib.import_module("tinynet")
    native = tinynet.Network([("avg_pool", {"size": 2}), ("flatten", {})], {"x": np.zeros(1)})
    model = vizkit.wrap(native, input_size=4, mean=(0.5,) * 3, std=(0.25,) * 3)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    found = model.ops.numpy(model.forward(model.ops.asarray(x))["output"])
    np.testing.assert_allclose(found, x.reshape(2, 3, 2, 2, 2, 2).mean(axis=(3, 5)).reshape(2, 12), rtol=1e-14)


@pytest.mark.quick
def test_what_it_goes_without_is_told(kit: Kit) -> None:
    """A user who asks for an optional part learns that the backend has none."""
    model = vizkit.wrap(kit.sequential(CHAIN), **SPEC)
    asked = {
        "graph": lambda: vizkit.receptive_field(model, layer="4"),
        "none that numpy shows": lambda: vizkit.guided_backprop(model, PICTURE),
        "does not train": lambda: vizkit.saliency(model, PICTURE, mode="published"),
        "does not show what the layers": lambda: vizkit.full_gradient(model, PICTURE),
        "brings no probes": lambda: kit.framework().probe(case(CHAIN), "cpu", "float32"),
        "a picture alone": lambda: vizkit.wrap(kit.sequential(CHAIN), output=0, **SPEC),
    }
    for message, ask in asked.items():
        with pytest.raises(VizkitError, match=message):
            ask()


@pytest.mark.quick
def test_the_toy_is_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in toy.TOY.rglob("*.py")) < 300


def test_a_wrong_backend_fails(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite can tell: a slope, a layer, a mode and a leak that are wrong fail, and say what is required."""
    tape = importlib.import_module("vizkit_numpy.tape")
    model = importlib.import_module("vizkit_numpy.model").NumpyModel
    suite, own = ContractTests(), model._layer

    def mixed(self: Any, i: int, x: Any) -> Any:
        """Batch norm on the batch's mean, which mixes pictures."""
        return own(self, i, x - x.value.mean(0) if self.native.layers[i][0] == "norm" else x)

    def written(self: Any, i: int, x: Any) -> Any:
        """A pass that counts itself."""
        self.native.layers[i][1]["runs"] = self.native.layers[i][1].get("runs", 0) + 1
        return own(self, i, x)

    with monkeypatch.context() as broken:
        broken.setitem(tape.SLOPES, np.maximum, (lambda a, b: a >= b - 0.8, lambda a, b: a < b))
        with pytest.raises(pytest.fail.Exception, match=r"Ops requires: Each function"):
            suite.test_function(kit=kit, which="relu")
        with pytest.raises(pytest.fail.Exception, match=r"gradient at"):
            suite.test_layers_and_gradients_are_the_references(kit=kit, dtype="float64")
    for wrong, test in (
        (mixed, suite.test_batch_equals_one_by_one),
        (written, suite.test_a_fault_inside_the_network_leaks_nothing),
    ):
        test(kit=kit)
        with monkeypatch.context() as broken:
            broken.setattr(model, "_layer", wrong)
            with pytest.raises(pytest.fail.Exception, match=r"Model.forward requires: A"):
                test(kit=kit)
    complete = ToyKit()
    complete.complete = True
    with pytest.raises(pytest.skip.Exception, match=r"Model\.graph is optional, and numpy goes without"):
        suite.test_graph(kit=kit)
    with pytest.raises(pytest.fail.Exception, match=r"Model\.graph requires"):
        suite.test_graph(kit=complete)
