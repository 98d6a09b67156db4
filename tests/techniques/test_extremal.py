"""Extremal perturbations: masks, pyramid and area by their definitions, the gradient by finite differences, and
networks whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, shared_file
from kits import kit as kit_of
from kits.perturb import INPUT, SIDE, pictures, score, small
from kits.photos import squeezenet

import vizkit
from vizkit.errors import MapWarning, SettingError
from vizkit.inputs.references import blurred
from vizkit.techniques.common.job import Job
from vizkit.techniques.perturbation.mask_search import GROWTH, RATE, WEIGHT, MaskSearch
from vizkit.techniques.perturbation.smooth_masks import SmoothMasks, brightest, let_through, levels

WHITE = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)


def linear(backend: str, weights: np.ndarray) -> Any:
    """A network whose second logit is the sum of ``weights`` (3, H, W) times its input."""
    native = kit_of(backend).sequential([("flatten",), ("dense", 3 * SIDE * SIDE, 2)])
    model = vizkit.wrap(native, **INPUT)
    name = next(one for one, shape in model.parameter_shapes().items() if len(shape) == 2)
    return model.with_parameters({name: np.stack([0 * weights.ravel(), weights.ravel()])})


def spot(row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


@pytest.mark.quick
@pytest.mark.parametrize(("size", "step", "sigma"), [((11, 9), 3, 4.0), ((8, 8), 1, 2.5), ((7, 10), 4, 4.0)])
def test_masks_are_smooth_maxima(name: str, size: tuple[int, int], step: int, sigma: float) -> None:
    """The definition, pixel by pixel and cell by cell."""
    ops = small(name).ops
    masks = SmoothMasks(ops, size, step, sigma)
    cells = np.random.default_rng(0).random((2, 1, *masks.cells))
    found = ops.numpy(masks(ops.asarray(cells)))
    reach = 1 + int(np.ceil(sigma / step))
    wanted = np.zeros((2, 1, *size))
    for item, (y, x) in [(item, at) for item in range(2) for at in np.ndindex(*size)]:
        above = below = 0.0
        for i in range(y // step - reach, y // step + reach + 1):
            for j in range(x // step - reach, x // step + reach + 1):
                if (i - y // step) ** 2 + (j - x // step) ** 2 > reach**2:
                    continue
                inside = 0 <= i < masks.cells[0] and 0 <= j < masks.cells[1]
                centre = i * step + (step - 1) / 2, j * step + (step - 1) / 2
                z = np.hypot(y - centre[0], x - centre[1]) / sigma
                value = np.exp(-2 * max(0.0, z - 0.5) ** 2) * (cells[item, 0, i, j] if inside else 0.0)
                above, below = above + np.exp(20 * value) * value, below + np.exp(20 * value)
        wanted[item, 0, y, x] = above / below
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.quick
def test_the_brightest_are_those_that_sorting_finds(name: str) -> None:
    """And what is taken from the energy is the authors' distance of the sorted mask from the sorted wanted one."""
    ops, rng = small(name).ops, np.random.default_rng(1)
    masks, areas = rng.random((3, 1, 20, 15)), np.array([0.1, 0.45, 0.98])
    found = ops.numpy(brightest(ops, ops.asarray(masks), ops.asarray(areas.reshape(-1, 1, 1, 1))))
    for mask, one, area in zip(masks, found, areas, strict=True):
        order = np.sort(mask.ravel())
        assert np.array_equal(one, mask >= order[-round(300 * area)])
        reference = (np.arange(300) >= 300 - round(300 * area)).astype(float)
        assert np.mean((mask - one) ** 2) == pytest.approx(np.mean((order - reference) ** 2), rel=1e-12)
    flat = brightest(ops, ops.zeros((1, 1, 4, 4)) + 0.7, ops.zeros((1, 1, 1, 1)) + 0.3)
    assert not ops.numpy(flat).any()  # of equal ones none is brighter


def test_rounding_makes_no_pixel_brighter(name: str) -> None:
    """The masks of ones at the start, whose cells are pixels, come out of sums in an order of each backend's own."""
    ops = small(name).ops
    rounding = np.random.default_rng(0).choice([-6e-8, 0.0, 6e-8], (1, 1, 9, 9)).astype(np.float32)
    found = brightest(ops, ops.asarray(np.float32(0.9) + rounding), ops.asarray(np.full((1, 1, 1, 1), 0.5, np.float32)))
    assert not ops.numpy(found).any()


