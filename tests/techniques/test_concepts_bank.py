"""Concepts that are found: Sobol indices against SciPy's, the importance of concepts by hand, planted concepts, and
both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE, parameters
from kits import kit as kit_of
from test_concepts_tcav import SIZE, by_hand

import vizkit
from vizkit.errors import LayerError, SettingError
from vizkit.techniques.common.job import Job
from vizkit.techniques.concepts.crops import boxes, non_negative, of_crops
from vizkit.zoo import shapes

pytest.importorskip("sklearn")
from vizkit.techniques.concepts.factors import factorise, read
from vizkit.techniques.concepts.importance import design, importance, total_indices


def ishigami(points: np.ndarray) -> np.ndarray:
    """Of three numbers in 0..1; its indices are known."""
    x = (2 * points - 1) * np.pi
    return np.asarray(np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))


@pytest.mark.quick
def test_total_indices_of_a_known_function() -> None:
    """SciPy's of the same points to 1e-12; and Ishigami & Homma's own, 0.558, 0.442 and 0.244, to 0.01."""
    stats = pytest.importorskip("scipy.stats")
    count = 4096
    scores = ishigami(design(3, count, seed=1))
    ours, parts = total_indices(scores, 3), scores.reshape(5, count)
    given = {"f_A": parts[0][None], "f_B": parts[1][None], "f_AB": parts[2:, None]}
    theirs = stats.sobol_indices(func=given, n=count).total_order
    np.testing.assert_allclose(ours, np.ravel(theirs), rtol=1e-12)
    np.testing.assert_allclose(ours, [0.5576, 0.4424, 0.2437], atol=0.01)
    assert (total_indices(np.ones(80), 3) == 0).all()


@pytest.mark.quick
def test_a_design_changes_one_input_at_a_time() -> None:
    points = design(3, 8, seed=2).reshape(5, 8, 3)
    assert points.min() >= 0
    assert points.max() <= 1
    for k in range(3):
        changed = points[2 + k] != points[0]
        assert changed[:, k].all()
        assert changed.sum() == 8
        assert (points[2 + k][:, k] == points[1][:, k]).all()
    with pytest.raises(SettingError, match="power of 2"):
        design(3, 12, seed=0)


@pytest.mark.quick
def test_shares_are_bounded_least_squares(rng: Any) -> None:
    """SciPy's solver for bounds gives the same (measured 4e-15)."""
    from scipy.optimize import lsq_linear

    parts, values = rng.random((4, 9)), rng.normal(size=(5, 9))
    found = read(values, parts)
    assert (found >= 0).all()
    assert (found == 0).any()
    for one, value in zip(found, values, strict=True):
        expected = lsq_linear(parts.T, value, bounds=(0, np.inf), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(one, expected, atol=1e-8)


@pytest.mark.quick
def test_factors_give_back_what_is_made_of_them(rng: Any) -> None:
    shares, parts = rng.random((40, 2)) * (rng.random((40, 2)) < 0.5), np.eye(2, 6) + 0.1
    found, directions, error = factorise(shares @ parts, 2, seed=0)
    assert error < 1e-3
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(found @ directions, shares @ parts, atol=5e-3)
    with pytest.raises(SettingError, match="allow 1 to 6"):
        factorise(shares @ parts, 7, seed=0)
    with pytest.raises(SettingError, match="zero"):
        factorise(0 * shares @ parts, 2, seed=0)


@pytest.mark.quick
def test_importance_of_a_linear_head_by_hand(name: str, rng: Any) -> None:
    """Behind the ReLU the score is linear, so that it is ``m . g`` with what each concept gives; then the index of a
    concept is ``g_k^2 / g . g``, which the estimator nears, and of the same points is the estimator's of ``m . g``."""
    model = vizkit.wrap(
        kit_of(name).sequential([("conv", 3, 4, 1, 0), ("relu",), ("flatten",), ("dense", 4 * SIZE * SIZE, 3)]),
        input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3,
    )  # fmt: skip
    picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    parts, grid = np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), model.grid("1")
    options: dict[str, Any] = {"input_range": "imagenet", "fit": "crop", "batch_size": 300}
    job = Job("test", model, [picture], 1, **options)
    ours = importance(job, "1", grid, parts, 512, seed=3)
    maps = vizkit.feature_maps(model, picture, "1").values[0].reshape(4, -1).T.astype(np.float64)
    head = model.weight("3")[1].reshape(4, -1).astype(np.float64)
    given = np.array([(head.T * (read(maps, parts)[:, [k]] @ parts[[k]])).sum() for k in range(3)])
    expected = total_indices(design(3, 512, seed=3) @ given, 3)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-9)  # the network's own weights are float32
    np.testing.assert_allclose(ours, given**2 / (given @ given), atol=0.02)


