"""The parts of a value add up to what the framework computed, and are those of a sum made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits.orders import ORDERS, SIDE, WIDTH, network

import vizkit
from vizkit.errors import SettingError, UnknownNameError
from vizkit.explore.engine import Engine
from vizkit.explore.protocol import View, unpack
from vizkit.explore.sums import sum_at

EXACT = 2e-6
"""A share of the parts' sizes; measured: at most 3.6e-7 in float32."""


def parts(engine: Engine, layer: str, unit: int, y: int, x: int, **more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {"picture": "0", "layer": layer, "unit": str(unit), "y": str(y), "x": str(x), **more}
    return unpack(sum_at(engine, View(given)))


@pytest.fixture(scope="module")
def shapes_of() -> Any:
    known: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in known:
            known[name] = Engine([vizkit.load("shapes", backend=name)])
        return known[name]

    return get


@pytest.fixture
def shapes(name: str, shapes_of: Any) -> Engine:
    return shapes_of(name)


def maps(engine: Engine, layer: str) -> Any:
    return engine.values(View({"picture": "0", "layer": layer}))


def everywhere(engine: Engine, seed: int, each: int = 3) -> set[str]:
    """Every layer at its first corner and at random places; gives the operations that were met."""
    rng, met = np.random.default_rng(seed), set()
    for layer in engine.models[0].layers:
        shape = maps(engine, layer).shape
        for k in range(each):
            unit, y, x = (int(rng.integers(side)) for side in shape)
            header, _ = parts(engine, layer, unit, *((y, x) if k else (0, 0)))
            assert header["operation"] != "other", (layer, header)
            assert header["deviation"] < EXACT, (layer, header)
            met.add(header["operation"])
    return met


@pytest.mark.quick
def test_every_layer_of_shapes_adds_up(shapes: Engine) -> None:
    met = everywhere(shapes, 0)
    assert {"convolution", "batch_norm", "relu", "max", "mean", "dense"} <= met


def test_every_layer_of_squeezenet_adds_up(name: str, squeezenet_weights: Path) -> None:
    engine = Engine([vizkit.load("squeezenet1_0", backend=name, weights=str(squeezenet_weights))])
    assert {"convolution", "relu", "max", "concat", "mean"} <= everywhere(engine, 1, each=2)


def test_a_block_that_adds_up_shows_its_terms(name: str) -> None:
    engine = Engine([vizkit.load("resnet18", backend=name, weights="random:3")])
    unit, y, x = (int(one) for one in np.unravel_index(maps(engine, "layer2.1").argmax(), (128, 28, 28)))
    header, _ = parts(engine, "layer2.1", unit, y, x)
    assert (header["operation"], header["then"]) == ("add", ["relu"])
    values = [maps(engine, "layer2.0")[unit, y, x], maps(engine, "layer2.1.bn2")[unit, y, x]]
    assert min(map(abs, values)) > 0
    assert sorted(one["value"] for one in header["terms"]) == pytest.approx(sorted(values), rel=1e-4)
    assert {one["from"] for one in header["terms"]} == {"layer2.0", "layer2.1.bn2"}
    assert header["result"] == pytest.approx(max(0.0, sum(values)), rel=1e-4)
    assert header["deviation"] < EXACT


@pytest.mark.quick
def test_a_convolution_is_its_products(shapes: Engine) -> None:
    model, (header, found) = shapes.models[0], parts(shapes, "features.4", 5, 0, 47)
    weight, bias = model.weight("features.4")[5], 0.0
    if "features.4.bias" in model.parameter_shapes():
        bias = float(model.parameter("features.4.bias")[5])
    around = np.pad(maps(shapes, "features.3"), ((0, 0), (1, 1), (1, 1)))[:, 0:3, 47:50]
    np.testing.assert_array_equal(found["weight"], weight)
    np.testing.assert_array_equal(found["patch"], around)
    np.testing.assert_allclose(found["product"], around * weight, rtol=1e-6)
    assert header["box"] == [-1, 46, 2, 49]
    assert (header["from"], header["channels"], header["bias"]) == ("features.3", [0, 16], bias)
    assert header["sum"] == pytest.approx(float((around.astype(float) * weight).sum()) + bias)
    assert header["value"] == maps(shapes, "features.4")[5, 0, 47]


def test_the_first_convolution_reads_the_picture(shapes: Engine) -> None:
    header, found = parts(shapes, "features.0", 2, 50, 60)
    assert header["from"] == "input"
    seen = shapes.gallery["0"].batch.tensor[0, :, 49:52, 59:62]
    np.testing.assert_array_equal(found["patch"], seen)


def test_a_pool_is_the_largest_of_its_window(shapes: Engine) -> None:
    before = maps(shapes, "features.2")
    header, found = parts(shapes, "features.3", 4, 10, 11)
    np.testing.assert_array_equal(found["patch"], before[4, 20:22, 22:24])
    y, x = header["at"]
    assert before[4, y, x] == before[4, 20:22, 22:24].max() == header["value"]
    assert found["inside"].all()


def test_a_grouped_convolution_reads_its_own_channel(name: str) -> None:
    model = vizkit.load({"gluon": "mobilenetv2_0.25"}.get(name, "mobilenet_v2"), backend=name, weights="random:0")
    layer = next(one for one in model.filter_layers() if model.weight(one).shape[1] == 1)
    header, found = parts(Engine([model]), layer, 5, 7, 9)
    assert header["channels"] == [5, 6]
    assert found["patch"].shape == (1, 3, 3)
    assert header["deviation"] < EXACT


def test_an_edited_pass_is_what_is_taken_apart(shapes: Engine) -> None:
    edits = '[{"layer":"features.3","unit":2,"mode":"off"}]'
    header, found = parts(shapes, "features.4", 5, 20, 20, edits=edits)
    assert not found["patch"][2].any()
    assert header["deviation"] < EXACT
    assert parts(shapes, "features.3", 2, 5, 5, edits=edits)[0]["operation"] == "other"


def test_a_place_outside_is_refused(shapes: Engine) -> None:
    with pytest.raises(SettingError, match="48 rows"):
        parts(shapes, "features.3", 0, 48, 0)
    with pytest.raises(UnknownNameError, match="units 0 to 15"):
        parts(shapes, "features.3", 16, 0, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_units_where_channels_come_last(name: str, order: str) -> None:
    engine, first = Engine([network(name, order)]), Engine([network(name, "NCHW")])
    layer = {one["name"]: one for one in engine.session["layers"]}["act"]
    assert (layer["units"], layer["places"], layer["maps"]) == (WIDTH, [SIDE // 2] * 2, True)
    np.testing.assert_allclose(maps(engine, "act"), maps(first, "act"), rtol=1e-6, atol=1e-9)
    header, _ = parts(engine, "act", 7, 2, 5)
    assert "sum" not in header
    assert header["value"] == pytest.approx(float(maps(first, "act")[7, 2, 5]), rel=1e-6, abs=1e-9)
