"""The first techniques: against captum, against hand-written loops, and against what a person must be able to read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from kits.photos import smaller, squeezenet
from PIL import Image

import vizkit
from vizkit import images, plotting, results
from vizkit.errors import SettingError, UnknownNameError

PHOTO = images.sample()


@cache
def load(backend: str, dtype: str = "float32") -> Any:
    """SqueezeNet for pictures of 64 pixels; no technique changes a network."""
    return smaller(backend, "squeezenet1_1", 64, "random:7", dtype)


def wrap(kit: Any, **options: Any) -> Any:
    settings: dict[str, Any] = {"input_size": TRAPS_SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3, **options}
    return vizkit.wrap(kit.sequential(TRAPS), **settings)


def test_saliency_equals_captum(photos: list[Path], record_property: Any) -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is the oracle")
    torch = pytest.importorskip("torch", reason="captum works on PyTorch")
    targets = [56, 282]
    reference = squeezenet("torch")
    x = torch.tensor(images.prepare(photos, reference.spec).tensor, dtype=torch.float64, requires_grad=True)
    theirs = captum.Saliency(reference.native.cpu()).attribute(x, target=targets).amax(1).detach().numpy()
    for backend in INSTALLED:
        ours = vizkit.saliency(squeezenet(backend), photos, target=targets).values
        off = float(np.abs(ours - theirs).max() / theirs.max())
        record_property("attribution", {"method": "saliency", "backend": backend, "oracle": "captum", "max": off})
        assert off <= 1e-10


def test_saliency_targets(name: str) -> None:
    model = load(name, dtype="float64")
    listed = [PHOTO, images.noise(0, 255, seed=1)]
    top = vizkit.saliency(model, listed)
    assert top.targets == tuple(rows[0].index for rows in model.predict(listed))
    label = model.spec.labels[top.targets[0]]
    by_name = vizkit.saliency(model, PHOTO, target=label)
    np.testing.assert_allclose(by_name.values[0], top.values[0], rtol=1e-9, atol=1e-15)
    mixed = vizkit.saliency(model, listed, target=[top.targets[0], "all"])
    whole = vizkit.saliency(model, listed[1], target="all")
    np.testing.assert_allclose(mixed.values[0], top.values[0], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(mixed.values[1], whole.values[0], rtol=1e-9, atol=1e-15)
    assert mixed.labels == (label, "all logits")
    with pytest.raises(SettingError, match="1 targets for 2 images"):
        vizkit.saliency(model, listed, target=[3])


@pytest.mark.quick
def test_saliency_of_all_is_the_gradient_of_the_sum(kit: Any) -> None:
    model = wrap(kit)
    batch = images.prepare(PHOTO, model.spec, input_range="unit")

    def score(leaves: Any) -> Any:
        return model.ops.sum(model.forward(leaves["x"])["output"], 1), None

    _, gradient, _ = model.ops.value_and_grad(score, {"x": model.ops.asarray(batch.tensor)})
    expected = np.abs(model.ops.numpy(gradient["x"])).max(axis=1)
    found = vizkit.saliency(model, PHOTO, target="all", input_range="unit").values
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_batches_do_not_change_maps(name: str) -> None:
    model = load(name, dtype="float64")
    listed = [images.noise(0, 255, seed=seed) for seed in range(3)]
    whole = vizkit.saliency(model, listed, batch_size=3).values
    single = vizkit.saliency(model, listed, batch_size=1).values
    np.testing.assert_allclose(whole, single, rtol=1e-9, atol=1e-15)
    with pytest.raises(SettingError, match="batch_size=0"):
        vizkit.saliency(model, listed, batch_size=0)


@pytest.mark.quick
@both()
def test_published_mode_equals_the_notebooks_own_code(rng: Any) -> None:
    """The homework's loop, as MXNet runs it: record(), sum of all logits, pixels in 0..1; without dropout, whose
    random numbers are MXNet's own there."""
    import mxnet as mx

    layers = [layer for layer in TRAPS if layer[0] != "dropout"]
    kit = kit_of("gluon")
    native = kit.sequential(layers)
    pixels = np.asarray(images.read(PHOTO).resize((TRAPS_SIZE, TRAPS_SIZE), Image.Resampling.BILINEAR))
    x = mx.nd.array(pixels.transpose(2, 0, 1)[None] / np.float32(255), dtype="float64")
    x.attach_grad()
    with mx.autograd.record():
        total = native(x).sum()
    total.backward()
    expected = np.abs(x.grad.asnumpy()).max(axis=1)
    for backend in INSTALLED:
        model = vizkit.wrap(kit_of(backend).sequential(layers), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
        found = vizkit.saliency(model, PHOTO, mode="published").values
        assert np.abs(found - expected).max() <= 1e-6 * expected.max()


@pytest.mark.quick
def test_published_mode_is_seeded_and_contradictions_are_named(kit: Any) -> None:
    model = wrap(kit)
    one, same, other = (vizkit.saliency(model, PHOTO, mode="published", seed=seed).values for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0
    with pytest.raises(SettingError, match="contradicts"):
        vizkit.saliency(model, PHOTO, mode="published", target=3)
    with pytest.raises(SettingError, match="mode='training'"):
        vizkit.saliency(model, PHOTO, mode="training")


@pytest.mark.quick
def test_result_remembers_how_it_was_made(name: str) -> None:
    model = load(name)
    made = vizkit.saliency(model, PHOTO, target=5).provenance
    assert made["weights"]["sha256"] == model.sha256()
    assert made["settings"]["target"] == [{"index": 5, "label": model.spec.labels[5]}]
    assert made["versions"].keys() >= {"vizkit", "numpy", *model.versions}


def test_every_file_carries_it(tmp_path: Path) -> None:
    model = load(INSTALLED[0])
    result = vizkit.saliency(model, PHOTO, target=5)
    made = result.provenance
    for suffix in (".png", ".npz"):
        path = result.save(tmp_path / f"map{suffix}")
        assert results.read_provenance(path) == made
    with np.load(tmp_path / "map.npz") as arrays:
        np.testing.assert_array_equal(arrays["values"], result.values)
    for suffix in (".pdf", ".svg"):
        content = result.save(tmp_path / f"map{suffix}").read_bytes()
        assert len(content) > 1000
    assert model.sha256().encode() in (tmp_path / "map.svg").read_bytes()
    assert result._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(SettingError, match="suffix"):
        result.save(tmp_path / "map.bmp")
    with pytest.raises(SettingError, match="cannot be written"):
        result.save(tmp_path / "nowhere" / "map.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npz", "map.pdf", "map.png", "map.svg"]


def test_a_failing_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = vizkit.saliency(load(INSTALLED[0]), PHOTO)
    path = result.save(tmp_path / "map.png")
    before = path.read_bytes()

    def broken(*_args: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.draw", broken)
    with pytest.raises(KeyboardInterrupt):
        result.save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["map.png"]
    assert path.read_bytes() == before


def test_filters_are_the_weights(name: str) -> None:
    model = load(name)
    found = vizkit.filters(model)
    np.testing.assert_array_equal(found.values, model.parameter("features.0.weight"))
    assert (found.layer, found.channel) == ("features.0", "colour")
    deep = vizkit.filters(model, "features.3.expand3x3", limit=5)
    assert deep.channel == "mean"
    text = deep.text(1)
    numbers = np.array(text.split("\n", 1)[1].replace("[", " ").replace("]", " ").split(), dtype=np.float32)
    np.testing.assert_allclose(numbers, deep.values[1].ravel(), atol=1e-8)
    assert "first 5 shown, 59 more" in deep.figure().axes[0].get_title()
    for channel, message in (("colour", "needs 3"), (99, "0 to 15"), ("red", "expected 'colour'")):
        with pytest.raises(SettingError, match=message):
            vizkit.filters(model, "features.3.expand3x3", channel=channel)
    with pytest.raises(SettingError, match="there is no 64"):
        deep.text(64)
    assert "Conv2" in model.architecture()


@pytest.mark.quick
def test_some_units_are_those_of_all(name: str) -> None:
    model = load(name)
    every = vizkit.feature_maps(model, PHOTO, "features.4")
    found = vizkit.feature_maps(model, PHOTO, "features.4", unit=[7, 3])
    np.testing.assert_array_equal(found.values, every.values[:, [7, 3]])
    assert found.provenance["settings"]["unit"] == [7, 3]
    assert "channel 7, 3" in found.figure().axes[1].get_title()
    with pytest.raises(SettingError, match="units 0 to 127"):
        vizkit.feature_maps(model, PHOTO, "features.4", unit=128)


def test_feature_maps_in_one_figure(name: str) -> None:
    model = load(name)
    found = vizkit.feature_maps(model, [PHOTO, images.noise()], "features.4")
    assert found.values.shape == (2, 128, 15, 15)
    exact = model.ops.numpy(model.forward(model.ops.asarray(found.batch.tensor), ("features.4",))["features.4"])
    np.testing.assert_array_equal(found.values, exact)
    figure = found.figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert sum("128 channels 15x15" in title for title in titles) == 2
    blank = int((np.abs(found.values[0]).max(axis=(1, 2)) == 0).sum())
    assert f"{blank} blank" in titles[1]
    logits = vizkit.feature_maps(model, PHOTO, "output")
    assert logits.values.shape == (1, 1000)
    assert logits.figure("common").axes
    with pytest.raises(SettingError, match="scale='both'"):
        logits.figure("both")


@pytest.mark.quick
def test_feature_map_tiles_show_every_channel() -> None:
    """Each channel's pixels stand in the grid, in order, with the gap between them."""
    maps = np.arange(5 * 2 * 3, dtype=float).reshape(5, 2, 3)
    grid = plotting.tile(maps, 2)
    assert grid.shape == (3 * 3 - 1, 2 * 4 - 1)
    for i in range(5):
        top, left = i // 2 * 3, i % 2 * 4
        np.testing.assert_array_equal(grid[top : top + 2, left : left + 3], maps[i])
    assert np.isnan(grid[2]).all()


def test_activation_statistics(kit: Any) -> None:
    model = wrap(kit)
    listed = [images.noise(0, 255, size=TRAPS_SIZE, seed=seed) for seed in range(5)]
    found = vizkit.activation_statistics(model, listed, batch_size=2)
    batch = images.prepare(listed, model.spec)
    for i, layer in enumerate(found.layers):
        exact = model.ops.numpy(model.forward(model.ops.asarray(batch.tensor), (layer,))[layer])
        flat = exact.reshape(len(exact) * exact.shape[1], -1)
        expected = [(exact == 0).mean(), (flat == 0).all(axis=1).mean(), exact.mean(), exact.max()]
        np.testing.assert_allclose(found.values[i], expected, rtol=1e-9)
        assert found.rectified[i] == (exact.min() >= 0)
    assert found.layers == tuple(model.layers)
    assert found.rectified[2]
    assert not found.rectified[0]
    chosen = vizkit.activation_statistics(model, listed, ["7", "2", "output"])
    assert chosen.layers == ("2", "7", "output")
    np.testing.assert_allclose(chosen.values[0], found.values[2], rtol=1e-9)
    lines = found.table().splitlines()
    assert len(lines) == len(TRAPS) + 1
    assert lines[3].split()[0] == "2"
    zeros, *others = plotting.activation_statistics([found, chosen]).axes  # an axis each: none hides another's marks
    assert len(others) == 3
    names = [*found.layers, "output"]  # of both: a layer is marked over its own name, wherever it stands in its result
    places = sorted(x for line in zeros.lines[2:] for x in line.get_xdata())
    assert places == sorted(names.index(name) for name in chosen.layers)
    with pytest.raises(UnknownNameError, match="'nowhere'"):
        vizkit.activation_statistics(model, listed, ["nowhere"])


@both()
def test_results_of_two_backends_in_one_figure(tmp_path: Path) -> None:
    pair = [vizkit.saliency(load(backend), PHOTO) for backend in INSTALLED]
    figure = plotting.attributions(pair)
    assert len([axes for axes in figure.axes if axes.get_title()]) == 6
    results.save_figure(figure, tmp_path / "two.png", {"results": [one.provenance for one in pair]})
    made = results.read_provenance(tmp_path / "two.png")
    assert [one["backend"] for one in made["results"]] == INSTALLED
    assert json.dumps(made)
    scale = np.linalg.norm(pair[0].values)
    assert np.linalg.norm(pair[0].values - pair[1].values) <= 1e-3 * scale