@pytest.mark.quick
def test_importance_behind_more_layers_by_hand(name: str, rng: Any) -> None:
    """What lies behind the layer gets ``(m * U) W`` in place of its own maps, nothing added: the head in NumPy."""
    layers = [("conv", 3, 4, 1, 0), ("relu",), ("flatten",), ("dense", 4 * SIZE * SIZE, 6), ("relu",), ("dense", 6, 3)]
    native = kit_of(name).sequential(layers)
    model = vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    parts = np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    job = Job("test", model, [picture], 1, input_range="imagenet", fit="crop", batch_size=300)
    ours = importance(job, "1", model.grid("1"), parts, 64, seed=3)
    shares = read(vizkit.feature_maps(model, picture, "1").values[0].reshape(4, -1).T.astype(np.float64), parts)
    _, _, _, first, _, last = parameters(layers, 0)

    def head(mask: np.ndarray) -> float:
        maps = ((shares * mask) @ parts).T.ravel()
        return float((last["weight"] @ np.maximum(first["weight"] @ maps + first["bias"], 0) + last["bias"])[1])

    expected = total_indices(np.array([head(mask) for mask in design(3, 64, seed=3)]), 3)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif("torch" not in INSTALLED, reason="the oracle is PyTorch")
def test_crops_are_enlarged_as_pytorch_does(rng: Any) -> None:
    """Measured 1e-16."""
    torch = pytest.importorskip("torch")
    kit = kit_of("torch")
    native = kit.sequential(TRAPS)
    model = vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    pictures = [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(2)]
    layer = next(name for name, one in model.layers.items() if "ReLU" in one.kind)
    parts, batch = boxes(model.spec.size, 0.4), vizkit.images.prepare(pictures, model.spec)
    ours = model.ops.numpy(of_crops(model, layer, parts)(model.ops.asarray(batch.tensor))[layer])
    x, seen = torch.as_tensor(batch.tensor.astype(np.float64)), []
    network = kit.oracle(native).double().eval()
    hook = network.get_submodule(layer).register_forward_hook(lambda *given: seen.append(given[2].mean((2, 3)).numpy()))
    with torch.no_grad():
        for top, left, bottom, right in parts:
            part = x[:, :, top:bottom, left:right]
            network(torch.nn.functional.interpolate(part, model.spec.size, mode="bilinear", align_corners=False))
    hook.remove()
    np.testing.assert_allclose(ours, np.stack(seen, axis=1), rtol=1e-10, atol=1e-12)


@pytest.mark.quick
def test_crops_cover_a_picture() -> None:
    found = np.array(boxes((10, 20), 0.3))
    assert (found[:, 2] - found[:, 0] == 3).all()
    assert (found[:, 3] - found[:, 1] == 6).all()
    seen = np.zeros((10, 20), bool)
    for top, left, bottom, right in found:
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert boxes((10, 20), 1.0) == [(0, 0, 10, 20)]
    with pytest.raises(SettingError, match=r"crop=1\.5"):
        boxes((10, 20), 1.5)


def planted(rng: Any, count: int) -> list[np.ndarray]:
    """Red on the left, blue on the right, each as strong as it happens."""
    pictures = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    pictures[:, :, :2, 0] = rng.integers(60, 255, (count, 1, 1))
    pictures[:, :, 2:, 2] = rng.integers(60, 255, (count, 1, 1))
    return list(pictures)


