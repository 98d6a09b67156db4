"""Atlases: what is sampled, how it is averaged, whitened and named, that a stopped run goes on, and both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from test_concepts_tcav import SIZE, by_hand

import vizkit
from vizkit import objectives
from vizkit.errors import SettingError
from vizkit.inputs.folders import collect
from vizkit.techniques.concepts import cells
from vizkit.techniques.concepts.sampling import SAYS, sampled
from vizkit.techniques.dreams.ascent import Ascent
from vizkit.techniques.dreams.objectives import Seen
from vizkit.zoo import shapes

pytest.importorskip("sklearn")
SMALL: dict[str, Any] = {"method": "pca", "grid": 2, "size": 16, "steps": 2}


@pytest.mark.quick
def test_what_positions_say_adds_up_to_the_logit(name: str, rng: Any) -> None:
    """Behind the ReLU this network is linear and without a bias, so that all positions together say the logit."""
    model = by_hand(name)
    pictures = list(rng.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8))
    found, _ = sampled(model, collect(pictures), "1", SIZE * SIZE, 0)
    logits = model.logits(pictures)
    assert (found["classes"].reshape(5, -1) == logits.argmax(axis=1)[:, None]).all()
    np.testing.assert_allclose(found[SAYS].reshape(5, -1).sum(axis=1), logits.max(axis=1), rtol=1e-5)
    maps = vizkit.feature_maps(model, pictures, "1").values
    np.testing.assert_allclose(found["vectors"].reshape(5, SIZE * SIZE, 2), maps.reshape(5, 2, -1).transpose(0, 2, 1))


@pytest.mark.skipif("torch" not in INSTALLED, reason="captum is PyTorch's")
def test_what_positions_say_is_captums(rng: Any) -> None:
    """Captum's layer gradient times activation, summed over channels; measured 5e-16."""
    torch, attr = pytest.importorskip("torch"), pytest.importorskip("captum.attr")
    kit = kit_of("torch")
    native = kit.sequential(TRAPS)
    model = vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    pictures = list(rng.integers(0, 256, (4, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8))
    layer = next(name for name, one in model.layers.items() if "ReLU" in one.kind)
    found, _ = sampled(model, collect(pictures), layer, 10**6, 0)
    network = kit.oracle(native).eval()
    x = torch.as_tensor(vizkit.images.prepare(pictures, model.spec).tensor.astype(np.float64))
    target = network(x).argmax(dim=1)
    whole = attr.LayerGradientXActivation(network, network.get_submodule(layer)).attribute(x, target=target)
    expected = whole.sum(dim=1).detach().numpy().reshape(4, -1)
    assert np.ptp(expected) > 0
    gap = np.abs(found[SAYS].reshape(4, -1) - expected).max() / np.abs(expected).max()
    assert gap <= 1e-8


def test_positions_depend_on_the_seed_and_the_place_alone(name: str) -> None:
    model = vizkit.load("shapes", backend=name)
    pictures = list(shapes.sample(5, seed=1).images)
    first, again = (sampled(model, collect(pictures), "features.16", 3, 7, batch_size=size)[0] for size in (1, 4))
    np.testing.assert_allclose(first["vectors"], again["vectors"], rtol=1e-4, atol=1e-5)
    assert (first["pictures"] == np.repeat(np.arange(5), 3)).all()
    assert (first["pictures"] == again["pictures"]).all()
    part = sampled(model, collect(pictures[:2]), "features.16", 3, 7)[0]
    np.testing.assert_allclose(first["vectors"][:6], part["vectors"], rtol=1e-4, atol=1e-5)
    other = sampled(model, collect(pictures), "features.16", 3, 8)[0]
    assert np.abs(first["vectors"] - other["vectors"]).max() > 0.1


@pytest.mark.quick
def test_cells_by_hand(rng: Any) -> None:
    places = np.array([[0.1, 0.1], [0.2, 0.3], [0.9, 0.1], [1.0, 1.0], [0.6, 0.6]])
    found, counts, cell = cells.binned(places, 2, 1)
    assert found.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert counts.tolist() == [2, 1, 2]
    assert cell.tolist() == [0, 0, 1, 2, 2]
    few, counts, cell = cells.binned(places, 2, 2)
    assert few.tolist() == [[0, 0], [1, 1]]
    assert cell.tolist() == [0, 0, -1, 1, 1]
    vectors = rng.random((5, 3))
    expected = [vectors[:2].mean(axis=0), vectors[3:].mean(axis=0)]
    np.testing.assert_allclose(cells.means(vectors, cell, 2), expected, rtol=1e-12)
    with pytest.raises(SettingError, match="fullest has 2"):
        cells.binned(places, 2, 3)
    across = cells.within(rng.normal(size=(500, 2)) * [5, 100])
    assert across.min() == 0
    assert across.max() == 1


@pytest.mark.quick
def test_cells_are_named_by_what_speaks_for_a_class() -> None:
    model = vizkit.load("shapes", backend=INSTALLED[0])
    says, classes = np.array([3.0, -9.0, 1.0, 2.0]), np.array([4, 4, 0, 2])
    found = cells.named(model, says, classes, np.array([0, 0, 0, 1]), 3)
    assert found == ((("ring", 0.75), ("circle", 0.25)), (("triangle", 1.0),), ())


@pytest.mark.quick
def test_whitening_by_hand(rng: Any) -> None:
    """Against an inverse by eigenvectors; a unit that is strong everywhere loses its lead."""
    vectors = rng.random((200, 4)) * [1, 1, 1, 50]
    means = vectors[:3]
    moments = vectors.T @ vectors / 200
    values, turned = np.linalg.eigh(moments + cells.RIDGE * moments.trace() / 4 * np.eye(4))
    expected = means @ turned @ np.diag(1 / values) @ turned.T
    found = cells.whitened(means, vectors)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (np.abs(means).argmax(axis=1) == 3).all()
    assert (np.abs(found).argmax(axis=1) != 3).all()


@pytest.mark.quick
def test_directions_are_the_objective_of_each(name: str, rng: Any) -> None:
    model = by_hand(name)
    ops, vectors = model.ops, rng.normal(size=(3, 2))
    maps = rng.normal(size=(3, 2, 5, 5))
    seen = Seen(model, {"1": ops.asarray(maps)}, ops.asarray(maps), None, ops.asarray(maps))
    found = ops.numpy(cells.Directions("1", vectors, 4.0).value(seen))
    for k in range(3):
        one = vectors[k] / np.linalg.norm(vectors[k])
        alone = objectives.direction("1", one, cosine_power=4.0).value(seen)
        np.testing.assert_allclose(found[k], ops.numpy(alone)[k], rtol=1e-6)
    assert repr(cells.Directions("1", vectors, 4.0)) != repr(cells.Directions("1", vectors + 1, 4.0))


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are not read again, batches of renderings that are finished not rendered again, and the result is the
    same."""
    model, state = vizkit.load("shapes", backend=INSTALLED[0]), tmp_path / "atlas"
    pictures = list(shapes.sample(24, seed=1).images)
    monkeypatch.setattr("vizkit.techniques.dreams.sheet.BATCH", 2)
    whole = vizkit.activation_atlas(model, pictures, "features.16", **SMALL)
    assert len(whole.cells) > 2
    stepped, step = [], Ascent.step

    def stopping(self: Any, *given: Any, **more: Any) -> None:
        stepped.append(1)
        if len(stepped) == 4:
            raise KeyboardInterrupt
        step(self, *given, **more)

    monkeypatch.setattr(Ascent, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        vizkit.activation_atlas(model, pictures, "features.16", state=state, **SMALL)
    passes: list[int] = []
    monkeypatch.setattr("vizkit.techniques.concepts.sampling.Samples.take", lambda *_: passes.append(1))
    found = vizkit.activation_atlas(model, pictures, "features.16", state=state, **SMALL)
    assert not passes
    assert len(stepped) == 4 + 2 * (-(-len(whole.cells) // 2) - 1)
    np.testing.assert_allclose(found.icons, whole.icons, atol=1e-5)
    assert (found.values == whole.values).all()
    with pytest.raises(SettingError, match="settings changed"):
        vizkit.activation_atlas(model, pictures, "features.16", state=state, per_picture=2, **SMALL)


@both()
def test_gluon_is_pytorch() -> None:
    """Cells and means exactly as far as rounding goes, the pictures after two steps; measured 8e-15."""
    pictures = list(shapes.sample(16, seed=2).images)
    first, second = (
        vizkit.activation_atlas(
            vizkit.load("shapes", backend=name, dtype="float64"), pictures, "features.16", per_picture=2, **SMALL
        )
        for name in ("torch", "gluon")
    )
    assert (first.cells == second.cells).all()
    assert (first.cell == second.cell).all()
    assert first.records() == second.records()
    for name in ("values", "places", "icons"):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert np.abs(ours - theirs).max() <= 1e-8 * np.abs(ours).max()


@pytest.mark.quick
def test_the_result_says_where_everything_lies() -> None:
    model = vizkit.load("shapes", backend=INSTALLED[0])
    found = vizkit.activation_atlas(model, list(shapes.sample(12, seed=1).images), "features.16", **SMALL)
    assert found.counts.sum() == 12
    assert found.icons.shape == (len(found.cells), 3, 16, 16)
    for k, (row, column) in enumerate(found.cells):
        assert found.at(row, column) == k
        assert (found.cell == k).sum() == found.counts[k]
    with pytest.raises(SettingError, match="row 5, column 5"):
        found.at(5, 5)
    made = found.provenance
    assert made["images"]["count"] == 12
    assert {"layer", "method", "grid", "whiten", "cosine_power", "size", "steps", "seed"} <= set(made["settings"])
    assert len(found.records()) == len(found.cells)
    assert len(found.figure().axes) == 1


@pytest.mark.quick
@pytest.mark.parametrize("settings", [{"grid": 0}, {"least": 0}, {"per_picture": 0}, {"size": 4}, {"method": "best"}])
def test_what_it_refuses(settings: dict[str, Any]) -> None:
    model, (name,) = vizkit.load("shapes", backend=INSTALLED[0]), settings
    with pytest.raises(SettingError, match=name):
        vizkit.activation_atlas(model, list(shapes.sample(6, seed=1).images), "features.16", **SMALL | settings)


def test_too_few_pictures_for_neighbourhoods() -> None:
    model, pictures = vizkit.load("shapes", backend=INSTALLED[0]), list(shapes.sample(2, seed=1).images)
    with pytest.raises(SettingError, match=r"2 points have no neighbourhoods that tsne could show; give at least 5"):
        vizkit.activation_atlas(model, pictures, "features.16", **SMALL | {"method": "tsne", "per_picture": 1})
