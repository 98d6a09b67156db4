"""Targets beyond classes: places of a segmentation, detected boxes, similarity, functions, and what is made of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import kit

import vizkit
from vizkit.errors import SettingError, UnknownNameError
from vizkit.targets import PREDICTED, Class, Detection, Function, Score, Similarity

SIZE, LABELS = 12, ("sky", "road", "car")
SEGMENTER: list[tuple[Any, ...]] = [("conv", 3, 5, 3, 1), ("relu",), ("pool",), ("conv", 5, 3, 3, 1)]
MASK = np.zeros((SIZE, SIZE))
MASK[3:9, 2:5] = 1


def picture(seed: int = 3, side: int = SIZE) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@cache
def segmenter(name: str) -> Any:
    """Logits of three classes at 6 x 6 places."""
    native = kit(name).sequential(SEGMENTER)
    return vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, labels=LABELS)


def cells(at: tuple[slice | int, slice | int], value: float = 1.0) -> Any:
    found = np.zeros((6, 6))
    found[at] = value
    return found


BOX = np.outer([0, 0.5, 1, 1, 0.5, 0], [0, 0, 1, 0.5, 0, 0])
"""left 4, top 3, right 7, bottom 9, of 12, on places that are 2 x 2."""
UNDER = np.outer([0, 0.5, 1, 1, 0.5, 0], [0, 1, 0.5, 0, 0, 0])
PLACES: list[tuple[Score | str | int, int, Any]] = [
    (2, 2, np.ones((6, 6))),
    ("car", 2, np.ones((6, 6))),
    (Class("car"), 2, np.ones((6, 6))),
    (Class("road", at=(7, 4)), 1, cells((3, 2))),
    (Class(0, box=(4, 3, 7, 9)), 0, BOX),
    (Class(1, mask=MASK), 1, UNDER),
    (Class(1, mask=BOX), 1, BOX),
    ("road@7,4", 1, cells((3, 2))),
    ("sky@4,3,7,9", 0, BOX),
    (-2 * Class("car", at=(0, 0)), 2, cells((0, 0), -2.0)),
]


def by_hand(model: Any, weights: Any, image: Any) -> Any:
    """Saliency of the output's sum under ``weights`` (C, h, w)."""
    ops = model.ops
    x = vizkit.images.prepare(image, model.spec, fit="squash").tensor

    def score(leaves: Any) -> Any:
        return ops.sum(model.forward(leaves["x"])["output"] * ops.asarray(weights[None]), (1, 2, 3)), None

    _, gradients, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
    return np.abs(ops.numpy(gradients["x"])).max(axis=1)


@pytest.mark.parametrize(("target", "index", "where"), PLACES)
def test_places_of_a_segmentation(name: str, target: Any, index: int, where: Any) -> None:
    model, image = segmenter(name), picture()
    weights = np.zeros((3, 6, 6))
    weights[index] = where
    found = vizkit.saliency(model, image, target=target, fit="squash")
    np.testing.assert_allclose(found.values, by_hand(model, weights, image), rtol=1e-12)
    assert LABELS[index] in found.labels[0]
    assert found.provenance["settings"]["target"][0]["label"] == found.labels[0]


@pytest.mark.quick
def test_where_a_class_is_predicted_and_which_is_meant_without_a_word(name: str) -> None:
    model, image = segmenter(name), picture()
    output = model.logits(image, fit="squash")[0]
    first = output.argmax(axis=0)
    counts = np.bincount(first.ravel(), minlength=3)
    index = int(counts.argmax())
    assert 0 < counts[index] < 36
    weights = np.zeros((3, 6, 6))
    weights[index] = first == index
    for target in (Class(index, mask=PREDICTED), f"{LABELS[index]}@predicted"):
        found = vizkit.saliency(model, image, target=target, fit="squash")
        np.testing.assert_allclose(found.values, by_hand(model, weights, image), rtol=1e-12)
    none = vizkit.saliency(model, image, fit="squash")
    assert none.targets == (index,)
    np.testing.assert_array_equal(none.values, vizkit.saliency(model, image, target=index, fit="squash").values)


