"""Maps that need a class: Finer-CAM and ShapleyCAM in both backends, and what they do not depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, shared_file
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from kits.photos import squeezenet

import vizkit
from vizkit.errors import SettingError, UnknownNameError

METHODS: dict[str, dict[str, Any]] = {"finer_cam": {"similar": 2}, "shapley_cam": {}}
EVERY = pytest.mark.parametrize("method", METHODS)
pytestmark = pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")


def wrapped(backend: str, **options: Any) -> Any:
    native = kit_of(backend).sequential(TRAPS, **options)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3))


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(3)]


@pytest.fixture(scope="module")
def squeezenets() -> list[Any]:
    return [squeezenet(name, 96) for name in ("torch", "gluon")]


@both()
@EVERY
def test_gluon_gives_what_pytorch_gives(method: str, pictures: Any, squeezenets: Any, agree: Any) -> None:
    run, settings = getattr(vizkit, method), {"relu": False, **METHODS[method]}
    one, other = (run(wrapped(name), pictures, target=[0, 3, None], **settings) for name in ("torch", "gluon"))
    agree(method, "gluon = torch, batch norm, max-pool, dropout", other.values, one.values, backend="gluon")
    assert one.labels == other.labels
    for name, value in one.extra.items():
        np.testing.assert_allclose(other.extra[name], value, rtol=0, atol=1e-8 * np.abs(value).max())
    photo = shared_file("images/cat_dog.png")
    one, other = (run(model, photo, target=282, layer="features.12", **METHODS[method]) for model in squeezenets)
    agree(method, "gluon = torch, SqueezeNet", other.values, one.values, backend="gluon")


@EVERY
def test_a_batch_gives_what_its_images_give(method: str, name: str, pictures: Any) -> None:
    model, run = wrapped(name), getattr(vizkit, method)
    targets = [1, 3, None]
    whole = run(model, pictures, target=targets, batch_size=2, relu=False, **METHODS[method])
    assert whole.targets == (1, 3, model.predict(pictures[2])[0].index)
    for i, picture in enumerate(pictures):
        alone = run(model, picture, target=targets[i], relu=False, **METHODS[method])
        np.testing.assert_allclose(whole.values[i], alone.values[0], rtol=1e-8, atol=1e-9 * np.abs(alone.values).max())
    clipped = run(model, pictures, target=targets, **METHODS[method])
    np.testing.assert_allclose(clipped.extra["cam"], np.maximum(whole.extra["cam"], 0), rtol=1e-8, atol=1e-9)


@EVERY
def test_float32_is_as_close_as_float32_can_be(method: str, name: str, pictures: Any) -> None:
    """A second difference has half the digits: 1e-2 for ShapleyCAM."""
    options: dict[str, Any] = {"target": 2, "relu": False, **METHODS[method]}
    exact = getattr(vizkit, method)(wrapped(name), pictures, **options)
    single = getattr(vizkit, method)(wrapped(name, dtype="float32"), pictures, **options)
    assert single.values.dtype == np.float32
    off = np.linalg.norm(single.values - exact.values) / np.linalg.norm(exact.values)
    assert off <= (1e-2 if method == "shapley_cam" else 1e-3)


@pytest.mark.quick
def test_the_nearest_classes_are_compared(name: str, pictures: Any) -> None:
    model = wrapped(name)
    logits = model.logits(pictures[:1])[0]
    found = vizkit.finer_cam(model, pictures[0], target=1, similar=3).extra["similar"][0].astype(int)
    wanted = sorted(set(range(5)) - {1}, key=lambda c: abs(logits[c] - logits[1]))[:3]
    assert found.tolist() == wanted
    assert vizkit.finer_cam(model, pictures[0], target=1, similar=9).extra["similar"].shape == (1, 4)
    named = vizkit.finer_cam(model, pictures[0], target=1, similar=wanted, relu=False)
    nearest = vizkit.finer_cam(model, pictures[0], target=1, similar=3, relu=False)
    np.testing.assert_allclose(named.values, nearest.values, rtol=1e-12)
    assert named.provenance["settings"]["similar"] == wanted
    assert named.provenance["settings"]["target"] == [{"index": 1, "label": named.labels[0]}]


@pytest.mark.quick
def test_one_rival_is_a_difference_of_two_maps(name: str, pictures: Any) -> None:
    """Whatever its probability, and Grad-CAM is linear before it is clipped."""
    model = wrapped(name)
    one, other = (vizkit.gradcam(model, pictures, target=t, relu=False).values for t in (1, 4))
    found = vizkit.finer_cam(model, pictures, target=1, similar=[4], alpha=0.7, relu=False).values
    np.testing.assert_allclose(found, one - 0.7 * other, rtol=0, atol=1e-12 * np.abs(found).max())


@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        ("finer_cam", {"target": "all"}, "tells a class from others"),
        ("finer_cam", {"similar": 0}, "at least 1 class"),
        ("finer_cam", {"similar": []}, "at least one"),
        ("finer_cam", {"target": 2, "similar": [1, 2]}, "none that is explained"),
        ("shapley_cam", {"target": "all"}, "needs a class"),
        ("shapley_cam", {"utility": "loss"}, "'rest' or 'score'"),
        ("kpca_cam", {"kernel": "cosine"}, "sigmoid, rbf"),
        ("kpca_cam", {"gamma": 0.0}, "positive"),
        ("fem", {"sigmas": -1.0}, "0 or more"),
        ("group_cam", {"groups": 0}, "at least 1"),
        ("group_cam", {"percentile": 100.0}, "below 100"),
        ("is_cam", {"samples": 0}, "at least 1"),
        ("ss_cam", {"samples": 0}, "at least 1"),
        ("ss_cam", {"noise": -1.0}, "0 or more"),
    ],
)
def test_settings_that_cannot_be(method: str, options: dict[str, Any], match: str, pictures: Any) -> None:
    with pytest.raises(SettingError, match=match):
        getattr(vizkit, method)(wrapped(INSTALLED[0]), pictures[0], **options)


def test_a_class_that_does_not_exist(pictures: Any) -> None:
    model = vizkit.load("shapes", backend=INSTALLED[0])
    with pytest.raises(UnknownNameError, match="triangle"):
        vizkit.finer_cam(model, pictures[0], target="circle", similar=["triangel"])
    assert vizkit.shapley_cam(model, pictures[0], target="all", utility="score").labels == ("all logits",)


@pytest.mark.quick
def test_a_layer_of_too_many_positions_is_refused() -> None:
    from vizkit.techniques.cam.projecting import kernel_projection

    with pytest.raises(SettingError, match="at most 4096"):
        kernel_projection(np.ones((1, 65, 64)), "rbf", None)
