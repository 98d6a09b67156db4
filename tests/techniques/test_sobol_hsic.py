"""Sobol indices and HSIC: against closed forms, and against their definitions written as plain loops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, shared_file
from kits import kit as kit_of
from kits.perturb import INPUT, SIDE, pictures, score, small
from kits.photos import squeezenet

import vizkit
from vizkit.errors import MapWarning, SettingError, VizkitError
from vizkit.inputs.references import reference
from vizkit.techniques.perturbation.coalitions import halves
from vizkit.techniques.perturbation.designs import dependence, replicated, sobol_points, total_indices

GRID = (2, 3)
CELLS = (np.arange(SIDE) * 2 // SIDE)[:, None] * 3 + np.arange(SIDE) * 3 // SIDE


def indices(function: Callable[[np.ndarray], np.ndarray], features: int, samples: int, seed: int = 0) -> np.ndarray:
    """Total indices of a function of numbers in 0..1."""
    design = sobol_points(features, samples, seed)
    return total_indices(function(replicated(*design, range(samples * (features + 1)))), samples)


def ishigami(u: np.ndarray) -> np.ndarray:
    x = np.pi * (2 * u - 1)
    return np.asarray(np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))


@pytest.mark.quick
def test_total_indices_of_ishigamis_function() -> None:
    """Its closed form; the third number acts through the first alone. Off by 4e-3 at most for these seeds."""
    first = 0.5 * (1 + 0.1 * np.pi**4 / 5) ** 2
    second, both_of_them = 7**2 / 8, 8 * 0.1**2 * np.pi**8 / 225
    wanted = np.array([first + both_of_them, second, both_of_them]) / (first + second + both_of_them)
    for seed in range(3):
        np.testing.assert_allclose(indices(ishigami, 3, 4096, seed), wanted, rtol=0, atol=0.01)


@pytest.mark.quick
def test_total_indices_of_products() -> None:
    """Sobol's g: products of terms of mean 1 and variance v, so that 1 - ST_i is (what is left without it) / all."""
    a = np.array([0.0, 1.0, 4.5, 9.0])
    v = 1 / (3 * (1 + a) ** 2)
    everything = np.prod(1 + v) - 1
    wanted = v * np.prod(1 + v) / (1 + v) / everything
    found = indices(lambda u: np.prod((np.abs(4 * u - 2) + a) / (1 + a), axis=1), 4, 8192)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.015)


def linear(backend: str, weights: np.ndarray) -> Any:
    """A network whose second logit is the sum of ``weights`` (3, H, W) times its input."""
    native = kit_of(backend).sequential([("flatten",), ("dense", 3 * SIDE * SIDE, 2)])
    model = vizkit.wrap(native, **INPUT)
    name = next(one for one, shape in model.parameter_shapes().items() if len(shape) == 2)
    return model.with_parameters({name: np.stack([0 * weights.ravel(), weights.ravel()])})


def test_a_linear_network_gives_squared_shares(name: str) -> None:
    """``Y = sum a_i m_i + c`` has total indices ``a_i^2 / sum a^2``, which add up to one."""
    image = pictures(1)
    a = np.array([3.0, -2.0, 0.0, 1.0, 0.5, -1.0])
    spec = small(name).spec
    batch = vizkit.images.prepare(image, spec, fit="squash")
    differ = (batch.tensor - reference("black", batch, spec))[0].astype(np.float64).sum(axis=0)
    sizes = np.array([differ[label == CELLS].sum() for label in range(6)])
    model = linear(name, np.repeat((a / sizes)[CELLS][None], 3, axis=0))
    found = vizkit.sobol(model, image, target=1, segments=GRID, samples=256, fit="squash")
    values = found.values[0, ::8, [0, 6, 12]].T.ravel()
    np.testing.assert_allclose(values, a**2 / (a**2).sum(), rtol=0, atol=0.03)
    assert not found.signed
    assert values[2] < 1e-12
    dependent = vizkit.hsic(model, image, target=1, segments=GRID, samples=800, fit="squash").values
    strength = dependent[0, ::8, [0, 6, 12]].T.ravel()
    assert list(np.argsort(strength)[-2:]) == [1, 0]
    assert strength.argmin() == 2


def test_sobol_is_jansens_sum_by_hand(name: str, agree: Callable[..., None]) -> None:
    """Mask by mask, each score by itself."""
    model, image = small(name), pictures(1)
    batch = vizkit.images.prepare(image, model.spec, fit="squash")
    x, black = batch.tensor[0].astype(np.float64), reference("blurred", batch, model.spec)[0].astype(np.float64)

    def y(mask: np.ndarray) -> float:
        return score(model, x * mask[CELLS] + black * (1 - mask[CELLS]), 2, "probability")

    a, b = sobol_points(6, 8, 5)
    plain = [y(row) for row in a]
    wanted = np.zeros(6)
    for i in range(6):
        for row, other, before in zip(a, b, plain, strict=True):
            changed = row.copy()
            changed[i] = other[i]
            wanted[i] += (before - y(changed)) ** 2 / (2 * 8 * np.var(plain, ddof=1))
    ours = vizkit.sobol(
        model, image, target=2, segments=GRID, samples=8, seed=5, baseline="blurred", output="probability",
        batch_size=5, fit="squash",
    )  # fmt: skip
    agree("sobol", "plain loops", ours.values[0], wanted[CELLS], backend=name)


