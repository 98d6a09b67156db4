"""Metrics that ask the network: against loops over single images, captum and Quantus, in both backends."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit import evaluate
from vizkit.errors import SettingError, ShapeError, VizkitError
from vizkit.evaluate.faithfulness import places
from vizkit.evaluate.fidelity import subset_of
from vizkit.inputs.references import reference

EXACT = 1e-8
SIDE = TRAPS_SIZE
INPUT = {"input_size": SIDE, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}
TARGETS = [3, 0]
QUICK: dict[str, dict[str, Any]] = {
    "deletion": {"steps": 7},
    "insertion": {"steps": 7},
    "road": {"percentages": [20, 60], "output": "probability"},
    "average_drop": {},
    "increase_in_confidence": {},
    "faithfulness_correlation": {"samples": 9},
    "infidelity": {"samples": 9},
}
EVERY = pytest.mark.parametrize("metric", list(QUICK))
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="compares with a PyTorch toolkit; PyTorch is absent")


def small(backend: str) -> Any:
    return vizkit.wrap(kit_of(backend).sequential(TRAPS), **INPUT)


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(2)]


def inputs(model: Any) -> np.ndarray:
    return vizkit.images.prepare(pictures(), model.spec, fit="squash").tensor.astype(np.float64)


def references(model: Any, kind: str) -> np.ndarray:
    return reference(kind, vizkit.images.prepare(pictures(), model.spec, fit="squash"), model.spec)


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(8).normal(size=(2, SIDE, SIDE))


def measure(metric: str, model: Any, maps: Any, **options: Any) -> np.ndarray:
    found = getattr(evaluate, metric)(
        model, pictures(), maps, **{"target": TARGETS, "fit": "squash", **QUICK[metric], **options}
    )
    return found.auc if isinstance(found, evaluate.Curves) else found


def logits(model: Any, x: np.ndarray) -> np.ndarray:
    return model.ops.numpy(model.forward(model.ops.asarray(x[None]))["output"])[0]


def probability(model: Any, x: np.ndarray, index: int) -> float:
    found = np.exp(logits(model, x))
    return float(found[index] / found.sum())


@pytest.mark.parametrize(("metric", "baseline"), [("deletion", "mean"), ("insertion", "blurred")])
def test_causal_metrics_as_the_authors_code_has_them(metric: str, baseline: str, name: str, maps: np.ndarray) -> None:
    model = small(name)
    x, other = inputs(model), references(model, baseline)
    wanted = []
    for i, index in enumerate(TARGETS):
        start, finish = (x[i].copy(), other[i]) if metric == "deletion" else (other[i].astype(np.float64), x[i])
        order = np.flip(np.argsort(maps[i].ravel()))
        scores = np.empty(17)
        for k in range(17):  # 16 pixels a step, as the paper's 224 of 224 x 224
            scores[k] = probability(model, start, index)
            at = order[16 * k : 16 * (k + 1)]
            start.reshape(3, -1)[:, at] = finish.reshape(3, -1)[:, at]
        wanted.append((scores.sum() - scores[0] / 2 - scores[-1] / 2) / 16)
    assert np.allclose(measure(metric, model, maps, steps=16), wanted, rtol=0, atol=EXACT)
    curves = getattr(evaluate, metric)(model, pictures(), maps, target=TARGETS, steps=16, fit="squash")
    assert curves.scores.shape == (2, 17)
    assert np.array_equal(curves.fractions, np.arange(17) / 16)


@pytest.mark.quick
def test_equal_values_go_in_a_random_order_that_the_seed_decides() -> None:
    flat = places(np.zeros((9, 9)), 0)
    assert sorted(flat.ravel()) == list(range(81))
    assert np.array_equal(flat, places(np.ones((9, 9)), 0))
    assert not np.array_equal(flat, places(np.zeros((9, 9)), 1))
    assert abs(np.corrcoef(flat.ravel(), np.arange(81))[0, 1]) < 0.3
    assert np.array_equal(places(np.array([[1.0, 5.0, 3.0]]), 0), [[2, 0, 1]])


def test_confidence_by_hand(name: str, maps: np.ndarray) -> None:
    model = small(name)
    x, black = inputs(model), references(model, "black")
    drops, rises = [], []
    for i, index in enumerate(TARGETS):
        keep = (maps[i] - maps[i].min()) / np.ptp(maps[i])
        before, after = probability(model, x[i], index), probability(model, keep * x[i] + (1 - keep) * black[i], index)
        drops.append(max(0, before - after) / before)
        rises.append(float(after > before))
    assert np.allclose(measure("average_drop", model, maps), drops, rtol=0, atol=EXACT)
    assert np.array_equal(measure("increase_in_confidence", model, maps), rises)
    both = [(measure("average_drop", model, maps, target=t) > 0) for t in range(5)]
    ups = [measure("increase_in_confidence", model, maps, target=t) > 0 for t in range(5)]
    assert not np.logical_and(both, ups).any()
    assert np.any(ups)
    assert np.any(both)


@pytest.mark.quick
def test_a_constant_map_keeps_nothing(name: str) -> None:
    model = small(name)
    black = references(model, "black")
    wanted = [
        max(0, 1 - probability(model, black[i], index) / probability(model, inputs(model)[i], index))
        for i, index in enumerate(TARGETS)
    ]
    assert np.allclose(measure("average_drop", model, np.full((2, SIDE, SIDE), 2.0)), wanted, atol=EXACT)


@pytest.mark.quick
def test_imputation_is_quantus_and_solves_its_own_equations(rng: np.random.Generator) -> None:
    pytest.importorskip("scipy")
    image = rng.normal(size=(3, 14, 11))
    for share in (0.1, 0.5, 0.95):
        removed = rng.random((14, 11)) < share
        filled = evaluate.impute(image, removed)
        assert np.array_equal(filled[:, ~removed], image[:, ~removed])
        for y, x in np.argwhere(removed):
            near = [
                (filled[:, y + dy, x + dx], 2.0 if dy == 0 or dx == 0 else 1.0)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if (dy or dx) and 0 <= y + dy < 14 and 0 <= x + dx < 11
            ]
            mean = sum(value * weight for value, weight in near) / sum(weight for _, weight in near)
            assert np.allclose(filled[:, y, x], mean, atol=1e-10)
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    theirs = quantus.functions.perturb_func.noisy_linear_imputation(image, np.flatnonzero(removed), noise=0.0)
    assert np.allclose(filled, theirs, atol=1e-10)
    assert np.array_equal(evaluate.impute(image, removed & False), image)
    noisy = evaluate.impute(image, removed, 0.5, np.random.default_rng(0))
    assert np.std((noisy - filled)[:, removed]) == pytest.approx(0.5, rel=0.15)
    assert np.array_equal(noisy[:, ~removed], image[:, ~removed])


def test_road_by_hand(name: str, maps: np.ndarray) -> None:
    pytest.importorskip("scipy")
    model = small(name)
    for order, sign in (("most", -1), ("least", 1)):
        for output in ("accuracy", "probability"):
            wanted = np.empty((2, 2))
            for i, index in enumerate(TARGETS):
                for k, share in enumerate((0.25, 0.75)):
                    gone = np.zeros(SIDE**2, dtype=bool)
                    gone[np.argsort(sign * maps[i].ravel())[: round(share * SIDE**2)]] = True
                    x = evaluate.impute(inputs(model)[i], gone.reshape(SIDE, SIDE))
                    top = logits(model, x).argmax() == index
                    wanted[i, k] = top if output == "accuracy" else probability(model, x, index)
            found = evaluate.road(
                model, pictures(), maps, target=TARGETS, fit="squash", percentages=[25, 75], order=order, noise=0.0,
                output=output,
            )  # fmt: skip
            assert np.allclose(found.scores, wanted, rtol=0, atol=EXACT)
            assert np.allclose(found.auc, wanted.mean(axis=1), rtol=0, atol=EXACT)
    assert (measure("road", model, maps, seed=0) != measure("road", model, maps, seed=1)).all()


@torch_only
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("perturbation", ["noise", "square"])
def test_infidelity_is_captums(perturbation: str, normalise: bool, maps: np.ndarray) -> None:
    captum = pytest.importorskip("captum.metrics")
    import torch

    model, samples = small("torch"), 12
    x, mean = inputs(model), references(model, "mean").astype(np.float64)
    changes = np.zeros((2, samples, 3, SIDE, SIDE))
    for s in range(samples):
        rng = np.random.default_rng([6, s])
        if perturbation == "noise":
            changes[:, s] = 0.3 * rng.standard_normal((3, SIDE, SIDE))
        else:
            y, z = rng.integers(0, SIDE - 4, 2)  # 0.3 of 16 pixels is 5
            changes[:, s, :, y : y + 5, z : z + 5] = (x - mean)[:, :, y : y + 5, z : z + 5]
    flat = torch.from_numpy(changes.reshape(-1, 3, SIDE, SIDE))
    for attribution in (maps, np.random.default_rng(3).normal(size=x.shape)):
        theirs = captum.infidelity(
            copy.deepcopy(model.native).eval().cpu(),
            lambda repeated: (flat, repeated - flat),
            torch.from_numpy(x),
            torch.from_numpy(np.broadcast_to(attribution if attribution.ndim == 4 else attribution[:, None], x.shape)),
            target=torch.tensor(TARGETS),
            n_perturb_samples=samples,
            normalize=normalise,
        ).numpy()
        ours = measure("infidelity", model, attribution, samples=samples, perturbation=perturbation, size=0.3, seed=6,
                       normalise=normalise)  # fmt: skip
        assert theirs.min() > 0
        assert np.abs(ours - theirs).max() <= EXACT * theirs.max()


@pytest.mark.quick
def test_the_exact_attribution_of_a_linear_network_has_no_infidelity(kit: Any) -> None:
    native = kit.sequential([("flatten",), ("dense", 3 * SIDE * SIDE, 5)])
    model = vizkit.wrap(native, **INPUT)
    weight = model.parameter(next(name for name in model.parameter_shapes() if name.endswith("weight")))
    exact = weight[TARGETS].reshape(2, 3, SIDE, SIDE)
    found = measure("infidelity", model, exact, normalise=False)
    assert (found < 1e-12).all()
    assert (measure("infidelity", model, exact * 7) < 1e-12).all()
    assert (measure("infidelity", model, np.roll(exact, 1, axis=1)) > 1e-3).all()
    blank = measure("infidelity", model, 0 * exact)
    assert np.allclose(blank, measure("infidelity", model, 0 * exact, normalise=False))
    assert (blank > 1e-3).all()


def test_faithfulness_correlation_by_hand(name: str, maps: np.ndarray) -> None:
    model = small(name)
    x, black = inputs(model), references(model, "black")
    wanted = []
    for i, index in enumerate(TARGETS):
        sums, drops = [], []
        for s in range(20):
            at = subset_of(SIDE**2, 30, 2, s)
            assert len({*at.tolist()}) == 30
            changed = x[i].copy()
            changed.reshape(3, -1)[:, at] = black[i].reshape(3, -1)[:, at]
            sums.append(maps[i].ravel()[at].sum())
            drops.append(logits(model, x[i])[index] - logits(model, changed)[index])
        wanted.append(np.corrcoef(sums, drops)[0, 1])
    found = measure("faithfulness_correlation", model, maps, samples=20, subset=30, seed=2)
    assert np.allclose(found, wanted, rtol=0, atol=EXACT)
    assert (measure("faithfulness_correlation", model, np.ones_like(maps)) == 0).all()


def test_occlusion_correlates_with_what_occlusion_does(kit: Any) -> None:
    """In a network that adds up its pixels, single-pixel occlusion predicts any subset exactly, and noise does not."""
    model = vizkit.wrap(kit.sequential([("flatten",), ("dense", 3 * SIDE * SIDE, 5)]), **INPUT)
    exact = vizkit.occlusion(model, pictures(), target=TARGETS, window=1, stride=1, fit="squash")
    assert np.allclose(measure("faithfulness_correlation", model, exact), 1)
    noise = np.random.default_rng(0).random(exact.values.shape)
    assert (measure("faithfulness_correlation", model, noise, samples=60) < 0.5).all()
    steps = {"steps": 12, "output": "logit"}
    assert (measure("deletion", model, exact, **steps) < measure("deletion", model, noise, **steps)).all()
    assert (measure("insertion", model, exact, **steps) > measure("insertion", model, noise, **steps)).all()


@both()
@EVERY
def test_gluon_gives_what_pytorch_gives(metric: str, maps: np.ndarray) -> None:
    ours, theirs = (measure(metric, small(name), maps) for name in ("torch", "gluon"))
    assert np.abs(ours - theirs).max() <= EXACT * max(1, np.abs(ours).max())


@both()
def test_gluon_gives_what_pytorch_gives_on_a_real_network(squeezenet_weights: Path, photos: list[Path]) -> None:
    found = []
    for name in ("torch", "gluon"):
        model = vizkit.load("squeezenet1_0", backend=name, weights=str(squeezenet_weights), dtype="float64")
        edges = vizkit.edge_map(model, photos[1], target=243)
        options = {"target": 243, "batch_size": 2}
        found.append(
            [
                *evaluate.deletion(model, photos[1], edges, steps=2, **options).scores[0],
                *evaluate.infidelity(model, photos[1], edges, samples=2, **options),
            ]
        )
    assert np.allclose(*found, rtol=EXACT, atol=0)


@EVERY
def test_neither_batches_nor_other_images_change_a_figure(metric: str, name: str, maps: np.ndarray) -> None:
    model = small(name)
    whole = measure(metric, model, maps)
    assert whole.shape == (2,)
    assert np.allclose(measure(metric, model, maps, batch_size=1), whole, rtol=0, atol=1e-12)
    alone = getattr(evaluate, metric)(model, pictures()[1], maps[1], target=TARGETS[1], fit="squash", **QUICK[metric])
    assert np.allclose(getattr(alone, "auc", alone), whole[1], rtol=0, atol=1e-12)


@EVERY
def test_maps_that_do_not_fit(metric: str, maps: np.ndarray) -> None:
    model = small(INSTALLED[0])
    with pytest.raises(ShapeError, match=r"expected \(2, 16, 16\)"):
        measure(metric, model, maps[:, ::2])
    with pytest.raises(SettingError, match="Map 1 holds values that are not finite"):
        measure(metric, model, np.where([[[False]], [[True]]], np.inf, maps))


@pytest.mark.parametrize(
    ("metric", "options", "match"),
    [
        ("deletion", {"steps": 0}, "steps"),
        ("deletion", {"baseline": "white"}, "baseline"),
        ("deletion", {"target": "all"}, "has no probability"),
        ("road", {"percentages": [100]}, "below 100"),
        ("road", {"percentages": []}, "at least one"),
        ("road", {"order": "first"}, "order"),
        ("road", {"output": "accuracy", "target": "all"}, "Only a class has"),
        ("infidelity", {"perturbation": "blur"}, "'noise' or 'square'"),
        ("infidelity", {"size": 0.0}, "positive size"),
        ("faithfulness_correlation", {"samples": 1}, "at least 2"),
        ("faithfulness_correlation", {"subset": 257}, "1 to 256"),
    ],
)
def test_settings_that_cannot_be(metric: str, options: dict[str, Any], match: str, maps: np.ndarray) -> None:
    with pytest.raises(SettingError, match=match):
        measure(metric, small(INSTALLED[0]), maps, **options)


@pytest.mark.quick
def test_nothing_is_left_to_impute_from() -> None:
    with pytest.raises(SettingError, match="nothing is left"):
        evaluate.impute(np.zeros((1, 2, 2)), np.ones((2, 2), dtype=bool))


@pytest.mark.quick
def test_without_scipy_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    with pytest.raises(VizkitError, match=r"pip install 'vizkit\[explain\]'"):
        evaluate.impute(np.zeros((1, 2, 2)), np.eye(2, dtype=bool))
