"""Objectives and penalties by hand on small activations, and their gradients by finite differences in float64."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE
from scipy.ndimage import gaussian_filter

import vizkit
from vizkit import objectives as o
from vizkit import regularisers as r
from vizkit.errors import ImageError, SettingError, ShapeError
from vizkit.objectives import Objective, Seen

MAPS = "2"


@pytest.fixture
def model(kit: Any) -> Any:
    return traps(kit)


@cache
def traps(kit: Any) -> Any:
    """Objectives read a network and change nothing in it."""
    return vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def seen(model: Any, maps: Any, picture: Any = None, alpha: Any = None) -> Seen:
    picture = np.zeros((len(maps), 3, 4, 4)) if picture is None else picture
    as_native = model.ops.asarray
    return Seen(
        model,
        {MAPS: as_native(maps)},
        as_native(picture),
        None if alpha is None else as_native(alpha),
        as_native(picture),
    )


def value(model: Any, objective: Objective, *given: Any) -> Any:
    return model.ops.numpy(objective.value(seen(model, *given)))


def cosine(a: Any, v: Any) -> Any:
    return np.einsum("nchw,c->nhw", a, v) / np.linalg.norm(a, axis=1) / np.linalg.norm(v)


V = np.array([0.5, -1.0, 2.0, 0.25])
BY_HAND = {
    "unit": (o.unit(MAPS, 2), lambda a: a[:, 2].mean((1, 2))),
    "units": (o.unit(MAPS, [3, 0]), lambda a: np.array([a[0, 3].mean(), a[1, 0].mean()])),
    "rms": (o.unit(MAPS, 1, reduce="rms"), lambda a: np.sqrt((a[:, 1] ** 2).mean((1, 2)))),
    "neuron": (o.neuron(MAPS, 1), lambda a: a[:, 1, 1, 2]),
    "neurons": (o.neuron(MAPS, (0, 3), at=(2, 4)), lambda a: np.array([a[0, 0, 2, 4], a[1, 3, 2, 4]])),
    "corner": (o.neuron(MAPS, 1, at=(0, 0)), lambda a: a[:, 1, 0, 0]),
    "layer": (o.layer(MAPS), lambda a: (a**2).mean((1, 2, 3))),
    "direction": (o.direction(MAPS, V), lambda a: np.einsum("nchw,c->nhw", a, V).mean((1, 2))),
    "cosine": (
        o.direction(MAPS, V, cosine_power=2.0),
        lambda a: (np.einsum("nchw,c->nhw", a, V) * np.maximum(0.1, cosine(a, V)) ** 2).mean((1, 2)),
    ),
    "channels": (o.channels(MAPS, {0: 2.0, 3: -0.5}), lambda a: (2 * a[:, 0] - 0.5 * a[:, 3]).mean((1, 2))),
    "on": (o.unit(MAPS, 2).on(1), lambda a: np.array([0.0, a[1, 2].mean()])),
    "plus": (o.unit(MAPS, 0) + o.unit(MAPS, 1) + 3, lambda a: (a[:, 0] + a[:, 1]).mean((1, 2)) + 3),
    "minus": (o.unit(MAPS, 0) - o.unit(MAPS, 1), lambda a: (a[:, 0] - a[:, 1]).mean((1, 2))),
    "chain": (
        o.unit(MAPS, 0) - 2 * (o.unit(MAPS, 1) - o.unit(MAPS, 2)) / 4,
        lambda a: (a[:, 0] - 0.5 * a[:, 1] + 0.5 * a[:, 2]).mean((1, 2)),
    ),
    "reflected": (1 - 2 * -o.unit(MAPS, 0), lambda a: 1 + 2 * a[:, 0].mean((1, 2))),
    "added": (2 + o.unit(MAPS, 0), lambda a: 2 + a[:, 0].mean((1, 2))),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_values_by_hand(model: Any, rng: np.random.Generator, case: str) -> None:
    objective, expected = BY_HAND[case]
    maps = rng.normal(size=(2, 4, 3, 5))
    np.testing.assert_allclose(value(model, objective, maps), expected(maps), rtol=1e-10, atol=1e-12)


@pytest.mark.quick
def test_units_of_a_dense_layer(model: Any, rng: np.random.Generator) -> None:
    flat = rng.normal(size=(2, 4))
    np.testing.assert_array_equal(value(model, o.unit(MAPS, [1, 3], reduce="rms"), flat), flat[[0, 1], [1, 3]])
    np.testing.assert_allclose(value(model, o.direction(MAPS, V), flat), flat @ V, rtol=1e-12)
    assert o.logit(7).layers() == ("output",)
    with pytest.raises(ShapeError, match="has a place"):
        value(model, o.neuron(MAPS, 1), flat)


def gram(a: Any) -> Any:
    return np.einsum("ncp,ndp->ncd", *(a.reshape(*a.shape[:2], -1),) * 2) / (a.shape[2] * a.shape[3])


@pytest.mark.quick
def test_diversity_is_minus_the_mean_cosine_of_gram_matrices(model: Any, rng: np.random.Generator) -> None:
    maps = rng.normal(size=(3, 4, 3, 5))
    flat = gram(maps).reshape(3, -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    expected = -((unit @ unit.T).sum(axis=1) - 1) / 2
    np.testing.assert_allclose(value(model, o.diversity(MAPS), maps), expected, rtol=1e-10)
    same = np.repeat(maps[:1], 3, axis=0)
    np.testing.assert_allclose(value(model, o.diversity(MAPS), same), -1.0, rtol=1e-10)
    with pytest.raises(SettingError, match="at least two"):
        value(model, o.diversity(MAPS), maps[:1])


@pytest.mark.parametrize("kind", ["content", "style"])
def test_content_and_style_against_the_networks_own_values(model: Any, rng: np.random.Generator, kind: str) -> None:
    photo = rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)
    objective = getattr(o, kind)("2", photo)
    x = rng.random((2, 3, 12, 14))
    read = gram if kind == "style" else np.asarray

    def maps(pictures: Any) -> Any:
        given = model.ops.asarray(vizkit.images.normalise(pictures, model.spec))
        return model.ops.numpy(model.forward(given, ("2",))["2"])

    wanted = read(maps(photo[None].transpose(0, 3, 1, 2) / 255.0))
    gap = ((read(maps(x)) - wanted) ** 2).reshape(2, -1).sum(axis=1)
    given = model.ops.asarray(vizkit.images.normalise(x, model.spec))
    at = Seen(model, model.forward(given, ("2",)), model.ops.asarray(x), None, given)
    found = model.ops.numpy(objective.value(at))
    np.testing.assert_allclose(found, -gap / (wanted**2).sum(), rtol=1e-6)  # the photo is read in float32
    itself = model.ops.asarray(vizkit.images.normalise(photo[None].transpose(0, 3, 1, 2) / 255.0, model.spec))
    at = Seen(model, model.forward(itself, ("2",)), itself, None, itself)
    np.testing.assert_allclose(model.ops.numpy(objective.value(at)), 0.0, atol=1e-12)
    assert not objective.activates()
    assert repr(objective) == repr(getattr(o, kind)("2", photo)) != repr(getattr(o, kind)("2", photo[::-1]))


@pytest.mark.quick
def test_a_reference_for_each_picture_or_one_for_all(model: Any, rng: np.random.Generator) -> None:
    photos = list(rng.integers(0, 256, (3, 12, 12, 3), dtype=np.uint8))
    x = model.ops.asarray(rng.random((2, 3, 12, 12)))
    at = Seen(model, model.forward(x, ("2",)), x, None, x)
    both = model.ops.numpy(o.content("2", photos[:2]).value(at))
    alone = [model.ops.numpy(o.content("2", photo).value(at)) for photo in photos[:2]]
    np.testing.assert_allclose(both, [alone[0][0], alone[1][1]], rtol=1e-12)
    with pytest.raises(SettingError, match="3 pictures for 2"):
        o.content("2", photos).value(at)
    with pytest.raises(ImageError, match="no image"):
        o.content("2", "nowhere.png")


X = np.random.default_rng(5).random((2, 3, 6, 7))
SLOPES = np.array([[-3.0, 0, 3], [-10, 0, 10], [-3, 0, 3]])


def scharr(x: Any) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    both = np.stack([(windows * one).sum((-2, -1)) for one in (SLOPES, SLOPES.T)])
    return np.sqrt((both**2).mean((0, 2, 3, 4)))


def variation(x: Any, beta: float) -> Any:
    dy, dx = x[:, :, 1:, :-1] - x[:, :, :-1, :-1], x[:, :, :-1, 1:] - x[:, :, :-1, :-1]
    return (np.sqrt(dx**2 + dy**2) ** beta).mean((1, 2, 3))


def blurred(x: Any, sigma: float) -> Any:
    return gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest")


PENALTIES = {
    "l2": (r.l2(around=0.25), lambda x: ((x - 0.25) ** 2).mean((1, 2, 3))),
    "rms": (r.rms(), lambda x: np.sqrt(((x - 0.5) ** 2).mean((1, 2, 3)))),
    "total_variation": (r.total_variation(), lambda x: variation(x, 1.0)),
    "total_variation_2": (r.total_variation(beta=2.0), lambda x: variation(x, 2.0)),
    "scharr": (r.scharr(), scharr),
    "blur_decay": (r.blur_decay(sigma=1.5), lambda x: ((x - blurred(x, 1.5)) ** 2).mean((1, 2, 3))),
}


@pytest.mark.parametrize("case", PENALTIES)
def test_penalties_by_hand(model: Any, case: str) -> None:
    penalty, expected = PENALTIES[case]
    maps = np.zeros((2, 1, 1, 1))
    np.testing.assert_allclose(value(model, penalty, maps, X), expected(X), rtol=1e-9)
    assert penalty.layers() == ()
    assert penalty.judged() is None


@pytest.mark.quick
def test_alpha_sum(model: Any) -> None:
    alpha = X[:, :1]
    np.testing.assert_allclose(value(model, r.alpha_sum(), X, X, alpha), alpha.mean((1, 2, 3)), rtol=1e-12)
    with pytest.raises(SettingError, match="alpha=True"):
        value(model, r.alpha_sum(), X, X)


@pytest.mark.parametrize("case", [*BY_HAND, "diversity"])
def test_gradients_by_finite_differences(model: Any, rng: np.random.Generator, case: str) -> None:
    objective = o.diversity(MAPS) if case == "diversity" else BY_HAND[case][0]
    maps = rng.normal(size=(2, 4, 3, 5))
    check_gradient(model, lambda given: seen_with(model, {MAPS: given}, given), objective, maps, rng)


@pytest.mark.parametrize("case", [one for one in PENALTIES if one != "blur_decay"])
def test_penalties_gradients_by_finite_differences(model: Any, rng: np.random.Generator, case: str) -> None:
    check_gradient(model, lambda given: seen_with(model, {}, given), PENALTIES[case][0], X, rng)


@pytest.mark.quick
def test_blur_decays_gradient_holds_the_blurred_picture_fixed(model: Any) -> None:
    ops, penalty = model.ops, r.blur_decay(sigma=1.5)
    leaves = {"x": ops.asarray(X)}
    _, found, _ = ops.value_and_grad(lambda given: (penalty.value(seen_with(model, {}, given["x"])), None), leaves)
    expected = 2 * (X - blurred(X, 1.5)) / X[0].size
    np.testing.assert_allclose(ops.numpy(found["x"]), expected, rtol=1e-9, atol=1e-12)


def seen_with(model: Any, activations: dict[str, Any], picture: Any) -> Seen:
    return Seen(model, activations, picture, None, picture)


def check_gradient(model: Any, at: Any, objective: Objective, x: Any, rng: np.random.Generator) -> None:
    """The derivative along two random directions, by central differences."""
    ops = model.ops
    _, found, _ = ops.value_and_grad(lambda given: (objective.value(at(given["x"])), None), {"x": ops.asarray(x)})
    for _ in range(2):
        along = rng.normal(size=x.shape)
        high, low = (ops.numpy(objective.value(at(ops.asarray(x + step * along)))).sum() for step in (1e-5, -1e-5))
        expected = (high - low) / 2e-5
        np.testing.assert_allclose((ops.numpy(found["x"]) * along).sum(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.quick
def test_arithmetic_changes_nothing() -> None:
    a, b = o.unit("a", 1), o.unit("b", 2)
    before = repr(a), repr(b)
    total = a - 2 * b + 1
    kept = repr(total)
    assert (repr(a), repr(b)) == before
    assert total.layers() == ("a", "b")
    _ = total - a
    assert repr(total) == kept
    with pytest.raises(AttributeError):
        a.index = 5


@pytest.mark.quick
def test_what_is_judged_leaves_penalties_out() -> None:
    a = o.unit("a", [1, 2])
    assert (a - 0.1 * r.total_variation() + o.diversity("b") + 3).judged() == o.Sum(
        ((1.0, o.Sum(((1.0, o.Sum(((1.0, a),))),))),)
    )
    assert r.l2().judged() is None
    assert (r.l2() + 1).judged() is None
    assert (a + r.l2()).items() == 2
    assert a.on(4).items() == 5
    assert a.activates()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: o.unit("a", 1, reduce="max"), "expected 'mean' or 'rms'"),
        (lambda: o.unit("a", []), "empty"),
        (lambda: o.direction("a", np.zeros(3)), "not zero"),
        (lambda: o.direction("a", np.ones((2, 2))), r"vector \(C,\)"),
        (lambda: o.channels("a", {}), "combines nothing"),
        (lambda: o.unit("a", 1) * o.unit("a", 2), "multiplied by a number; got Unit"),
        (lambda: o.unit("a", 1) + "b", "an objective or a number; got str"),
        (lambda: r.total_variation(beta=0), "positive"),
    ],
)
def test_errors_when_made(make: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (o.unit(MAPS, 4), "units 0 to 3; there is no 4"),
        (o.unit(MAPS, -1), "there is no -1"),
        (o.unit(MAPS, [1, 2, 3]), "3 units of '2' for 2 pictures"),
        (o.neuron(MAPS, 1, at=(3, 0)), "3 x 5 positions"),
        (o.unit(MAPS, 1).on(2), "the batch has 2 pictures"),
        (o.direction(MAPS, [1.0, 2.0]), "has 4 units; the direction has 2"),
    ],
)
def test_errors_when_evaluated(model: Any, objective: Objective, message: str) -> None:
    with pytest.raises((SettingError, ShapeError), match=message):
        value(model, objective, np.ones((2, 4, 3, 5)))