@pytest.mark.quick
def test_scores_are_added_and_subtracted(name: str) -> None:
    model, image = segmenter(name), picture()
    weights = np.zeros((3, 6, 6))
    weights[2], weights[1, 0, 0], weights[0] = 1, 0.5, -1
    target = Class("car") + 0.5 * Class("road", at=(1, 1)) - Class("sky")
    found = vizkit.saliency(model, image, target=target, fit="squash")
    np.testing.assert_allclose(found.values, by_hand(model, weights, image), rtol=1e-12)
    assert found.labels == ("car + 0.5 * road at row 1, column 1 - sky",)
    text = vizkit.saliency(model, image, target="car - road@1,1", fit="squash")
    same = vizkit.saliency(model, image, target=Class("car") - Class("road", at=(1, 1)), fit="squash")
    np.testing.assert_array_equal(text.values, same.values)


METHODS = (
    "saliency", "smoothgrad", "integrated_gradients", "gradient_shap", "guided_backprop", "gradcam",
    "gradcam_plus_plus", "layercam", "scorecam", "ablationcam", "occlusion", "rise", "lime", "kernel_shap",
    "full_gradient", "shapley_sampling", "feature_permutation", "sobol", "extremal_perturbation",
)  # fmt: skip


@both()
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_them_and_backends_agree(method: str) -> None:
    targets = [Class("car", box=(4, 3, 7, 9)) - Class("sky"), "road", Class(1, mask=PREDICTED)]
    maps = []
    for name in ("torch", "gluon"):
        found = getattr(vizkit, method)(
            segmenter(name), [picture(k) for k in range(3)], target=targets, fit="squash", **options(method)
        )
        assert np.ptp(found.values, axis=(1, 2)).all()
        maps.append(found.values)
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-9, atol=1e-10 * np.abs(maps[0]).max())


