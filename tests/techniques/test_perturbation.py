"""Occlusion, RISE, LIME, Kernel SHAP, and the maps that know nothing: against captum, scikit-learn and plain loops."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from math import comb, factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits.perturb import EXACT, INPUT, SIDE, SIXTEEN, pictures, run, score, small, torch_only
from kits.photos import squeezenet

import vizkit
from vizkit.inputs.references import reference
from vizkit.techniques.perturbation.coalitions import coalitions, lime_samples, lime_weights, shapley_weights
from vizkit.techniques.perturbation.masks import rise_masks


@pytest.fixture
def captum(monkeypatch: pytest.MonkeyPatch) -> Any:
    """captum's attribution methods, without their last step: they round what they computed to float32."""
    found = pytest.importorskip("captum.attr")
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(torch, "FloatTensor", torch.DoubleTensor)
    return found


def peer(model: Any) -> Any:
    """A copy of a PyTorch network for captum, in evaluation mode."""
    return copy.deepcopy(model.native).eval().cpu()


@torch_only
@pytest.mark.parametrize(
    ("window", "stride", "baseline"), [(5, 5, "black"), (4, 3, "mean"), ((3, 7), (2, 5), "blurred"), (16, 16, "black")]
)
def test_occlusion_is_captums(window: Any, stride: Any, baseline: str, captum: Any, agree: Callable[..., None]) -> None:
    import torch

    model = small("torch")
    batch = vizkit.images.prepare(pictures(), model.spec, fit="squash")
    pair = [(value, value) if isinstance(value, int) else value for value in (window, stride)]
    theirs = captum.Occlusion(peer(model)).attribute(
        torch.from_numpy(batch.tensor).double(),
        target=torch.tensor([3, 1]),
        sliding_window_shapes=(3, *pair[0]),
        strides=(3, *pair[1]),
        baselines=torch.from_numpy(reference(baseline, batch, model.spec)).double(),
    )
    ours = vizkit.occlusion(
        model, pictures(), target=[3, 1], window=window, stride=stride, baseline=baseline, fit="squash"
    ).values
    if window == 16:
        assert np.allclose(ours, theirs.numpy()[:, 0], atol=1e-12)
    else:
        agree("occlusion", "captum", ours, theirs.numpy()[:, 0])


@torch_only
def test_occlusion_of_a_real_network_is_captums(photos: list[Path], captum: Any, agree: Callable[..., None]) -> None:
    import torch

    model = squeezenet("torch", 96)
    batch = vizkit.images.prepare(photos[1], model.spec)
    theirs = captum.Occlusion(peer(model)).attribute(
        torch.from_numpy(batch.tensor).double(),
        target=282,
        sliding_window_shapes=(3, 64, 64),
        strides=(3, 32, 32),
        baselines=torch.from_numpy(reference("black", batch, model.spec)).double(),
    )
    ours = vizkit.occlusion(model, photos[1], target=282, window=64, stride=32)
    agree("occlusion", "captum", ours.values, theirs.numpy()[:, 0])
    assert ours.signed


@pytest.mark.quick
def test_occlusion_by_hand(name: str) -> None:
    model, image = small(name), pictures(1)
    x = vizkit.images.prepare(image, model.spec, fit="squash").tensor[0]
    black = -np.array(INPUT["mean"]) / np.array(INPUT["std"])
    total, covered = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for top, left in itertools.product(range(0, 13, 4), repeat=2):
        changed = x.astype(np.float64)
        changed[:, top : top + 5, left : left + 5] = black[:, None, None].astype(np.float32)
        total[top : top + 5, left : left + 5] += score(model, x, 2, "probability") - score(
            model, changed, 2, "probability"
        )
        covered[top : top + 5, left : left + 5] += 1
    ours = run("occlusion", model, image, target=2, output="probability").values[0]
    assert np.allclose(ours, total / covered, rtol=0, atol=EXACT * np.abs(total).max())


