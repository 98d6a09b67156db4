"""Ablated and permuted features and Shapley values: against captum, and against their definitions."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, shared_file
from kits.perturb import QUARTERS, SIDE, SIXTEEN, pictures, score, small, torch_only
from kits.photos import squeezenet

import vizkit
from vizkit.errors import SettingError
from vizkit.inputs.references import reference
from vizkit.techniques.perturbation.coalitions import derangements, gains, growing, orders

SIX = np.digitize(np.arange(SIDE), [3, 6, 8, 11, 13])[:, None].repeat(SIDE, axis=1)
FIVE = np.digitize(np.arange(SIDE), [2, 6, 9, 13])[:, None].repeat(SIDE, axis=1)


@pytest.fixture
def captum(monkeypatch: pytest.MonkeyPatch) -> Any:
    """captum's attribution methods in float64: they sum up in float32 whatever they are given."""
    found = pytest.importorskip("captum.attr")
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(torch, "FloatTensor", torch.DoubleTensor)
    monkeypatch.setattr(torch, "float", torch.double)
    return found


def peer(model: Any) -> Any:
    """A copy of a PyTorch network for captum, in evaluation mode."""
    return copy.deepcopy(model.native).eval().cpu()


def theirs(model: Any, count: int, labels: np.ndarray, baseline: str | None = "black") -> dict[str, Any]:
    """What captum is given."""
    import torch

    batch = vizkit.images.prepare(pictures(count), model.spec, fit="squash")
    found: dict[str, Any] = {
        "inputs": torch.from_numpy(batch.tensor).double(),
        "feature_mask": torch.from_numpy(labels)[None, None],
    }
    if baseline:
        found["baselines"] = torch.from_numpy(reference(baseline, batch, model.spec)).double()
    return found


@pytest.mark.quick
@torch_only
@pytest.mark.parametrize("baseline", ["black", "blurred"])
def test_feature_ablation_is_captums(baseline: str, captum: Any, agree: Callable[..., None]) -> None:
    import torch

    model = small("torch")
    given = theirs(model, 2, SIXTEEN, baseline)
    wanted = captum.FeatureAblation(peer(model)).attribute(**given, target=torch.tensor([3, 1]))
    ours = vizkit.feature_ablation(
        model, pictures(), target=[3, 1], segments=SIXTEEN, baseline=baseline, batch_size=5, fit="squash"
    )
    agree("feature_ablation", "captum", ours.values, wanted.numpy()[:, 0])
    assert ours.signed


def test_feature_ablation_with_each_features_own_colour(name: str) -> None:
    """By hand, for superpixels of any shape, of two pictures that have not the same number of them."""
    model, images = small(name), pictures()
    labels = np.stack([SIXTEEN % 5, SIX])
    x = vizkit.images.prepare(images, model.spec, fit="squash").tensor.astype(np.float64)
    ours = vizkit.feature_ablation(
        model, images, target=[2, 0], segments=labels, baseline="segment", output="probability", fit="squash"
    )
    for i, count in enumerate((5, 6)):
        for label in range(count):
            inside, changed = labels[i] == label, x[i].copy()
            changed[:, inside] = x[i][:, inside].mean(axis=1)[:, None].astype(np.float32)
            wanted = score(model, x[i], [2, 0][i], "probability") - score(model, changed, [2, 0][i], "probability")
            np.testing.assert_allclose(ours.values[i][inside], wanted, rtol=0, atol=1e-8 * np.abs(ours.values).max())
    assert ours.provenance["settings"]["features"] == [5, 6]


@torch_only
@pytest.mark.parametrize("count", [2, 5])
def test_feature_permutation_is_captums(count: int, captum: Any, agree: Callable[..., None]) -> None:
    """captum is handed the same orders: its own let pictures keep their features."""
    import torch

    model, found = small("torch"), derangements(count, 16, 3)

    def permute(x: Any, mask: Any) -> Any:
        order = found[int(SIXTEEN[mask.numpy()[0, 0]][0])]
        return torch.where(mask, x[order], x)

    targets = [3, 1, 0, 2, 4][:count]
    explainer = captum.FeaturePermutation(peer(model), perm_func=permute)
    wanted = explainer.attribute(**theirs(model, count, SIXTEEN, None), target=torch.tensor(targets))
    ours = vizkit.feature_permutation(
        model, pictures(count), target=targets, segments=SIXTEEN, seed=3, batch_size=3, fit="squash"
    )
    agree("feature_permutation", "captum, same orders", ours.values, wanted.numpy()[:, 0])