@pytest.mark.quick
def test_planted_concepts_are_found(name: str, rng: Any) -> None:
    """The concepts are the two units; class 0 depends on red alone; and the maps show where each is."""
    model, pictures = by_hand(name), planted(rng, 12)
    given: dict[str, Any] = {"concepts": 2, "crop": 0.5, "best": 3, "fit": "squash", "designs": 256, "judged": 1}
    bank = vizkit.concept_bank(model, pictures, "1", target=0, batch_size=64, **given)
    np.testing.assert_allclose(bank.values, np.eye(2), atol=0.06)  # parts may lean as far as crops mix them
    np.testing.assert_allclose(bank.importance, [1, 0], atol=0.03)
    assert bank.error < 0.01
    assert bank.crops.shape == (2, 3, 2, 2, 3)
    assert (bank.crops[0, ..., 0] > 0).all()  # red ones
    assert (bank.crops[1, ..., 2] > 0).all()
    assert (np.diff(bank.coefficients[bank.best[0], 0]) <= 0).all()
    reds = [int(picture[0, 0, 0]) for picture in pictures]
    assert bank.names[0][0] == f"image {int(np.argmax(reds))}"
    maps = vizkit.concept_maps(model, bank, pictures[:2], fit="squash", batch_size=1)
    assert maps.values.shape == (2, 2, SIZE, SIZE)
    left = np.array([[True, True, False, False]] * SIZE)
    assert (maps.coefficients[:, 0][:, left] > 10 * maps.coefficients[:, 0][:, ~left].max()).all()
    assert (maps.coefficients[:, 1][:, ~left] > 10 * maps.coefficients[:, 1][:, left].max()).all()
    made = bank.provenance
    assert made["images"]["count"] == 12
    assert {"layer", "concepts", "crop", "best", "designs", "judged", "seed", "target"} <= set(made["settings"])
    assert len(bank.figure().axes) == 2 * 4
    assert len(maps.figure().axes) == 2 * 3


@both()
def test_gluon_is_pytorch() -> None:
    """Measured 4e-15 of the largest."""
    pictures, found = list(shapes.sample(8, seed=3).images), []
    for name in ("torch", "gluon"):
        model = vizkit.load("shapes", backend=name, dtype="float64")
        settings: dict[str, Any] = {"target": "ring", "concepts": 3, "crop": 0.6, "designs": 2, "judged": 1}
        bank = vizkit.concept_bank(model, pictures, "features.16", **settings)
        found.append((bank, vizkit.concept_maps(model, bank, pictures[0])))
    (first, one), (second, other) = found
    for a, b in [(getattr(first, n), getattr(second, n)) for n in ("values", "importance", "coefficients")] + [
        (one.values, other.values)
    ]:
        assert np.abs(a - b).max() <= 1e-8 * np.abs(a).max()
    assert (first.best == second.best).all()


@pytest.mark.quick
def test_what_it_refuses(rng: Any) -> None:
    model, pictures = by_hand(INSTALLED[0]), planted(rng, 6)
    assert non_negative(np.array([[1.0, -1e-9]]), "x").tolist() == [[1, 0]]
    with pytest.raises(SettingError, match="behind its ReLU"):
        non_negative(np.array([[1.0, -1.0]]), "x")
    with pytest.raises(LayerError, match="channels over the picture"):
        vizkit.concept_bank(model, pictures, "3", target=0, concepts=2)
    with pytest.raises(SettingError, match="best=0"):
        vizkit.concept_bank(model, pictures, "1", target=0, concepts=2, best=0)
    bank = vizkit.concept_bank(model, pictures, "1", target=0, concepts=2, designs=2)
    other = model.with_parameters({name: model.parameter(name) + 1 for name in list(model.parameter_shapes())[:1]})
    with pytest.raises(SettingError, match="Make a bank of this network"):
        vizkit.concept_maps(other, bank, pictures[0])