def options(method: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {
        "smoothgrad": {"samples": 3}, "gradient_shap": {"samples": 3}, "integrated_gradients": {"steps": 4},
        "rise": {"samples": 20}, "lime": {"samples": 40, "segments": 9}, "kernel_shap": {"samples": 40, "segments": 9},
        "shapley_sampling": {"samples": 2, "segments": (2, 3)}, "feature_permutation": {"segments": (2, 3)},
        "sobol": {"samples": 4, "segments": (2, 3)}, "extremal_perturbation": {"steps": 3, "cell": 1},
        "ablationcam": {"relu": False},
    }  # fmt: skip
    return found.get(method, {})


def test_several_maps_of_one_picture(name: str) -> None:
    model, image = segmenter(name), picture()
    wanted: list[Any] = [0, "car", Class("road", at=(2, 2))]
    found = vizkit.gradcam(model, image, target=wanted, layer="1", fit="squash")
    assert len(found.values) == 3
    for one, target in zip(found.values, wanted, strict=True):
        alone = vizkit.gradcam(model, image, target=target, layer="1", fit="squash").values[0]
        np.testing.assert_allclose(one, alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Class("car", at=(12, 0)), SettingError, "12 rows"),
        (Class("car", box=(5, 5, 5, 9)), SettingError, "left < right"),
        (Class("car", mask=np.ones((5, 5))), SettingError, r"\(12, 12\), or \(6, 6\)"),
        (Class("car", mask=np.zeros((6, 6))), SettingError, "zero everywhere"),
        (Class("car", at=(1, 1), box=(0, 0, 3, 3)), SettingError, "give one of"),
        (Class("cart"), UnknownNameError, "car"),
        ("cart@1,1", UnknownNameError, "car"),
        ("car@left", SettingError, "after @ expected"),
        ("car@nowhere.png", vizkit.errors.ImageError, "no mask"),
        (Detection(), SettingError, "detects no boxes"),
    ],
)
def test_what_cannot_be_meant(target: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        vizkit.saliency(segmenter(INSTALLED[0]), picture(), target=target, fit="squash")


@pytest.mark.quick
def test_a_place_of_a_classifier(name: str) -> None:
    native = kit(name).sequential([("conv", 3, 2, 3, 1), ("flatten",), ("dense", 2 * SIZE * SIZE, 4)])
    model = vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(SettingError, match="has none"):
        vizkit.saliency(model, picture(), target=Class(1, at=(2, 2)), fit="squash")
    contrast = vizkit.saliency(model, picture(), target="1 - 3", fit="squash")
    assert contrast.labels == ("class 1 - class 3",)
    weights = np.array([0.0, 1, 0, -1])
    ops, x = model.ops, vizkit.images.prepare(picture(), model.spec, fit="squash").tensor

    def score(leaves: Any) -> Any:
        return ops.sum(model.forward(leaves["x"])["output"] * ops.asarray(weights[None]), 1), None

    _, gradients, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
    np.testing.assert_allclose(contrast.values, np.abs(ops.numpy(gradients["x"])).max(axis=1), rtol=1e-12)


@pytest.mark.quick
def test_similarity_and_functions(name: str) -> None:
    """An embedding: the cosine to another picture's, whose gradient is known."""
    native = kit(name).sequential([("conv", 3, 2, 3, 1), ("relu",), ("flatten",), ("dense", 288, 6)])
    model = vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    image, other = picture(1), picture(2)
    u, v = (model.logits(one, fit="squash")[0] for one in (image, other))
    length = np.linalg.norm(u)
    cosine = u @ v / length / np.linalg.norm(v)
    direction = v / np.linalg.norm(v) / length - cosine * u / length**2
    ops, x = model.ops, vizkit.images.prepare(image, model.spec, fit="squash").tensor

    def score(leaves: Any) -> Any:
        return ops.sum(model.forward(leaves["x"])["output"] * ops.asarray(direction[None]), 1), None

    _, gradients, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
    expected = np.abs(ops.numpy(gradients["x"])).max(axis=1)
    like = Similarity(other, fit="squash")
    found = vizkit.saliency(model, image, target=like, fit="squash")
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    covered = vizkit.occlusion(model, image, target=like, window=6, stride=6, fit="squash")
    hidden = image.copy()
    hidden[:6, :6] = 0
    w = model.logits(hidden, fit="squash")[0]
    lost = cosine - w @ v / np.linalg.norm(w) / np.linalg.norm(v)
    np.testing.assert_allclose(covered.values[0, :6, :6], lost, rtol=1e-10)
    squares = Function(lambda ops, output: ops.sum(output * output, 1), "energy")
    energy = vizkit.gradient_x_input(model, image, target=squares, fit="squash")
    assert energy.labels == ("energy",)
    step = 1e-6
    tensor = x.astype(np.float64)
    slope = [
        (model.ops.numpy(model.forward(ops.asarray(tensor * (1 + s)))["output"]) ** 2).sum() for s in (step, -step)
    ]
    np.testing.assert_allclose(energy.values.sum(), (slope[0] - slope[1]) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize("ends", [False, True])
def test_the_probability_of_a_single_output_is_its_sigmoid(name: str, ends: bool) -> None:
    layers: list[tuple[Any, ...]] = [("conv", 3, 2, 3, 1), ("relu",), ("flatten",), ("dense", 288, 1)]
    native = kit(name).sequential([*layers, ("sigmoid",)] if ends else layers)
    model = vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    image = picture()
    hidden = image.copy()
    hidden[:6, :6] = 0
    outputs = [model.logits(one, fit="squash")[0, 0] for one in (image, hidden)]
    sure = outputs if ends else [1 / (1 + np.exp(-one)) for one in outputs]
    found = vizkit.occlusion(model, image, output="probability", window=6, stride=6, fit="squash")
    np.testing.assert_allclose(found.values[0, :6, :6], sure[0] - sure[1], rtol=1e-10)
    np.testing.assert_allclose(model.predict(image, fit="squash")[0].probability, sure[0], rtol=1e-12)
    drop = vizkit.evaluate.average_drop(model, image, found.values, fit="squash")
    assert np.isfinite(drop).all()


def test_only_classes_have_probabilities(name: str) -> None:
    with pytest.raises(SettingError, match="Only a class"):
        vizkit.occlusion(segmenter(name), picture(), target=1, output="probability", fit="squash")
    found = vizkit.rise(segmenter(name), picture(), target=1, samples=5, fit="squash")
    assert found.provenance["settings"]["output"] == "logit"
