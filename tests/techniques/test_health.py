"""Health: against counts over all activations at once, and with faults planted in a network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import TRAPS, TRAPS_SIZE
from kits.photos import smaller

import vizkit
from vizkit import images
from vizkit.errors import SettingError
from vizkit.results.health import COLUMNS
from vizkit.zoo import shapes

PIXELS = np.random.default_rng(8).integers(0, 256, (17, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)


def small(kit: Any) -> Any:
    return vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=[0.5] * 3, std=[0.25] * 3)


def maps(model: Any, layer: str) -> Any:
    """All activations of a layer, (C, values)."""
    x = images.prepare(list(PIXELS), model.spec, fit="squash").tensor
    found = model.ops.numpy(model.forward(model.ops.asarray(x), (layer,))[layer])
    return np.moveaxis(found, 1, 0).reshape(found.shape[1], -1)


@pytest.mark.parametrize("batch_size", [1, 4, 17])
def test_against_all_activations_at_once(kit: Any, batch_size: int) -> None:
    model = small(kit)
    wanted = ["1", "7", "11"]
    found = vizkit.health(model, PIXELS, wanted, threshold=0.02, fit="squash", batch_size=batch_size)
    assert [layer.rectified for layer in found.layers] == [False, True, True]
    for layer in found.layers:
        values = maps(model, layer.name)
        np.testing.assert_allclose(layer.zeros, (values == 0).mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(layer.positive, (values > 0).mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(layer.mean, values.mean(axis=1), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.high, values.max(axis=1), rtol=1e-12)
        top = (values == values.max(axis=1, keepdims=True)).sum(axis=1)
        np.testing.assert_allclose(layer.at_maximum, (top - 1) / values.shape[1], rtol=1e-12)
        np.testing.assert_allclose(layer.low, values.min(axis=1), rtol=1e-12)
        grid = values
        if layer.name == "1":  # 16 by 16: every second row and column
            grid = values.reshape(len(values), len(PIXELS), 16, 16)[:, :, ::2, ::2].reshape(len(values), -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = np.nan_to_num(np.corrcoef(grid))
        pairs = {(a, b) for a, b in np.argwhere(np.triu(expected, 1) >= 0.02)}
        assert {tuple(pair) for pair in layer.pairs} == pairs
        strengths = [expected[a, b] for a, b in layer.pairs]
        np.testing.assert_allclose(layer.correlation, strengths, rtol=1e-9)
        assert strengths == sorted(strengths, reverse=True)
    assert len(found.layers[1].pairs) > 0


@pytest.mark.quick
def test_planted_faults(kit: Any) -> None:
    """Unit 0 dies, unit 1 is always on, unit 4 copies unit 2 three times as strong."""
    model = small(kit)
    weight, bias = model.parameter("5.weight"), model.parameter("5.bias")
    norm = {key: model.parameter(key) for key in model.parameter_shapes() if key.startswith("6.")}
    scale, shift = ("6.gamma", "6.beta") if "6.gamma" in norm else ("6.weight", "6.bias")
    weight[4], bias[4] = weight[2], bias[2]
    for one in norm.values():
        one[4] = one[2]
    norm[scale][4] *= 3
    norm[shift][:] = 0.1
    norm[shift][4] = 0.3
    norm[shift][0], norm[shift][1] = -1000, 1000
    sick = model.with_parameters({"5.weight": weight, "5.bias": bias} | norm)
    before, after = (vizkit.health(one, PIXELS, ["7"], fit="squash").layers[0] for one in (model, sick))
    assert not before.dead.any()
    assert not before.duplicated.any()
    assert np.flatnonzero(after.dead).tolist() == [0]
    assert np.flatnonzero(after.always_on).tolist() == [1]
    assert np.flatnonzero(after.duplicated).tolist() == [2, 4]
    assert after.correlation[0] == pytest.approx(1, abs=1e-9)


@pytest.mark.quick
def test_saturated_units(kit: Any) -> None:
    """A unit that stands at its maximum at a quarter of all positions, seen in batches in which the maximum grows."""
    from vizkit.techniques.features.tally import Tally

    rng = np.random.default_rng(0)
    values = rng.random((40, 3, 4, 4))
    values[:, 1] = np.minimum(values[:, 1], 0.75)
    values[:5, 1] *= 0.5  # nobody reaches the maximum at first
    tally = Tally(3)
    for part in np.split(values, 8):
        tally.add(part)
    flat = np.moveaxis(values, 1, 0).reshape(3, -1)
    np.testing.assert_array_equal(tally.at, (flat == flat.max(axis=1, keepdims=True)).sum(axis=1))
    assert tally.at[1] / tally.count > 0.2
    assert tally.at[0] == 1


@both()
def test_backends_look_at_the_same_layers() -> None:
    """Containers and branches have other kinds in each framework; the graph tells what repeats what."""
    drawn = shapes.sample(2, seed=3).images
    torch, gluon = (
        vizkit.health(smaller(name, "squeezenet1_1", 64, "random:7", "float32"), drawn) for name in ("torch", "gluon")
    )
    names = [layer.name for layer in torch.layers]
    assert names == [layer.name for layer in gluon.layers]
    assert "features.3" in names
    assert not {"features", "features.2", "classifier.0", "classifier.3"} & set(names)


@both()
def test_backends_agree() -> None:
    drawn = shapes.sample(36, seed=3).images
    a, b = (vizkit.health(vizkit.load("shapes", backend=name, dtype="float64"), drawn) for name in ("torch", "gluon"))
    assert [layer.name for layer in a.layers] == [layer.name for layer in b.layers]
    np.testing.assert_allclose(a.values, b.values, rtol=1e-8, atol=1e-12)
    for one, other in zip(a.layers, b.layers, strict=True):
        np.testing.assert_array_equal(one.pairs, other.pairs)
        np.testing.assert_allclose(one.correlation, other.correlation, rtol=1e-8)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-8, atol=1e-10)


def test_table_csv_and_state(kit: Any, tmp_path: Path) -> None:
    model, state = small(kit), tmp_path / "state"
    found = vizkit.health(model, PIXELS, threshold=0.2, fit="squash", state=state)
    again = vizkit.health(model, PIXELS, threshold=0.2, fit="squash", state=state)
    np.testing.assert_array_equal(found.values, again.values)
    names = [layer.name for layer in found.layers]
    assert "3" not in names  # the pool
    assert "7" in names
    with found.save(tmp_path / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["layer"] for row in rows] == names
    row = rows[names.index("7")]
    layer = found.layers[names.index("7")]
    assert float(row["zeros"]) == pytest.approx(layer.zeros.mean(), abs=1e-6)
    assert len(row["near_duplicate_pairs"].split()) == len(layer.pairs)
    assert [line.split()[0] for line in found.table().splitlines()[1:]] == names
    with pytest.raises(SettingError, match="threshold=2"):
        vizkit.health(model, PIXELS, threshold=2)


def test_layers_are_marks_and_no_line_joins_them(kit: Any) -> None:
    """Side by side in a network they are no curve; those that are not rectified cannot be always on, and are pale."""
    found = vizkit.health(small(kit), PIXELS, fit="squash")
    rectified = np.array([layer.rectified for layer in found.layers])
    figure = found.figure()
    assert len(figure.axes) == len(COLUMNS)
    for column, axes in zip(COLUMNS, figure.axes, strict=True):  # an axis each: none hides another's marks
        line, dots = axes.lines
        assert (line.get_linestyle(), dots.get_linestyle()) == ("None", "None")
        assert (line.get_alpha(), dots.get_alpha()) == (None, 0.3)
        for drawn, which in ((line, rectified), (dots, ~rectified)):
            np.testing.assert_array_equal(drawn.get_xdata(), np.flatnonzero(which))
            np.testing.assert_array_equal(drawn.get_ydata(), found.column(column)[which])
        assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1]