@both()
def test_permuted_features_are_equal_in_both_backends(agree: Callable[..., None]) -> None:
    """Of pictures with superpixels of their own."""
    labels = np.stack([SIXTEEN, SIXTEEN.T, SIX])
    maps = [
        vizkit.feature_permutation(small(name), pictures(3), target=[None, "all", 1], segments=labels, fit="squash")
        for name in ("gluon", "torch")
    ]
    agree("feature_permutation", "PyTorch, small network", *(one.values for one in maps), backend="gluon")


@pytest.mark.quick
def test_no_picture_keeps_its_feature() -> None:
    for count in (2, 3, 9):
        found = derangements(count, 50, 1)
        assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(count), (50, 1)))
        assert (found != np.arange(count)).all()
    assert len({tuple(row) for row in derangements(9, 50, 1)}) > 40
    assert np.array_equal(derangements(9, 50, 1)[:7], derangements(9, 7, 1))
    assert not np.array_equal(derangements(9, 7, 1), derangements(9, 7, 2))


@pytest.mark.parametrize("given", [pictures(1), [pictures(1)[0], pictures(1)[0]]])
def test_permuting_needs_two_pictures(given: Any) -> None:
    with pytest.raises(SettingError, match="at least two different pictures"):
        vizkit.feature_permutation(small(INSTALLED[0]), given, segments=QUARTERS, fit="squash")
    with pytest.raises(SettingError, match="at least two different pictures"):
        vizkit.feature_permutation(small(INSTALLED[0]), given[:1], target=[1, 2], segments=QUARTERS, fit="squash")


@pytest.mark.quick
@torch_only
def test_sampled_shapley_values_are_captums(captum: Any, agree: Callable[..., None]) -> None:
    """captum is handed the same orders."""
    import torch

    model, places = small("torch"), orders(16, 6, 4)
    explainer = captum.ShapleyValueSampling(peer(model))
    explainer.permutation_generator = lambda *_: np.argsort(places, axis=1).tolist()
    wanted = explainer.attribute(**theirs(model, 2, SIXTEEN), target=torch.tensor([3, 1]), n_samples=6)
    ours = vizkit.shapley_sampling(
        model, pictures(), target=[3, 1], segments=SIXTEEN, samples=6, seed=4, batch_size=7, fit="squash"
    )
    agree("shapley_sampling", "captum, same orders", ours.values, wanted.numpy()[:, 0])


@torch_only
def test_exact_shapley_values_are_captums(captum: Any, agree: Callable[..., None]) -> None:
    """captum goes through all orders."""
    import torch

    model = small("torch")
    wanted = captum.ShapleyValues(peer(model)).attribute(**theirs(model, 2, FIVE), target=torch.tensor([3, 1]))
    ours = vizkit.shapley_sampling(model, pictures(), target=[3, 1], segments=FIVE, samples="all", fit="squash")
    agree("shapley_sampling", "captum, all orders", ours.values, wanted.numpy()[:, 0])
    assert "standard_error" not in ours.extra


@pytest.mark.parametrize("baseline", ["mean", "segment"])
def test_exact_shapley_values_by_definition(name: str, baseline: str, agree: Callable[..., None]) -> None:
    """Over all orders of six features; and Kernel SHAP of all subsets is the same."""
    model, image = small(name), pictures(1)
    ours = vizkit.shapley_sampling(
        model, image, target=4, segments=SIX, samples="all", baseline=baseline, output="probability", fit="squash"
    )
    batch = vizkit.images.prepare(image, model.spec, fit="squash")
    x = batch.tensor[0].astype(np.float64)
    if baseline == "segment":
        empty = x.copy()
        for label in range(6):
            empty[:, label == SIX] = x[:, label == SIX].mean(axis=1)[:, None].astype(np.float32)
    else:
        empty = reference(baseline, batch, model.spec)[0].astype(np.float64)
    known = {
        bits: score(model, np.where(np.array(bits)[SIX] > 0, x, empty), 4, "probability")
        for bits in itertools.product((0, 1), repeat=6)
    }
    wanted = np.zeros(6)
    for order in itertools.permutations(range(6)):
        bits = [0] * 6
        for feature in order:
            before = known[tuple(bits)]
            bits[feature] = 1
            wanted[feature] += (known[tuple(bits)] - before) / factorial(6)
    agree("shapley_sampling", "all orders, by definition", ours.values[0], wanted[SIX], backend=name)
    kernel = vizkit.kernel_shap(
        model, image, target=4, segments=SIX, samples=62, baseline=baseline, output="probability", fit="squash"
    )
    agree("shapley_sampling", "Kernel SHAP of all subsets", ours.values, kernel.values, backend=name)