def slow_hsic(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The expectations of Gretton et al. 2005 over all pairs and triples of samples, one after the other: no matrix is
    centred."""
    n = len(y)
    width = np.median([abs(y[a] - y[b]) for a in range(n) for b in range(n) if y[a] != y[b]])
    found = np.zeros(z.shape[1])
    for i in range(z.shape[1]):
        k = [[float(z[a, i] == z[b, i]) for b in range(n)] for a in range(n)]
        lk = [[np.exp(-((y[a] - y[b]) ** 2) / (2 * width**2)) for b in range(n)] for a in range(n)]
        together = sum(k[a][b] * lk[a][b] for a in range(n) for b in range(n)) / n**2
        apart = sum(map(sum, k)) * sum(map(sum, lk)) / n**4
        crossed = sum(sum(k[a]) * sum(lk[a]) for a in range(n)) / n**3
        found[i] = together + apart - 2 * crossed
    return found


def test_hsic_is_its_definition(name: str, agree: Callable[..., None]) -> None:
    model, image = small(name), pictures(1)
    batch = vizkit.images.prepare(image, model.spec, fit="squash")
    x, black = batch.tensor[0].astype(np.float64), reference("black", batch, model.spec)[0].astype(np.float64)
    z = halves(6, 3, range(30))
    y = np.array([score(model, np.where(row[CELLS] > 0, x, black), 2) for row in z])
    ours = vizkit.hsic(model, image, target=2, segments=GRID, samples=30, seed=3, batch_size=7, fit="squash")
    agree("hsic", "plain loops over pairs and triples", ours.values[0], slow_hsic(z, y)[CELLS], backend=name)
    assert not ours.signed


@pytest.mark.quick
def test_hsic_tells_dependence_from_none() -> None:
    """The strongest there is: two far values, decided by one feature alone."""
    z = halves(5, 0, range(2000))
    decided = dependence(z, 1e3 * z[:, 1])
    share = z[:, 1].mean()
    assert decided[1] == pytest.approx(2 * (share * (1 - share)) ** 2 * (1 - np.exp(-0.5)) * 2, rel=1e-10)
    assert np.delete(decided, 1).max() < 1e-3
    through = dependence(z, np.where(z[:, 0] == z[:, 1], 1.0, -1.0) + z[:, 2])
    assert through.argmax() == 2
    assert (dependence(z, np.ones(2000)) == 0).all()


@both()
@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_both_backends_agree_on_a_real_network(method: str, agree: Callable[..., None]) -> None:
    photo, options = shared_file("images/cat_dog.png"), {"target": 243, "segments": (2, 2), "samples": 4}
    maps = [getattr(vizkit, method)(squeezenet(backend), photo, **options).values for backend in ("gluon", "torch")]
    agree(method, "PyTorch, SqueezeNet", *maps, backend="gluon")


@pytest.mark.quick
def test_designs() -> None:
    a, b = sobol_points(9, 32, 1)
    assert a.shape == b.shape == (32, 9)
    for column in (*a.T, *b.T):  # one point in each of 32 intervals: what makes the sequence balanced
        assert sorted(np.floor(column * 32)) == list(range(32))
    assert not np.allclose(a, sobol_points(9, 32, 2)[0])
    rows = replicated(a, b, range(32 * 10))
    assert np.array_equal(rows[:32], a)
    for i in range(9):
        block = rows[32 * (i + 1) : 32 * (i + 2)]
        assert np.array_equal(block[:, i], b[:, i])
        assert np.array_equal(np.delete(block, i, axis=1), np.delete(a, i, axis=1))
    assert np.array_equal(replicated(a, b, range(50, 111)), rows[50:111])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        ("sobol", {"samples": 24}, "power of two"),
        ("sobol", {"samples": 1}, "power of two"),
        ("sobol", {"seed": -1}, "seed=-1"),
        ("sobol", {"segments": (2, 99)}, "rows and columns"),
        ("hsic", {"samples": 1}, "at least 2 masks"),
        ("hsic", {"baseline": "white"}, "expected 'black'"),
        ("hsic", {"target": "all", "output": "probability"}, "all classes together have 1"),
    ],
)
def test_settings_that_cannot_be(method: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        getattr(vizkit, method)(small(INSTALLED[0]), pictures(), fit="squash", **options)


@pytest.mark.quick
def test_without_scipy_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(VizkitError, match=r"pip install 'vizkit\[explain\]'"):
        vizkit.sobol(small(INSTALLED[0]), pictures(), segments=GRID, samples=4, fit="squash")


@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_no_variance_is_no_index(method: str, name: str) -> None:
    """Scores that are equal to the last bit: zeros, and a warning, but no division by them."""
    model = linear(name, np.zeros((3, SIDE, SIDE)))
    with pytest.warns(MapWarning, match="zero everywhere"):
        found = getattr(vizkit, method)(model, pictures(1), target=1, segments=GRID, samples=8, fit="squash")
    assert not found.values.any()


def test_the_dog_matters_most_to_the_dogs_class() -> None:
    """Half as large, it still is: 4.2 and 3.6 times as much as what lies around it."""
    model, photo = squeezenet(INSTALLED[0], 112, "float32"), shared_file("images/cat_dog.png")
    inside = np.zeros((1, 112, 112), dtype=bool)
    inside[:, 4:71, 37:90] = True
    options = {"target": 243, "segments": (3, 3), "fit": "squash"}
    maps = (vizkit.sobol(model, photo, samples=4, **options), vizkit.hsic(model, photo, samples=40, **options))
    for found in maps:
        assert found.values[inside].mean() > 2 * found.values[~inside].mean()