def test_rise_by_hand(name: str, agree: Callable[..., None]) -> None:
    """The paper's sum, mask by mask, each enlarged by a plain loop over pixels."""
    model, image = small(name), pictures(1)
    x = vizkit.images.prepare(image, model.spec, fit="squash").tensor[0].astype(np.float64)
    cell, total = 6, np.zeros((SIDE, SIDE))
    for number in range(11):
        rng = np.random.default_rng([4, number])
        grid = rng.random((3, 3)) < 0.4
        top, left = rng.integers(0, cell), rng.integers(0, cell)
        mask = np.array([[_bilinear(grid, y + top, z + left, 4 * cell) for z in range(SIDE)] for y in range(SIDE)])
        total += score(model, x * mask, 1, "probability") * mask
    ours = run("rise", model, image, target=1, keep=0.4, seed=4).values[0]
    agree("rise", "plain loops", ours, total / (11 * 0.4), backend=name)


def _bilinear(grid: np.ndarray, y: int, x: int, size: int) -> float:
    """One pixel of a square grid enlarged to ``size`` with half-pixel centres, edges repeated."""
    side, value = len(grid), 0.0
    for at_y, at_x in itertools.product(range(-1, side + 1), repeat=2):
        near = [max(0.0, 1 - abs((p + 0.5) * side / size - 0.5 - at)) for p, at in ((y, at_y), (x, at_x))]
        value += near[0] * near[1] * grid[min(max(at_y, 0), side - 1), min(max(at_x, 0), side - 1)]
    return value


def test_rise_masks_keep_their_share_everywhere(name: str) -> None:
    ops = small(name).ops

    def masks_of(which: range) -> Any:
        return ops.numpy(rise_masks(ops, (40, 30), 5, 0.3, 1, which))

    masks = masks_of(range(3000))
    assert masks.shape == (3000, 1, 40, 30)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-15
    assert np.abs(masks.mean(axis=0) - 0.3).max() < 0.04
    np.testing.assert_allclose(masks[7:9], masks_of(range(7, 9)), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("size", "grid"), [((40, 30), 5), ((16, 23), 3), ((9, 9), 1)])
