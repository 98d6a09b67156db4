"""The networks that people publish about, at full size, in both frameworks: equal, and right.

Equality is proved in float64. In float32 a gradient through ReLU and max-pool is not continuous, so each backend is
held against the float64 gradient, beside PyTorch's own float32 error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits.drawn import drawn

import vizkit
from vizkit import images
from vizkit.zoo import weights
from vizkit.zoo.architecture import parameter_shapes

pytestmark = [both(), pytest.mark.full_size]
BACKENDS = ("torch", "gluon")
PUBLISHED = ("resnet152", "googlenet")
"""GoogLeNet has batch norms and dropout; VGG19 has dropout alone."""
MODELS = {
    "vgg19": ("features.4", "features.18", "features.36", "classifier.0", "classifier.4"),
    "resnet152": ("bn1", "maxpool", "layer1.0.conv3", "layer2", "layer3.35", "avgpool"),
    "googlenet": ("conv1", "inception3a.branch3.1.bn", "inception4a", "maxpool4", "inception5b", "avgpool"),
    "squeezenet1_0": ("features.0", "features.3.squeeze", "features.7.expand3x3_activation", "features.12"),
}
SIDE = 96
ANY_SIZE = ("resnet152", "googlenet")
"""Average over the whole of their last maps, however large, so that smaller pictures do; others take 224 pixels."""
PHOTO = images.sample()


def load(name: str, backend: str, dtype: str) -> Any:
    model = vizkit.load(name, backend=backend, weights="random:7", dtype=dtype)
    if name in ANY_SIZE:
        model.spec = replace(model.spec, size=(SIDE, SIDE), resize=SIDE)
    return model


def measured(name: str, model: Any) -> dict[str, Any]:
    """Logits, feature maps and input gradient of a network."""
    ops = model.ops
    x = ops.asarray(images.prepare(PHOTO, model.spec).tensor)

    def score(leaves: Any) -> Any:
        kept = model.forward(leaves["x"], ("output", *MODELS[name]))
        top = int(ops.numpy(kept["output"]).argmax())
        return kept["output"][:, top], kept

    _, gradient, kept = ops.value_and_grad(score, {"x": x})
    return {
        "gradient": ops.numpy(gradient["x"]),
        "layers": list(model.layers),
        "parameters": model.parameter_shapes(),
        **{key: ops.numpy(value) for key, value in kept.items()},
    }


@pytest.fixture(scope="module", params=MODELS)
def found(request: pytest.FixtureRequest) -> dict[Any, Any]:
    """All that is known of one network in both frameworks and both dtypes, and its name; its weights are drawn once."""
    name = request.param
    given = drawn(parameter_shapes(name))
    facts: dict[Any, Any] = {"name": name}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "draw", lambda shapes, seed: given)
        for backend in BACKENDS:
            exact = load(name, backend, "float64")
            facts["float64", backend] = measured(name, exact) | {"sha256": exact.sha256()}
            if backend == "gluon":
                x = exact.ops.asarray(images.prepare(PHOTO, exact.spec).tensor)
                facts["native"] = exact.ops.numpy(exact.native(x))
            if name in PUBLISHED:
                facts["published", backend] = vizkit.saliency(exact, PHOTO, mode="published", seed=1)
            del exact
            facts["float32", backend] = measured(name, load(name, backend, "float32"))
    return facts


def relative(a: Any, b: Any) -> float:
    """Largest difference as a share of the largest value."""
    return float(np.abs(a - b).max() / np.abs(a).max())


def distance(a: Any, exact: Any) -> float:
    """Relative L2."""
    return float(np.linalg.norm(a - exact) / np.linalg.norm(exact))


def test_equal(found: dict[Any, Any]) -> None:
    name = found["name"]
    torch64, gluon64 = found["float64", "torch"], found["float64", "gluon"]
    torch32, gluon32 = found["float32", "torch"], found["float32", "gluon"]
    assert torch64["sha256"] == gluon64["sha256"]
    assert set(gluon64["layers"]) <= set(torch64["layers"])
    assert [layer for layer in torch64["layers"] if layer in gluon64["layers"]] == gluon64["layers"]
    assert torch64["parameters"] == gluon64["parameters"] == parameter_shapes(name)
    assert 0.3 < torch64["output"].std() < 30, "random weights are ill conditioned"
    assert relative(found["native"], gluon64["output"]) <= 1e-12, "the graph is not what the network computes"
    for key in ("output", *MODELS[name]):
        assert np.abs(torch64[key]).max() > 1e-3
        assert relative(torch64[key], gluon64[key]) <= 1e-10, key
        assert relative(torch32[key], gluon32[key]) <= 1e-5, key
    assert relative(torch64["gradient"], gluon64["gradient"]) <= 1e-10
    assert np.count_nonzero(torch64["gradient"]) > 0.9 * torch64["gradient"].size
    exact = torch64["gradient"]
    own = distance(torch32["gradient"], exact)
    for gradient in (torch32["gradient"], gluon32["gradient"]):
        assert distance(gradient, exact) <= 3 * own + 1e-3


def test_the_float64_gradient_is_right() -> None:
    """Finite differences along random directions, on GoogLeNet, in float64."""
    rng = np.random.default_rng(0)
    for backend in BACKENDS:
        model = load("googlenet", backend, "float64")
        ops = model.ops
        x = images.prepare(PHOTO, model.spec).tensor.astype(np.float64)

        def score(leaves: Any, model: Any = model) -> Any:
            return model.forward(leaves["x"])["output"][:, 3], None

        _, gradient, _ = ops.value_and_grad(score, {"x": ops.asarray(x)})
        for _ in range(3):
            direction = rng.normal(size=x.shape)
            step = 1e-7
            ends = [float(ops.numpy(score({"x": ops.asarray(x + s * step * direction)})[0])[0]) for s in (1, -1)]
            expected = float((ops.numpy(gradient["x"]) * direction).sum())
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-4)


def test_the_first_dream_steps_agree() -> None:
    found = {}
    for backend in BACKENDS:
        model = load("googlenet", backend, "float32")
        found[backend] = vizkit.dream(model, stages=1, steps=10, size=SIDE).step_activation
    np.testing.assert_allclose(found["gluon"], found["torch"], rtol=1e-3)


@pytest.mark.parametrize("found", PUBLISHED, indirect=True)
def test_published_mode_is_equal(found: dict[Any, Any]) -> None:
    """Training-mode forward, batch statistics of one image and seeded dropout: the homework's maps, in float64."""
    maps = {backend: found["published", backend] for backend in BACKENDS}
    for result in maps.values():
        assert result.provenance["settings"]["input_range"] == "unit"
    assert relative(maps["torch"].values, maps["gluon"].values) <= 1e-8
