"""The page of one unit: its filter, neuron maps, histogram and votes, each against a slow and plain computation."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit import cli, images, unit
from vizkit.errors import SettingError
from vizkit.parametrisations import Fourier
from vizkit.reports.unit import build
from vizkit.results.files import write_png
from vizkit.techniques.units.histogram import BINS
from vizkit.techniques.units.votes import DIRECT
from vizkit.zoo import shapes

PIXELS = np.random.default_rng(3).integers(0, 256, (6, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)


def small(kit: Any) -> Any:
    return vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=[0.5] * 3, std=[0.25] * 3)


def activations(model: Any, x: Any, layer: str) -> Any:
    return model.ops.numpy(model.forward(model.ops.asarray(x), (layer,))[layer])


def test_the_filter_is_found_through_norm_relu_pool_and_branches(kit: Any, name: str) -> None:
    model = small(kit)
    for layer in ("5", "6", "7", "8"):
        found = unit.filter_of(model, layer, 3)
        assert (found.layer, found.channel) == ("5", 3)
        np.testing.assert_array_equal(found.weight, model.weight("5")[3])
        np.testing.assert_allclose(found.norms(), np.linalg.norm(found.weight.reshape(6, -1), axis=1), rtol=1e-6)
    assert unit.filter_of(model, "11", 7).weight.shape == (128,)
    fire = vizkit.load("squeezenet1_1", backend=name, weights="random:7")
    x = images.prepare(images.sample(), fire.spec).tensor
    kept = fire.forward(fire.ops.asarray(x), ("features.3", "features.3.expand1x1", "features.3.expand3x3"))
    whole = fire.ops.numpy(kept["features.3"])[0]
    for channel in (5, 63, 64, 100):
        found = unit.filter_of(fire, "features.3", channel)
        source = fire.ops.numpy(kept[found.layer])[0, found.channel]
        np.testing.assert_allclose(np.maximum(source, 0), whole[channel], atol=1e-6)
    resnet = vizkit.load("resnet18", backend=name, weights="random:7")
    assert unit.filter_of(resnet, "layer2.1", 0) is None


@pytest.mark.quick
def test_neuron_maps_are_the_gradient_of_one_position(kit: Any) -> None:
    """The true rule against central differences; both others are zero where nothing can pass."""
    model = small(kit)
    batch = images.prepare(list(PIXELS[:2]), model.spec, fit="squash")
    at = [(1, 2), (3, 0)]
    found = unit.neuron_maps(model, batch, "6", 4, at, rule="gradient")
    rng = np.random.default_rng(0)
    for row, (y, x) in enumerate(at):
        for _ in range(5):
            push = rng.normal(size=found[row].shape)
            ends = [
                activations(model, batch.tensor[row : row + 1].astype(np.float64) + sign * 1e-6 * push, "6")[0, 4, y, x]
                for sign in (1, -1)
            ]
            assert (found[row] * push).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8)
    guided, deconv = (unit.neuron_maps(model, batch, "6", 4, at, rule=rule) for rule in ("guided", "deconvnet"))
    assert np.abs(guided - deconv).max() > 1e-3
    assert np.abs(guided - found).max() > 1e-3
    with pytest.raises(SettingError, match="rule='sobel'"):
        unit.neuron_maps(model, batch, "6", 4, at, rule="sobel")


@pytest.mark.quick
@pytest.mark.parametrize("batches", [1, 3, 40])
def test_the_histogram_counts_exactly_in_any_order(batches: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(40, 2, 5, 5)) * np.geomspace(1e-3, 50, 40)[:, None, None, None]
    values[:, 1][rng.random((40, 5, 5)) < 0.3] = 0
    found = unit.Histogram("layer", 1)
    batch = images.prepare([PIXELS[0]], vizkit.load("shapes").spec)
    for part in np.array_split(values, batches):
        found.take([], batch, {"layer": part})
    flat = values[:, 1].ravel()
    expected = np.histogram(flat[flat != 0], bins=found.edges())[0]
    np.testing.assert_array_equal(found.counts, expected)
    assert found.counts.sum() == (flat != 0).sum()
    assert found.share_of_zero == (flat == 0).mean()
    assert found.range / 2 <= np.abs(flat).max() < found.range
    assert len(found.edges()) == 2 * BINS + 1


def test_votes_are_gradient_times_activation(kit: Any) -> None:
    """Against finite differences of each logit in the direction of the unit's map."""
    model = small(kit)
    batch = images.prepare(list(PIXELS), model.spec, fit="squash")
    found = unit.votes(model, batch, "2", 3)
    maps = np.zeros((6, *model.layers["2"].shape[1:]))
    maps[:, 3] = activations(model, batch.tensor, "2")[:, 3]
    ends = []
    for sign in (1, -1):
        add = {"2": model.ops.asarray(sign * 1e-6 * maps)}
        ends.append(model.ops.numpy(model.forward(model.ops.asarray(batch.tensor), add=add)["output"]))
    expected = ((ends[0] - ends[1]) / 2e-6).mean(axis=0)
    np.testing.assert_allclose(found.values, expected[found.classes], rtol=1e-5, atol=1e-8)
    assert sorted(found.classes) == list(range(5))
    assert (np.diff(found.values) <= 0).all()