def test_rise_masks_are_scipys_enlargement(name: str, size: tuple[int, int], grid: int) -> None:
    """Cells of any shape, and a picture that is not a multiple of them."""
    ndimage = pytest.importorskip("scipy.ndimage")
    ops, found = small(name).ops, []
    for number in range(4, 10):
        rng = np.random.default_rng([8, number])
        kept = (rng.random((grid, grid)) < 0.6).astype(float)
        places = []
        for side in size:
            cell = -(-side // grid)
            pixels = rng.integers(0, cell) + np.arange(side)
            places.append((pixels + 0.5) * grid / ((grid + 1) * cell) - 0.5)
        at = np.meshgrid(*places, indexing="ij")
        found.append(ndimage.map_coordinates(kept, at, order=1, mode="nearest"))
    ours = ops.numpy(rise_masks(ops, size, grid, 0.6, 8, range(4, 10)))
    np.testing.assert_allclose(ours[:, 0], found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("baseline", ["segment", "black"])
def test_lime_is_scikit_learns_ridge(name: str, baseline: str, agree: Callable[..., None]) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    model, image = small(name), pictures(1)
    x = vizkit.images.prepare(image, model.spec, fit="squash").tensor[0].astype(np.float64)
    filled = x.copy()
    for label in range(16):
        inside = label == SIXTEEN
        own = x[:, inside].astype(np.float64).mean(axis=1)
        black = (-np.array(INPUT["mean"]) / np.array(INPUT["std"])).astype(np.float32)
        filled[:, inside] = (own.astype(np.float32) if baseline == "segment" else black)[:, None]
    z = lime_samples(16, 3, range(40))
    found = [score(model, np.where(row[SIXTEEN] > 0, x, filled), 2, "probability") for row in z]
    fitted = linear.Ridge(alpha=0.7).fit(z, found, sample_weight=lime_weights(z, 0.25))
    ours = run("lime", model, image, target=2, samples=40, alpha=0.7, baseline=baseline, seed=3)
    agree("lime", "scikit-learn", ours.values[0], fitted.coef_[SIXTEEN], backend=name)
    assert ours.extra["constant"][0] == pytest.approx(fitted.intercept_, abs=1e-9)
    assert np.array_equal(ours.extra["segments"][0], SIXTEEN)


@pytest.mark.quick
def test_lime_samples_and_weights_are_the_authors() -> None:
    z = lime_samples(9, 0, range(400))
    assert z[0].all()
    assert set(np.unique(z)) == {0, 1}
    assert abs(z[1:].mean() - 0.5) < 0.03
    distance = np.array([1 - row @ np.ones(9) / (np.linalg.norm(row) * 3) if row.any() else 1.0 for row in z])
    assert np.allclose(lime_weights(z, 0.25), np.sqrt(np.exp(-(distance**2) / 0.25**2)), atol=1e-14)


@pytest.mark.quick
@torch_only
def test_lime_is_captums(captum: Any, agree: Callable[..., None]) -> None:
    pytest.importorskip("sklearn")
    import torch
    from captum._utils.models.linear_model import SkLearnRidge

    model = small("torch")
    batch = vizkit.images.prepare(pictures(1), model.spec, fit="squash")
    z = lime_samples(16, 0, range(60))

    def draw(*_: Any, **__: Any) -> Any:
        yield from (torch.from_numpy(row[None]).long() for row in z)

    explainer = captum.Lime(
        peer(model),
        interpretable_model=SkLearnRidge(alpha=1.0),
        similarity_func=lambda a, b, row, **_: torch.from_numpy(lime_weights(row.double().numpy(), 0.25)),
        perturb_func=draw,
    )
    theirs = explainer.attribute(
        torch.from_numpy(batch.tensor).double(),
        target=2,
        feature_mask=torch.from_numpy(SIXTEEN)[None, None],
        n_samples=60,
        return_input_shape=False,
        baselines=torch.from_numpy(reference("black", batch, model.spec)).double(),
    )
    ours = run("lime", model, pictures(1), target=2, samples=60, baseline="black", output="logit")
    agree("lime", "captum", ours.values[0], theirs.numpy()[0, SIXTEEN])


def exact_shapley(value: Callable[[np.ndarray], float], count: int) -> np.ndarray:
    """Shapley values by their definition, over all subsets."""
    known = {bits: value(np.array(bits)) for bits in itertools.product((0, 1), repeat=count)}
    out = np.zeros(count)
    for bits, without in known.items():
        for i in (i for i in range(count) if not bits[i]):
            size = sum(bits)
            share = factorial(size) * factorial(count - size - 1) / factorial(count)
            out[i] += share * (known[(*bits[:i], 1, *bits[i + 1 :])] - without)
    return out


@pytest.mark.parametrize("baseline", ["black", "blurred"])
def test_kernel_shap_is_exact_on_few_segments(name: str, baseline: str, agree: Callable[..., None]) -> None:
    model, image = small(name), pictures(1)
    six = np.digitize(np.arange(SIDE), [3, 6, 8, 11, 13])[:, None].repeat(SIDE, axis=1)
    batch = vizkit.images.prepare(image, model.spec, fit="squash")
    x, empty = batch.tensor[0].astype(np.float64), reference(baseline, batch, model.spec)[0]
    wanted = exact_shapley(lambda bits: score(model, np.where(bits[six] > 0, x, empty), 4), 6)
    ours = run("kernel_shap", model, image, target=4, segments=six, samples=62, baseline=baseline)
    agree("kernel_shap", "exact Shapley values", ours.values[0], wanted[six], backend=name)
    assert ours.provenance["settings"]["samples"] == [62]


def test_sampled_kernel_shap_is_the_constrained_regression(name: str, agree: Callable[..., None]) -> None:
    """The constraint solved by hand: the last coefficient is what the others leave."""
    model, image = small(name), pictures(1)
    batch = vizkit.images.prepare(image, model.spec, fit="squash")
    x, black = batch.tensor[0].astype(np.float64), reference("black", batch, model.spec)[0]

    def value(bits: np.ndarray) -> float:
        return score(model, np.where(bits[SIXTEEN] > 0, x, black), 0)

    z = coalitions(16, 300, 9, range(300))
    assert (shapley_weights(z, 300) == 1).all()
    empty, full = value(np.zeros(16)), value(np.ones(16))
    right = np.array([value(row) for row in z]) - empty - z[:, -1] * (full - empty)
    first = np.linalg.lstsq(z[:, :-1] - z[:, -1:], right, rcond=None)[0]
    wanted = np.append(first, full - empty - first.sum())
    ours = run("kernel_shap", model, image, target=0, samples=300, seed=9).values[0]
    agree("kernel_shap", "constrained least squares", ours, wanted[SIXTEEN], backend=name)
    assert ours[::4, ::4].sum() == pytest.approx(full - empty, abs=1e-9)


@torch_only
def test_kernel_shap_is_captums(captum: Any, agree: Callable[..., None]) -> None:
    pytest.importorskip("sklearn")
    import torch

    model = small("torch")
    batch = vizkit.images.prepare(pictures(1), model.spec, fit="squash")
    z = coalitions(16, 300, 0, range(300))

    def draw(*_: Any, **__: Any) -> Any:
        yield torch.ones(1, 16).long()
        yield torch.zeros(1, 16).long()
        yield from (torch.from_numpy(row[None]).long() for row in z)

    explainer = captum.KernelShap(peer(model))
    explainer.perturb_func, explainer.inf_weight = draw, 1e12
    theirs = explainer.attribute(
        torch.from_numpy(batch.tensor).double(),
        target=0,
        feature_mask=torch.from_numpy(SIXTEEN)[None, None],
        n_samples=302,
        return_input_shape=False,
        baselines=torch.from_numpy(reference("black", batch, model.spec)).double(),
    )
    ours = run("kernel_shap", model, pictures(1), target=0, samples=300)
    agree("kernel_shap", "captum, end points weighing 1e12", ours.values[0], theirs.numpy()[0, SIXTEEN])


def test_coalitions_follow_the_shapley_kernel() -> None:
    few = coalitions(5, 30, 0, range(30))
    weights = shapley_weights(few, 30)
    assert len({tuple(row) for row in few}) == 30
    sizes = few.sum(axis=1)
    assert np.allclose(weights, [4 / (comb(5, int(k)) * k * (5 - k)) for k in sizes])
    many = coalitions(8, 100, 0, range(6000))
    assert (shapley_weights(many, 100) == 1).all()
    assert np.array_equal(many[100:120], coalitions(8, 100, 0, range(100, 120)))
    seen = np.bincount(many.sum(axis=1).astype(int), minlength=9) / 6000
    wanted = np.array([0, *(1 / (k * (8 - k)) for k in range(1, 8)), 0])
    assert np.abs(seen - wanted / wanted.sum()).max() < 0.02
    assert np.abs(many.mean(axis=0) - 0.5).max() < 0.03


@pytest.mark.quick
def test_the_edge_map_is_sobels(name: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    gray = np.stack(pictures()).astype(np.float64).mean(axis=3) / 255
    wanted = [np.hypot(*(ndimage.sobel(one, axis=axis, mode="nearest") for axis in (0, 1))) / 8 for one in gray]
    assert np.allclose(run("edge_map", small(name), pictures()).values, wanted, atol=1e-14)


@pytest.mark.quick
def test_random_and_centre_maps(name: str) -> None:
    model = small(name)
    noise = run("random_map", model, pictures()).values
    assert abs(noise.mean() - 0.5) < 0.05
    assert np.abs(np.corrcoef(noise.reshape(2, -1))[0, 1]) < 0.2
    assert np.array_equal(noise, run("random_map", model, pictures(), target=3).values)
    assert not np.array_equal(noise, run("random_map", model, pictures(), seed=1).values)
    bump = run("centre_map", model, pictures(1)).values[0]
    assert np.allclose(bump, bump[::-1])
    assert np.allclose(bump, bump.T)
    assert bump[8, 8] == bump.max()
    assert bump[0, 0] == pytest.approx(np.exp(-((7.5 / 4) ** 2)))