@pytest.mark.parametrize("samples", [1, 3, "all"])
def test_shapley_values_add_up(name: str, samples: Any) -> None:
    """To the score less that of the baseline, whatever the samples."""
    model, images = small(name), pictures()
    batch = vizkit.images.prepare(images, model.spec, fit="squash")
    black = reference("black", batch, model.spec)
    ours = vizkit.shapley_sampling(
        model, images, target=[2, "all"], segments=(2, 4), samples=samples, seed=7, fit="squash"
    )
    logits = [model.ops.numpy(model.forward(model.ops.asarray(one))["output"]) for one in (batch.tensor, black)]
    wanted = [(logits[0] - logits[1])[0, 2], (logits[0] - logits[1])[1].sum()]
    np.testing.assert_allclose(ours.values[:, ::8, ::4].sum(axis=(1, 2)), wanted, rtol=1e-9)


def test_standard_errors_are_honest(name: str) -> None:
    """The exact values lie within them as often as they should; they are those of the orders."""
    model, image = small(name), pictures(1)
    exact = vizkit.shapley_sampling(model, image, target=1, segments=(2, 4), samples="all", fit="squash").values
    away = []
    for seed in range(12):
        found = vizkit.shapley_sampling(model, image, target=1, segments=(2, 4), samples=30, seed=seed, fit="squash")
        away.append(((found.values - exact) / found.extra["standard_error"])[:, ::8, ::4])
    assert 0.75 < np.sqrt(np.mean(np.square(away))) < 1.35
    assert (
        "standard_error"
        not in vizkit.shapley_sampling(model, image, target=1, segments=(2, 4), samples=1, fit="squash").extra
    )


@pytest.mark.quick
def test_orders_grow_and_gains_are_laid_back() -> None:
    """In a game in which each feature adds its own number, every order finds it."""
    places = orders(5, 3, 0)
    rows = np.concatenate([growing(places, range(5)), growing(places, range(5, 12))])
    assert rows.shape == (12, 5)
    assert np.array_equal(rows.sum(axis=1), np.tile([1, 2, 3, 4], 3))
    assert (np.diff(rows.reshape(3, 4, 5), axis=1) >= 0).all()
    worth = np.array([1.0, -2.0, 4.0, 0.5, 8.0])
    found = gains(places, rows @ worth + 3, 3.0, 3 + worth.sum())
    np.testing.assert_allclose(found, np.tile(worth, (3, 1)), atol=1e-14)
    assert np.array_equal(orders(5, 9, 0)[:3], places)


def test_a_single_feature_has_the_whole_difference(name: str) -> None:
    model, whole = small(name), np.zeros((SIDE, SIDE), dtype=int)
    with pytest.warns(vizkit.errors.MapWarning):
        found = [
            vizkit.shapley_sampling(model, pictures(1), target=1, segments=whole, samples=n, fit="squash").values
            for n in (3, "all")
        ]
    with pytest.warns(vizkit.errors.MapWarning):
        found.append(vizkit.feature_ablation(model, pictures(1), target=1, segments=whole, fit="squash").values)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-12)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-12)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"samples": "all", "segments": SIXTEEN}, "would score 65536 pictures"),
        ({"samples": 0}, "number of orders from 1"),
        ({"samples": "some"}, "number of orders from 1"),
        ({"seed": -1}, "seed=-1"),
        ({"segments": (0, 3)}, "rows and columns of a grid"),
        ({"segments": (17, 3)}, "rows and columns of a grid"),
        ({"segments": (2, 2, 2)}, "rows and columns of a grid"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        vizkit.shapley_sampling(
            small(INSTALLED[0]), pictures(), fit="squash", **{"segments": (2, 2), "samples": 2, **options}
        )


@pytest.mark.quick
def test_a_grid_is_labels_of_equal_cells(name: str) -> None:
    model = small(name)
    grid, labels = (
        vizkit.feature_ablation(model, pictures(), target=1, segments=one, fit="squash") for one in ((4, 4), SIXTEEN)
    )
    assert np.array_equal(grid.extra["segments"], labels.extra["segments"])
    assert np.array_equal(grid.values, labels.values)
    assert grid.provenance["settings"]["segments"] in ((4, 4), [4, 4])
    assert labels.provenance["settings"]["segments"] == "given"
    uneven = vizkit.feature_ablation(model, pictures(1), target=1, segments=(3, 5), fit="squash").extra["segments"][0]
    assert np.bincount(uneven[:, 0]).tolist()[::5] == [6, 5, 5]
    assert np.bincount(uneven[0]).tolist() == [4, 3, 3, 3, 3]


def test_the_dog_matters_most_to_the_dogs_class() -> None:
    model, photo = squeezenet(INSTALLED[0], 112, "float32"), shared_file("images/cat_dog.png")
    found = vizkit.shapley_sampling(model, photo, target=243, segments=(3, 4), samples=2, fit="squash")
    assert np.unravel_index(found.values[0, 18::37, 14::28].argmax(), (3, 4)) in [(0, 1), (0, 2), (1, 1), (1, 2)]
