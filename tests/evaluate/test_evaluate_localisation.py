"""Localisation and complexity metrics: tiny cases by hand, Quantus where it has them, and what must hold of any map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vizkit.errors import SettingError, ShapeError
from vizkit.evaluate import complexity, pointing_game, relevance_mass, relevance_rank, sparseness
from vizkit.evaluate.statistics import pearson, ranks, spearman

LOCALISATION = (pointing_game, relevance_mass, relevance_rank)
HAND = np.array([[4.0, 1.0, 0.0], [-2.0, 3.0, 2.0], [0.0, -1.0, 0.0]])
OBJECT = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])


def disc(size: int, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


@pytest.mark.quick
def test_relevance_by_hand() -> None:
    assert relevance_mass(HAND, OBJECT) == [pytest.approx((1 + 3 + 2) / 10)]
    assert relevance_rank(HAND, OBJECT) == [pytest.approx(2 / 3)]  # 4, 3, 2 are the highest; the last two lie inside


@pytest.mark.quick
@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0.0), (0.99, 0.0), (1, 1.0), (15, 1.0)])
def test_the_pointing_game_by_hand(tolerance: float, hit: float) -> None:
    assert pointing_game(HAND, OBJECT, tolerance=tolerance) == [hit]


@pytest.mark.quick
def test_the_pointing_game_measures_round_distances() -> None:
    mask = np.zeros((1, 40, 40), dtype=bool)
    mask[0, 13, 14] = True
    for y, x in ((0, 0), (39, 39), (13, 0), (20, 22)):
        values = np.zeros((1, 40, 40))
        values[0, y, x] = 1
        distance = np.hypot(y - 13, x - 14)
        assert pointing_game(values, mask, tolerance=distance + 1e-9) == 1
        assert pointing_game(values, mask, tolerance=distance - 1e-9) == 0


@pytest.mark.quick
def test_the_pointing_game_against_all_distances(rng: np.random.Generator) -> None:
    for tolerance in (0, 1, 2.5, 4):
        mask = rng.random((30, 12, 17)) < 0.02
        mask[:, 5, 5] = True
        values = rng.integers(0, 40, (30, 12, 17)).astype(float)
        wanted = [
            np.mean([(np.hypot(*(np.argwhere(m) - p).T) <= tolerance).any() for p in np.argwhere(v == v.max())])
            for v, m in zip(values, mask, strict=True)
        ]
        assert np.allclose(pointing_game(values, mask, tolerance=tolerance), wanted)
        assert {*wanted} - {0.0, 1.0}


@pytest.mark.quick
@pytest.mark.parametrize("metric", LOCALISATION)
def test_a_constant_map_scores_the_objects_share(metric: Callable[..., np.ndarray]) -> None:
    options = {"tolerance": 0} if metric is pointing_game else {}
    assert metric(np.full((1, 3, 3), 0.7), OBJECT[None], **options) == [pytest.approx(3 / 9)]


@pytest.mark.quick
def test_a_blank_map_has_no_mass() -> None:
    assert relevance_mass(np.zeros((1, 3, 3)), OBJECT[None]) == [0]
    assert relevance_mass(-np.abs(HAND)[None], OBJECT[None]) == [0]


@pytest.mark.quick
@pytest.mark.parametrize("metric", LOCALISATION)
def test_a_perfect_map_wins_over_a_random_one_and_that_over_the_opposite(
    metric: Callable[..., np.ndarray], rng: np.random.Generator
) -> None:
    masks = np.stack([disc(64, *rng.uniform(15, 49, 2), 9) for _ in range(40)])
    options = {"tolerance": 0} if metric is pointing_game else {}
    perfect = metric(masks.astype(float), masks, **options)
    noise = metric(rng.random(masks.shape), masks, **options)
    opposite = metric((~masks).astype(float), masks, **options)
    assert (perfect == 1).all()
    assert (opposite == 0).all()
    assert abs(noise.mean() - masks.mean()) < 0.08
    both = metric(np.stack([masks[0].astype(float), rng.random((64, 64))]), masks[:2], **options)
    assert both[0] == 1
    assert both.shape == (2,)


@pytest.mark.quick
def test_quantus_agrees(rng: np.random.Generator) -> None:
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    masks = np.stack([disc(32, 12 + i, 16, 4 + i) for i in range(4)])
    values = rng.random(masks.shape)

    def theirs(metric: Any) -> Any:
        made = metric(disable_warnings=True, abs=False, normalise=False)
        return made.evaluate_batch(a_batch=values[:, None].copy(), s_batch=masks[:, None], x_batch=values[:, None])

    assert np.allclose(relevance_mass(values, masks), theirs(quantus.RelevanceMassAccuracy), atol=1e-12)
    assert np.allclose(relevance_rank(values, masks), theirs(quantus.RelevanceRankAccuracy), atol=1e-12)
    assert np.array_equal(pointing_game(values, masks, tolerance=0), theirs(quantus.PointingGame))
    assert np.allclose(sparseness(values), theirs(quantus.Sparseness), atol=1e-6)  # it adds 1e-7 to every value
    assert np.allclose(complexity(values), theirs(quantus.Complexity), atol=1e-8)  # and 1e-12 to every share


@pytest.mark.quick
@pytest.mark.parametrize("metric", LOCALISATION)
def test_maps_and_masks_that_do_not_fit(metric: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ShapeError, match=r"Masks of shape \(1, 4, 3\) for maps of shape \(1, 3, 3\)"):
        metric(HAND, np.ones((4, 3), dtype=bool))
    with pytest.raises(ShapeError, match="one map for each image"):
        metric(np.ones((2, 2, 3, 3)), OBJECT)
    with pytest.raises(SettingError, match="Mask 1 is empty"):
        metric(np.stack([HAND, HAND]), np.stack([OBJECT, 0 * OBJECT]))
    with pytest.raises(SettingError, match="other than 0 and 1"):
        metric(HAND, OBJECT * 0.5)
    with pytest.raises(SettingError, match="Map 0 holds values that are not finite"):
        metric(HAND * np.nan, OBJECT)


@pytest.mark.quick
def test_a_negative_tolerance() -> None:
    with pytest.raises(SettingError, match="tolerance"):
        pointing_game(HAND, OBJECT, tolerance=-1)


@pytest.mark.quick
def test_sparseness_and_complexity_by_hand(rng: np.random.Generator) -> None:
    one, flat = np.zeros((1, 2, 5)), np.full((1, 2, 5), -3.0)
    one[0, 1, 2] = -7
    assert sparseness(one) == [pytest.approx(0.9)]
    assert complexity(one) == [pytest.approx(0, abs=1e-15)]
    for blank in (flat, 0 * flat):
        assert sparseness(blank) == [pytest.approx(0, abs=1e-15)]
        assert complexity(blank) == [pytest.approx(np.log(10))]
    values = rng.normal(size=(1, 6, 7))
    gaps = np.abs(np.abs(values.ravel())[:, None] - np.abs(values.ravel())).sum()
    assert sparseness(values) == [pytest.approx(gaps / (2 * 42 * np.abs(values).sum()))]
    shares = np.abs(values) / np.abs(values).sum()
    assert complexity(values) == [pytest.approx(-(shares * np.log(shares)).sum())]
    assert np.allclose(sparseness(1e3 * values), sparseness(values))


@pytest.mark.quick
def test_correlations_are_scipys(rng: np.random.Generator) -> None:
    stats = pytest.importorskip("scipy.stats")
    a = rng.integers(0, 9, (11, 13)).astype(float)
    b = a + rng.normal(0, 4, a.shape)
    assert np.array_equal(ranks(a), stats.rankdata(a))
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a.ravel(), b.ravel())[0], abs=1e-13)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a.ravel(), b.ravel())[0], abs=1e-13)
    assert spearman(a, 0 * b) == pearson(0 * a + 0.1, b) == 0
    assert spearman(a, -a) == pytest.approx(-1)
