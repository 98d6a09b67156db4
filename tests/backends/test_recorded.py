"""Steps that a backend may record and replay are pure: called again with the same tensors they give the same bits,
whatever was called in between, and they write nothing that they were given. On every backend, with real values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE, kit
from kits.again import Again

import vizkit
from vizkit.objectives import content, diversity, unit
from vizkit.parametrisations import Fourier, Laplacian, Phase, Pixels
from vizkit.regularisers import alpha_sum, total_variation
from vizkit.techniques.dreams.optimise import OPTIMISERS
from vizkit.transforms import STANDARD, Blur, ColourJitter, Crop, Flip, Noise, Pad, Resize

VIEWS = (*STANDARD, Pad(2, "reflect"), Blur(2.0), Flip(), Noise(0.1), Crop(), ColourJitter(), Resize(16))


def make(name: str) -> Any:
    native = kit(name).sequential(TRAPS, dtype="float32")
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def photo(seed: int = 1, side: int = TRAPS_SIZE) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def again(name: str, monkeypatch: pytest.MonkeyPatch) -> Again:
    model = make(name)
    patched = Again(model)
    monkeypatch.setattr(type(model), "recorded", lambda _, step, key=None: patched.recorded(step, key))
    return patched


def quiet(model: Any, **settings: Any) -> Any:
    """A small rendering."""
    chosen = {"parametrisation": Fourier(16), "steps": 3, "rescue": 1} | settings
    return vizkit.render(model, chosen.pop("objective", unit("5", [1, 2])), **chosen)


SHAPES = (Pixels(16, alpha=True), Fourier(16, alpha=True), Phase(16, alpha=True))
LOOPS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "dream": (lambda model: vizkit.dream(model, "5", [1, 2], stages=2, steps=2, size=16), 4),
    "deepdream": (lambda model: vizkit.deepdream(model, photo(2, 64), "5", octaves=2, steps=2, size=80), 4),
    "invert": (lambda model: vizkit.invert(model, photo(), ["2", "5"], steps=2, fit="squash"), 8),
    "all transforms": (lambda model: quiet(model, transforms=VIEWS), 3),
    "grown": (lambda model: quiet(model, sizes=(10, 13, 16)), 3),
    "dead at first": (lambda model: quiet(model, objective=unit("11", [0, 1, 2]), transforms=(), rescue=6), 6),
    "penalties": (
        lambda model: quiet(
            model,
            objective=unit("5", [1, 2]) + 0.1 * content("2", photo()) - 0.1 * diversity("2") - 0.1 * total_variation(),
        ),
        4,
    ),
    **{
        f"{optimise} {type(shape).__name__}": (
            lambda model, optimise=optimise, shape=shape: quiet(
                model, objective=unit("5", 1) - 0.1 * alpha_sum(), optimise=optimise, parametrisation=shape
            ),
            4,
        )
        for optimise, shape in zip(OPTIMISERS, SHAPES, strict=True)
    },
    "laplacian": (lambda model: quiet(model, parametrisation=Laplacian(16, levels=3, alpha=True)), 3),
}


def same_result(found: Any, wanted: Any) -> None:
    for name, value in wanted.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], value, err_msg=name)


@pytest.mark.parametrize("which", LOOPS)
def test_loops_take_pure_steps(again: Again, name: str, which: str) -> None:
    call, calls = LOOPS[which]
    found = call(again.model)
    assert again.calls == calls
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(type(again.model), "recorded", lambda _, step, key=None: step)
        same_result(found, call(make(name)))


METHODS: dict[str, tuple[dict[str, Any], int]] = {
    "saliency": ({}, 1), "gradient_x_input": ({}, 1), "guided_backprop": ({}, 1), "deconvnet": ({}, 1),
    "gradcam": ({}, 4), "gradcam_plus_plus": ({}, 4), "layercam": ({}, 4), "hirescam": ({}, 4), "xgradcam": ({}, 4),
    "guided_gradcam": ({}, 3), "smoothgrad": ({"samples": 3}, 2), "vargrad": ({"samples": 3}, 2),
    "integrated_gradients": ({"steps": 3}, 2), "gradient_shap": ({"samples": 3, "noise": 0.1}, 3),
    "smooth_gradcam_plus_plus": ({"samples": 3}, 4), "full_gradient": ({}, 1),
    "lrp": ({"rules": "epsilon"}, 1), "deeplift": ({}, 2), "crp": ({"rules": "epsilon"}, 2),
}  # fmt: skip
"""Settings, and how many steps with keys of their own two layers, clipped or not, have. What averages
over samples has a step for the scores of the photo itself, as DeepLIFT has; gradient SHAP one for those of its
references."""


@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
@pytest.mark.parametrize("method", METHODS)
def test_maps_come_of_pure_steps(again: Again, name: str, method: str) -> None:
    """And a step with a key does what the first with that key did, though layers, targets and settings come and go."""

    def calls(model: Any) -> list[Any]:
        found = []
        for target, layer in ((1, "2"), (None, "5"), ([0, "all", 3], "2"), (2, "5")):  # each layer twice
            more = {"layer": layer} if "cam" in method else {}
            for relu in (True, False) if "cam" in method and "guided" not in method else (None,):
                more |= {} if relu is None else {"relu": relu}
                photos = [photo(seed) for seed in range(1 if found else 3)]  # two batches of different size, once
                settings = {"target": target, "batch_size": 2, "fit": "squash", **METHODS[method][0], **more}
                found.append(getattr(vizkit, method)(model, photos, **settings))
        return found

    found = calls(again.model)
    assert again.calls >= 5
    known = {key for key, _ in again.keyed}
    assert len(known) == METHODS[method][1]
    assert again.steps >= 4
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(type(again.model), "recorded", lambda _, step, key=None: step)
        for one, wanted in zip(found, calls(make(name)), strict=True):
            same_result(one, wanted)


@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_methods_do_not_take_each_others_steps(again: Again, name: str) -> None:
    """One network, and every method in turn: what a key leaves out would be another's."""

    def maps(model: Any) -> list[Any]:
        chosen = {"target": 1, "fit": "squash"}
        return [getattr(vizkit, method)(model, photo(), **chosen, **METHODS[method][0]) for method in METHODS]

    found = maps(again.model)
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(type(again.model), "recorded", lambda _, step, key=None: step)
        for one, wanted in zip(found, maps(make(name)), strict=True):
            same_result(one, wanted)


@pytest.mark.quick
def test_an_impure_step_is_found(again: Again) -> None:
    ops, seen = again.model.ops, []

    def counts(given: Any) -> Any:
        seen.append(1)
        return {"y": given["x"] + float(len(seen))}

    def writes(given: Any) -> Any:
        given["x"] += 1.0
        return {"y": given["x"] * 1.0}

    def hands_on(given: Any) -> Any:
        return {"y": given["x"]}

    for wrong in (counts, writes, hands_on):
        with pytest.raises(AssertionError):
            again.model.recorded(wrong)({"x": ops.asarray(np.ones(2))})
    steps = [again.model.recorded(lambda given, by=by: {"y": by * given["x"]}, "a key") for by in (2.0, 3.0)]
    steps[0]({"x": ops.asarray(np.ones(2))})
    with pytest.raises(AssertionError):
        steps[1]({"x": ops.asarray(np.ones(2))})


@pytest.mark.quick
def test_nothing_is_recorded_on_a_processor(name: str) -> None:
    def step(given: Any) -> Any:
        return given

    assert make(name).recorded(step) is step
    assert make(name).recorded(step, "a key") is step
