"""Pixel-flipping, selectivity and ROAD as Quantus has them, which casts inputs to float32: those of pictures are just
that, and the network it is given computes in float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit import evaluate
from vizkit.errors import SettingError, ShapeError
from vizkit.inputs.references import reference

SIDE = TRAPS_SIZE
INPUT = {"input_size": SIDE, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}
TARGETS = [3, 0]
EXACT = 1e-8
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="compares with a PyTorch toolkit; PyTorch is absent")
quiet = pytest.mark.filterwarnings("ignore")


def small(backend: str) -> Any:
    return vizkit.wrap(kit_of(backend).sequential(TRAPS), **INPUT)


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(2)]


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(8).normal(size=(2, SIDE, SIDE))


@pytest.fixture
def every() -> np.ndarray:
    """Attributions of every input value."""
    return np.random.default_rng(9).normal(size=(2, 3, SIDE, SIDE))


def measure(metric: str, model: Any, maps: Any, **options: Any) -> Any:
    return getattr(evaluate, metric)(model, pictures(), maps, **{"target": TARGETS, "fit": "squash", **options})


def theirs(metric: str, model: Any, maps: np.ndarray, targets: Any = TARGETS, **options: Any) -> Any:
    """Quantus' scores; "mean" is zero in normalised input, and its own words for baselines mean something else."""
    quantus = pytest.importorskip("quantus", exc_type=ImportError, reason="Quantus is not installed")
    import torch

    class Double(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = copy.deepcopy(model.native).eval().cpu()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.inner(x.double())
            return found

    own: dict[str, Any] = {"disable_warnings": True, "display_progressbar": False, **options}
    run = getattr(quantus, metric)(**own)
    x = vizkit.images.prepare(pictures(), model.spec, fit="squash").tensor
    a = maps if maps.ndim == 4 else maps[:, None]
    return run(model=Double().eval(), x_batch=x, y_batch=np.array(targets), a_batch=a, softmax=True, device="cpu")


@torch_only
@quiet
@pytest.mark.parametrize("step", [16, 64])
def test_pixel_flipping_is_quantus(step: int, every: np.ndarray) -> None:
    model = small("torch")
    ours = measure("pixel_flipping", model, every, step=step, baseline="mean")
    curves = theirs("PixelFlipping", model, every, features_in_step=step, perturb_baseline=0.0)
    np.testing.assert_allclose(ours.scores, curves, rtol=EXACT)
    np.testing.assert_allclose(ours.fractions, np.arange(1, 768 // step + 1) * step / 768)
    whole = theirs(
        "PixelFlipping", model, every, features_in_step=step, perturb_baseline=0.0, return_auc_per_sample=True
    )
    np.testing.assert_allclose(ours.auc * (768 // step - 1), whole, rtol=EXACT)


@torch_only
@quiet
@pytest.mark.parametrize("patch", [4, 5, 7])
def test_selectivity_is_quantus(patch: int, maps: np.ndarray) -> None:
    """5 and 7 leave patches that hang over the edges, by 2 and 2, and by 2 and 3."""
    model = small("torch")
    ours = measure("selectivity", model, maps, patch=patch, baseline="mean")
    np.testing.assert_allclose(
        ours.scores, theirs("Selectivity", model, maps, patch_size=patch, perturb_baseline=0.0), rtol=EXACT
    )
    assert ours.scores.shape == (2, (-(-SIDE // patch)) ** 2)


@torch_only
@quiet
def test_the_road_curve_is_quantus() -> None:
    """Its curve is the accuracy over the pictures at each percentage. At 2, 4, 8, 16 and 64 of 256 pixels nothing is
    rounded, which it does downwards. With three channels it counts each for pixels of its own, and fails: one here."""
    pytest.importorskip("scipy")
    gray = kit_of("torch").sequential([("flatten",), ("dense", SIDE**2, 5)])
    model, shares = vizkit.wrap(gray, input_size=SIDE, mean=(0.5,), std=(0.25,)), [0.78125, 1.5625, 3.125, 6.25, 25]
    top = [rows[0].index for rows in model.predict(pictures(), fit="squash")]
    maps = vizkit.gradient_x_input(model, pictures(), target=top, fit="squash").values
    found = theirs("ROAD", model, maps, top, percentages=shares, noise=0.0)
    ours = measure("road", model, maps, target=top, percentages=shares, noise=0.0)
    assert ours.scores.shape == (2, 5)
    np.testing.assert_allclose(ours.fractions * 256, [2, 4, 8, 16, 64])
    np.testing.assert_allclose(ours.scores.mean(axis=0), [found[one] for one in shares], rtol=EXACT)
    assert len(set(found.values())) > 1, "the oracle's curve is flat, which proves nothing"


def test_flipping_by_hand(name: str, maps: np.ndarray) -> None:
    """A plain loop over pixels, which go with all their channels."""
    model = small(name)
    batch = vizkit.images.prepare(pictures(), model.spec, fit="squash")
    black = reference("black", batch, model.spec)
    wanted = np.empty((2, 6))
    for i, index in enumerate(TARGETS):
        x = batch.tensor[i].astype(np.float64)
        for k, start in enumerate(range(0, 256, 50)):
            at = np.argsort(-maps[i].ravel())[start : start + 50]
            x.reshape(3, -1)[:, at] = black[i].reshape(3, -1)[:, at]
            logits = model.ops.numpy(model.forward(model.ops.asarray(x[None]))["output"])[0]
            wanted[i, k] = np.exp(logits[index]) / np.exp(logits).sum()
    found = measure("pixel_flipping", model, maps, step=50)
    np.testing.assert_allclose(found.scores, wanted, rtol=EXACT)
    np.testing.assert_allclose(found.fractions, [50 / 256, 100 / 256, 150 / 256, 200 / 256, 250 / 256, 1])
    np.testing.assert_allclose(found.auc, ((wanted[:, 1:] + wanted[:, :-1]) / 2).mean(axis=1), rtol=EXACT)
    once = measure("pixel_flipping", model, maps, step=256)
    np.testing.assert_allclose(once.auc, once.scores[:, 0])


@pytest.mark.quick
def test_patches_of_one_pixel_are_pixels(name: str, maps: np.ndarray) -> None:
    model = small(name)
    patches, pixels = measure("selectivity", model, maps, patch=1), measure("pixel_flipping", model, maps, step=1)
    np.testing.assert_allclose(patches.scores, pixels.scores, rtol=1e-12)


@both()
@pytest.mark.parametrize("metric", ["pixel_flipping", "selectivity"])
def test_gluon_gives_what_pytorch_gives(metric: str, maps: np.ndarray) -> None:
    one, other = (measure(metric, small(name), maps).scores for name in ("torch", "gluon"))
    np.testing.assert_allclose(one, other, rtol=EXACT)


@pytest.mark.parametrize("metric", ["pixel_flipping", "selectivity"])
def test_neither_batches_nor_other_images_nor_units_change_a_figure(metric: str, name: str, maps: np.ndarray) -> None:
    model = small(name)
    whole = measure(metric, model, maps)
    np.testing.assert_allclose(measure(metric, model, maps, batch_size=3).scores, whole.scores, rtol=1e-12)
    np.testing.assert_allclose(measure(metric, model, 7 * maps).scores, whole.scores, rtol=1e-12)
    alone = getattr(evaluate, metric)(model, pictures()[1], maps[1], target=TARGETS[1], fit="squash")
    np.testing.assert_allclose(alone.scores[0], whole.scores[1], rtol=1e-12)
    flat = np.zeros_like(maps)
    seeds = [measure(metric, model, flat, seed=seed).scores for seed in (0, 0, 1)]
    np.testing.assert_array_equal(seeds[0], seeds[1])
    assert np.abs(seeds[0] - seeds[2]).max() > 1e-6
    assert evaluate.METRICS[metric].higher is False


@pytest.mark.parametrize(
    ("metric", "options", "match"),
    [
        ("pixel_flipping", {"step": 0}, "1 to 256"),
        ("pixel_flipping", {"step": 257}, "1 to 256"),
        ("selectivity", {"patch": 0}, "1 to 16"),
        ("selectivity", {"patch": 17}, "1 to 16"),
        ("selectivity", {"baseline": "white"}, "baseline"),
    ],
)
def test_settings_that_cannot_be(metric: str, options: dict[str, Any], match: str, maps: np.ndarray) -> None:
    with pytest.raises(SettingError, match=match):
        measure(metric, small(INSTALLED[0]), maps, **options)
    with pytest.raises(ShapeError):
        measure(metric, small(INSTALLED[0]), maps[:, ::2])
