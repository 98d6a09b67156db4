"""Attribution methods: Gluon gives what PyTorch gives, in float64 to 1e-8 of the largest value, on SqueezeNet with the
real weights and on a small network with every trap; and what a method does not depend on, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import both, shared_file
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from kits.photos import squeezenet

import vizkit

SAMPLED = {"samples": 3, "noise": 0.1, "seed": 1}
METHODS: dict[str, dict[str, Any]] = {
    "saliency": {},
    "gradient_x_input": {},
    "smoothgrad": SAMPLED,
    "vargrad": SAMPLED,
    "squaregrad": SAMPLED,
    "integrated_gradients": {"steps": 4, "baseline": "noise"},
    "gradient_shap": SAMPLED,
    "conductance": {"steps": 4, "baseline": "noise"},
    "internal_influence": {"steps": 4, "baseline": "noise"},
    "guided_backprop": {},
    "deconvnet": {},
    "full_gradient": {},
    "gradcam": {},
    "gradcam_plus_plus": {},
    "smooth_gradcam_plus_plus": SAMPLED,
    "xgradcam": {},
    "layercam": {},
    "hirescam": {},
    "scorecam": {},
    "ablationcam": {},
    "eigencam": {},
    "guided_gradcam": {},
    "lrp": {"rules": "epsilon_gamma_box"},
    "crp": {},
    "deeplift": {},
    "deeplift_shap": {},
    "eigen_gradcam": {},
    "kpca_cam": {},
    "fem": {},
    "group_cam": {"groups": 3},
    "is_cam": {"samples": 3},
    "ss_cam": SAMPLED,
}
NOISY = [name for name, settings in METHODS.items() if "noise" in settings]
SLOW = dict.fromkeys(("scorecam", "ablationcam", "is_cam", "ss_cam"), "features.3.squeeze_activation")
quiet = pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")


def wrapped(backend: str, **options: Any) -> Any:
    """Batch norm, max-pool, dropout and in-place ReLUs, left in training mode."""
    native = kit_of(backend).sequential(TRAPS, **options)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3))


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    """Three small pictures of noise."""
    return [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(3)]


@pytest.fixture
def agree(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Asserts that two results agree, maps and extras, to 1e-8 of the largest value."""

    def check(method: str, network: str, torch: Any, gluon: Any) -> None:
        assert torch.layer == gluon.layer
        assert torch.labels == gluon.labels
        assert torch.extra.keys() == gluon.extra.keys()
        assert np.abs(torch.values).max() > 0
        for name, value in {"values": torch.values, **torch.extra}.items():
            other = gluon.values if name == "values" else gluon.extra[name]
            assert value.dtype == other.dtype == np.float64
            # Relative errors are near zero where a method is complete: they are compared as they are.
            high = 1.0 if name == "completeness_error" else np.abs(value).max()
            off = float(np.abs(value - other).max() / high)
            if name == "values":
                record_property("attribution", {"method": method, "backend": "gluon", "oracle": network, "max": off})
                print(f"ATTRIBUTION | {method} | gluon = torch, {network} | max {off:.1e}")
            assert off <= 1e-8, name

    return check


@pytest.fixture(scope="module")
def squeezenets() -> dict[str, Any]:
    """SqueezeNet with the real weights in both backends, float64, for pictures of 96 pixels."""
    return {name: squeezenet(name, 96) for name in ("torch", "gluon")}


@both()
@quiet
@pytest.mark.parametrize("method", METHODS)
def test_backends_agree_on_squeezenet(squeezenets: dict[str, Any], agree: Any, method: str) -> None:
    settings = METHODS[method] | ({"layer": SLOW[method]} if method in SLOW else {})
    photos = [shared_file("images/king_snake.png"), shared_file("images/cat_dog.png")]
    done = [getattr(vizkit, method)(model, photos, target=[None, 243], **settings) for model in squeezenets.values()]
    agree(method, "SqueezeNet", *done)


@both()
@quiet
@pytest.mark.parametrize("method", METHODS)
def test_backends_agree_on_traps(pictures: Any, agree: Any, method: str) -> None:
    settings = {"target": [0, 3, None], **METHODS[method]}
    done = [getattr(vizkit, method)(wrapped(name), pictures, **settings) for name in ("torch", "gluon")]
    agree(method, "batch norm, max-pool, dropout", *done)


@quiet
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_its_images_give(name: str, pictures: Any, method: str) -> None:
    """One by one or together, in batches of any size, with mixed kinds of targets; and nothing is normalised."""
    model, run = wrapped(name), getattr(vizkit, method)
    targets: list[Any] = [1, "all", None]
    whole = run(model, pictures, target=targets, batch_size=2, **METHODS[method])
    assert whole.values.shape == (3, TRAPS_SIZE, TRAPS_SIZE)
    assert whole.targets[:2] == (1, None)
    assert whole.targets[2] == model.predict(pictures[2])[0].index
    for i, picture in enumerate(pictures):
        alone = run(model, picture, target=targets[i], **METHODS[method])
        np.testing.assert_allclose(whole.values[i], alone.values[0], rtol=1e-9, atol=1e-12 * np.abs(alone.values).max())


@quiet
@pytest.mark.parametrize("method", METHODS)
def test_float32_is_as_close_as_float32_can_be(name: str, pictures: Any, method: str) -> None:
    exact = getattr(vizkit, method)(wrapped(name), pictures, target=2, **METHODS[method])
    single = getattr(vizkit, method)(wrapped(name, dtype="float32"), pictures, target=2, **METHODS[method])
    assert single.values.dtype == np.float32
    assert np.linalg.norm(single.values - exact.values) <= 1e-3 * np.linalg.norm(exact.values)


@quiet
@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was(name: str, pictures: Any, method: str, rng: Any) -> None:
    model, kit = wrapped(name), kit_of(name)
    kit.leave_gradients(model.native, np.asarray(rng.normal(size=(2, 3, TRAPS_SIZE, TRAPS_SIZE))))
    logits, before = model.logits(pictures), kit.snapshot(model.native)
    getattr(vizkit, method)(model, pictures, target=1, **METHODS[method])
    assert kit.snapshot(model.native) == before
    np.testing.assert_array_equal(model.logits(pictures), logits)


@quiet
@pytest.mark.parametrize("method", NOISY)
def test_the_seed_decides(name: str, pictures: Any, method: str) -> None:
    model, run = wrapped(name), getattr(vizkit, method)
    one, same, other = (run(model, pictures[:1], target=1, samples=3, noise=0.2, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.values, same.values)
    assert np.abs(one.values - other.values).max() > 1e-3 * np.abs(one.values).max()
    assert one.provenance["settings"]["seed"] == 5


@pytest.mark.quick
def test_grad_cam_finds_the_dog_and_the_cat(name: str) -> None:
    weights = str(shared_file("weights/squeezenet1_0-imagenet.safetensors"))
    model = vizkit.load("squeezenet1_0", backend=name, weights=weights)
    photo = shared_file("images/cat_dog.png")
    for target, x, y in ((243, 95, 26), (282, 163, 146)):
        # The photo's coordinates are of the file itself, 224x224, which "squash" takes as it is.
        found = vizkit.gradcam(model, photo, target=target, layer="features.12", fit="squash")
        peak = np.unravel_index(found.values[0].argmax(), found.values[0].shape)
        assert np.hypot(peak[0] - y, peak[1] - x) <= 17, f"{target} peaks at x {peak[1]}, y {peak[0]}"