@pytest.mark.quick
@pytest.mark.parametrize("baseline", ["blurred", "black"])
def test_masks_mix_levels(name: str, baseline: str) -> None:
    model = small(name)
    batch = vizkit.images.prepare(pictures(), model.spec, fit="squash")
    found, masks = levels(baseline, batch, model.spec), np.random.default_rng(2).random((2, 1, SIDE, SIDE))
    masks[0, 0, :2] = [[0.0], [1.0]]
    mixed = model.ops.numpy(let_through(model.ops, model.ops.asarray(masks), [model.ops.asarray(x) for x in found]))
    assert len(found) == (8 if baseline == "blurred" else 2)
    for n, c, y, x in np.ndindex(2, 3, SIDE, SIDE):
        values = [float(level[n, c, y, x]) for level in found]
        wanted = np.interp(masks[n, 0, y, x], np.linspace(0, 1, len(found)), values)
        assert mixed[n, c, y, x] == pytest.approx(wanted, abs=1e-12)
    if baseline == "blurred":
        assert np.array_equal(found[0], blurred(batch.tensor, SIDE * 20 / 224))
        assert np.array_equal(found[5], blurred(batch.tensor, SIDE * 20 / 224 * (1 - 5 / 7)))
    assert np.array_equal(found[-1], batch.tensor)


def search(model: Any, images: Any, variant: str = "preserve", steps: int = 4) -> tuple[MaskSearch, dict[str, Any]]:
    """A search, and what its energy takes."""
    job = Job("test", model, images, 2, input_range="imagenet", fit="squash", batch_size=None)
    job.settle()
    found, ops = MaskSearch(job, 2, 3.0, variant, True, steps), model.ops
    given = {f"level {k}": ops.asarray(x) for k, x in enumerate(levels("blurred", job.batch, model.spec))}
    areas = ops.asarray(np.array([0.2, 0.4]).reshape(-1, 1, 1, 1))
    return found, {**given, "marks": ops.asarray(found.marks), "areas": areas, "weight": ops.zeros((1,)) + 5.0}