@pytest.mark.quick
def test_before_the_classifier_votes_are_its_weights(kit: Any) -> None:
    model = small(kit)
    batch = images.prepare(list(PIXELS), model.spec, fit="squash")
    found = unit.votes(model, batch, "11", 6)
    assert found.formula == DIRECT
    np.testing.assert_array_equal(found.values, model.parameter("13.weight")[found.classes, 6])


def test_the_most_voted_of_many_classes_are_found(name: str) -> None:
    """Of 1000 classes, those chosen by differences have the greatest and the least of all gradients."""
    model = vizkit.load("squeezenet1_1", backend=name, weights="random:7", dtype="float64")
    batch = images.prepare(images.sample(), model.spec)
    found = unit.votes(model, batch, "features.11", 40, most=3)
    share = np.zeros((1, *model.layers["features.11"].shape[1:]))
    share[:, 40] = activations(model, batch.tensor, "features.11")[:, 40]
    ends = [
        model.ops.numpy(
            model.forward(model.ops.asarray(batch.tensor), add={"features.11": model.ops.asarray(s * 1e-7 * share)})[
                "output"
            ]
        )
        for s in (1, -1)
    ]
    every = ((ends[0] - ends[1]) / 2e-7)[0]
    order = np.argsort(-every)
    assert found.classes.tolist() == [*order[:3], *order[-3:]]
    np.testing.assert_allclose(found.values, every[found.classes], rtol=1e-4, atol=1e-6)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimised pictures of a few steps, at 64 pixels in place of 224."""
    monkeypatch.setattr(build, "STEPS", 3)
    monkeypatch.setattr(build, "Fourier", partial(Fourier, 64))


def test_the_page(name: str, tmp_path: Path, brief: None) -> None:
    model = vizkit.load("shapes", backend=name)
    drawn = shapes.sample(36, seed=9).images
    out = tmp_path / "page"
    page = unit.make([model], "features.6", 7, drawn, out=out, k=4, state=tmp_path / "s").read_text("utf-8")
    names = {path.name for path in out.iterdir()}
    assert names == {
        "index.html",
        *(f"{k}.png" for k in ("patches", "field", "weights", "histogram", "dream", "votes")),
    }
    best = vizkit.top_patches(model, drawn, "features.6", 7, k=4)
    assert f"highest activation is {best.values[0, 0]:.4g}" in page
    assert "Filter 7 of features.4 computes it: 16 by 3 by 3 weights." in page
    for place in best.places[0]:
        assert f"image {place}" in page
    assert not re.search(r'(src|href)="(http|//)', page)
    assert (tmp_path / "s" / "manifest.json").exists()


def test_the_page_of_a_network_without_relus_shows_the_gradient(
    name: str, kit: Any, tmp_path: Path, brief: None
) -> None:
    layers = [("conv", 3, 4, 3, 1), ("sigmoid",), ("conv", 4, 4, 3, 1), ("flatten",), ("dense", 4 * TRAPS_SIZE**2, 3)]
    model = vizkit.wrap(kit.sequential(layers), input_size=TRAPS_SIZE, mean=[0.5] * 3, std=[0.25] * 3)
    out = tmp_path / "page"
    out.mkdir()
    write_png(np.zeros((4, 4, 3), np.uint8), out / "dream-9.png", {"page": build.GENERATOR, "results": []})
    page = unit.make([model], "2", 1, list(PIXELS), out=out, k=2).read_text("utf-8")
    assert not (out / "dream-9.png").exists(), "of an earlier page"
    assert "the gradient of its response; this network has no ReLU" in page
    assert "guided" not in page
    with pytest.raises(SettingError, match="guided"):
        unit.neuron_maps(model, images.prepare(PIXELS[0], model.spec), "2", 1, [(0, 0)])
    (out / "mine.txt").write_text("x")
    with pytest.raises(SettingError, match=r"mine\.txt"):
        unit.make([model], "2", 1, list(PIXELS), out=out)


@both()
def test_the_page_of_two_backends_says_how_far_they_agree(
    tmp_path: Path, capsys: Any, monkeypatch: Any, brief: None
) -> None:
    monkeypatch.chdir(tmp_path)

    def off(model: Any, *args: Any, rule: str, **options: Any) -> Any:
        """One backend's deconvnet maps are off by a known share."""
        maps = unit.neuron_maps(model, *args, rule=rule, **options)
        return maps * (1 + 1e-4) if (model.backend, rule) == ("gluon", "deconvnet") else maps

    monkeypatch.setattr(build, "neuron_maps", off)
    arguments = ["unit", "shapes", "features.23", "11", "--samples", "12", "-k", "3", "-b", "torch", "-b", "gluon"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, "--dtype", "float64"])
    assert not stopped.value.code
    page = next(tmp_path.glob("unit-*/index.html")).read_text("utf-8")
    page = re.sub(r'<span class="whole">(.*?)</span>', r"\1", page)
    found = re.findall(r"<li>([^<]+), gluon against torch: relative L2 ([^,]+), largest", page)
    assert [what for what, _ in found] == [
        "activations", "guided maps", "deconvnet maps", "weights", "counts", "share of zero",
        "activation of the first steps", "votes",
    ]  # fmt: skip
    apart = {what: float(l2) for what, l2 in found}
    assert apart.pop("deconvnet maps") == pytest.approx(1e-4, rel=0.01)
    assert max(apart.values()) < 1e-8