@pytest.mark.parametrize("variant", ["preserve", "delete"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_gradient_is_that_of_finite_differences(name: str, variant: str, mirrored: bool) -> None:
    model = small(name)
    found, given = search(model, pictures(), variant)
    ops, cells = model.ops, np.random.default_rng(3).random((2, 1, 8, 8))

    def energy(values: np.ndarray) -> np.ndarray:
        return np.asarray(ops.numpy(found.energy({**given, "cells": ops.asarray(values)}, mirrored)))

    _, gradient, _ = ops.value_and_grad(
        lambda leaves: (found.energy({**given, **leaves}, mirrored), None), {"cells": ops.asarray(cells)}
    )
    ours = ops.numpy(gradient["cells"])
    for place in [(0, 0), (3, 4), (7, 2), (5, 5), (6, 7)]:
        nudge = np.zeros_like(cells)
        nudge[:, 0, place[0], place[1]] = 1e-6
        slope = (energy(cells + nudge) - energy(cells - nudge)) / 2e-6
        np.testing.assert_allclose(ours[:, 0, place[0], place[1]], slope, rtol=1e-6, atol=1e-7)


def test_the_ascent_by_hand(name: str) -> None:
    """Momentum, rate, the weight of the area, and the mirrored picture at every other step."""
    model, steps = small(name), 4
    found, given = search(model, pictures(), steps=steps)
    ops = model.ops
    batch = vizkit.images.prepare(pictures(), model.spec, fit="squash")
    masks, scores = found(np.array([0, 1]), np.array([0.2, 0.4]), levels("blurred", batch, model.spec), lambda _: None)
    cells, velocity = np.ones((2, 1, 8, 8)), np.zeros((2, 1, 8, 8))
    for t in range(steps):
        now = {**given, "weight": ops.zeros((1,)) + WEIGHT * GROWTH ** (t / steps)}

        def energy(leaves: Any, now: Any = now, t: int = t) -> Any:
            return found.energy({**now, **leaves}, t % 2 == 0), None

        gradient = ops.numpy(ops.value_and_grad(energy, {"cells": ops.asarray(cells)})[1]["cells"])
        velocity = 0.9 * velocity + 0.1 * gradient
        cells = np.clip(cells + RATE * 64 / steps * velocity, 0, 1)
    wanted = ops.numpy(found.masks(ops.asarray(cells)))[:, 0]
    np.testing.assert_allclose(masks, wanted, rtol=0, atol=1e-9)
    assert scores.shape == (2,)
    assert wanted.std() > 0.05


@pytest.mark.parametrize(("row", "column", "area"), [(5.0, 10.0, 0.1), (11.0, 4.0, 0.2)])
def test_the_spot_is_found(name: str, row: float, column: float, area: float) -> None:
    """A network that looks at one spot: the mask lies on it, has the area asked for, and keeps the score; with "delete"
    it covers what counts."""
    at = spot(row, column, 2.5)
    model = linear(name, np.repeat(at[None].astype(float), 3, axis=0) * 3 / at.sum())
    options: dict[str, Any] = {"target": 1, "areas": area, "baseline": "black", "jitter": False, "steps": 40}
    found = vizkit.extremal_perturbation(model, WHITE, fit="squash", cell=1, sigma=2.0, **options)
    assert found.values[0][at].mean() > 0.9
    assert found.extra["areas"][0, 0] == pytest.approx(area, abs=0.03)
    x = vizkit.images.prepare(WHITE, model.spec, fit="squash").tensor[0].astype(np.float64)
    black = -(np.array(INPUT["mean"]) / np.array(INPUT["std"]))[:, None, None]
    mixed = x * found.values[0] + black.astype(np.float32) * (1 - found.values[0])
    assert found.extra["scores"][0, 0] == pytest.approx(score(model, mixed, 1), rel=1e-9)
    least, most = score(model, 0 * x + black, 1), score(model, x, 1)
    assert found.extra["scores"][0, 0] > least + 0.9 * (most - least)
    gone = vizkit.extremal_perturbation(model, WHITE, fit="squash", cell=1, sigma=2.0, variant="delete", **options)
    assert gone.values[0][at].mean() > 0.9
    assert gone.extra["scores"][0, 0] < least + 0.1 * (most - least)


@both()
def test_both_backends_find_the_same_mask(agree: Callable[..., None]) -> None:
    """After 60 steps. A mask's pixel that is just as bright as the threshold could fall on either side, and set them
    apart; here it does not."""
    options: dict[str, Any] = {"target": [None, "all"], "areas": 0.4, "steps": 60, "cell": 2, "sigma": 3.0}
    maps = [
        vizkit.extremal_perturbation(small(name), pictures(), fit="squash", **options) for name in ("gluon", "torch")
    ]
    agree("extremal_perturbation", "PyTorch, 60 steps", *(one.values for one in maps), backend="gluon")


def test_several_areas_are_each_by_itself(name: str) -> None:
    model, options = small(name), {"target": 3, "steps": 8, "cell": 2, "fit": "squash"}
    whole = vizkit.extremal_perturbation(model, pictures(), areas=(0.3, 0.1), batch_size=3, **options)
    for k, area in enumerate((0.3, 0.1)):
        alone = vizkit.extremal_perturbation(model, pictures(), areas=area, **options)
        np.testing.assert_allclose(whole.extra["masks"][:, k], alone.values, rtol=0, atol=1e-12)
        np.testing.assert_allclose(whole.extra["scores"][:, k], alone.extra["scores"][:, 0], rtol=1e-10)
    np.testing.assert_allclose(whole.values, whole.extra["masks"].mean(axis=1), rtol=0, atol=1e-15)
    np.testing.assert_allclose(whole.extra["areas"], whole.extra["masks"].mean(axis=(2, 3)), rtol=1e-12)
    assert whole.provenance["settings"]["areas"] == [0.3, 0.1]
    assert not whole.signed


def test_a_batch_too_large_for_the_memory_is_halved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = small(name), {"target": 3, "steps": 4, "cell": 2, "areas": (0.2, 0.3), "fit": "squash"}
    wanted = vizkit.extremal_perturbation(model, pictures(), **options).values
    forward = type(model).forward

    def limited(self: Any, x: Any, *rest: Any, **more: Any) -> Any:
        if len(x) > 1:
            raise MemoryError
        return forward(self, x, *rest, **more)

    monkeypatch.setattr(type(model), "forward", limited)
    found = vizkit.extremal_perturbation(model, pictures(), batch_size=4, **options)
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-12)


@pytest.mark.quick
@pytest.mark.parametrize(
    "options",
    [
        {"areas": 0.0}, {"areas": (0.1, 1.0)}, {"areas": ()}, {"steps": 0}, {"variant": "dual"}, {"cell": 0},
        {"cell": 17}, {"sigma": 0.0}, {"baseline": "white"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=str(next(iter(options)))):
        vizkit.extremal_perturbation(small(INSTALLED[0]), pictures(), fit="squash", **{"steps": 1, **options})


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_search_without_a_region_warns(name: str) -> None:
    """An area smaller than any disk: the mask ends empty."""
    model = linear(name, np.zeros((3, SIDE, SIDE)))
    with pytest.warns(MapWarning, match="Take more steps"):
        vizkit.extremal_perturbation(model, WHITE, target=1, areas=1e-6, steps=30, fit="squash")


def test_the_mask_lies_on_the_dog() -> None:
    model, photo = squeezenet(INSTALLED[0], 112, "float32"), shared_file("images/cat_dog.png")
    found = vizkit.extremal_perturbation(model, photo, target=243, steps=20, fit="squash")
    assert found.values[0, 4:71, 37:90].sum() > 0.8 * found.values[0].sum()
    assert found.extra["areas"][0, 0] == pytest.approx(0.1, abs=0.04)


@pytest.mark.quick
def test_a_disk_on_the_edge_is_as_large_as_any(name: str) -> None:
    """Counted with the margin; else masks would gather at the edges, where they cost half."""
    ops = small(name).ops
    masks, sums = SmoothMasks(ops, (24, 24), 2, 6.0), []
    for place in [(6, 6), (0, 6), (11, 0), (0, 0)]:
        cells = np.zeros((1, 1, 12, 12))
        cells[0, 0, place[0], place[1]] = 1
        canvas = masks.canvas(ops.asarray(cells))
        sums.append(float(ops.numpy(ops.sum(canvas, (2, 3)))[0, 0]))
    np.testing.assert_allclose(sums, sums[0], rtol=0.05)
    assert canvas.shape[2] * canvas.shape[3] * masks.share == pytest.approx(24 * 24)
