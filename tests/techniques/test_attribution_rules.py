"""The ReLU rules reach every ReLU: modules, in-place, one module used three times, and functions; and leave no
trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, shared_file
from kits import kit as kit_of
from kits import parameters
from kits.photos import squeezenet

import vizkit
from vizkit.errors import LayerError, SettingError

SIZE = 6
# conv, norm, relu (a module, in-place in PyTorch), pool, dropout; then, in a residual branch, one ReLU module used
# twice, and a functional ReLU after the sum.
STEM = [("conv", 3, 4, 3, 1), ("norm", 4), ("relu",), ("pool",), ("dropout", 0.5)]
BRANCH = [("conv", 4, 4, 3, 1), ("conv", 4, 4, 3, 1), ("relu",)]
HEAD = [("flatten",), ("dense", 4 * 3 * 3, 3)]


def residual(backend: str, bound: float | None = None) -> Any:
    """x = stem(x); y = relu(b(relu(a(x)))) with one relu; head(F.relu(x - y)), the last one as ReLU6 with a bound."""
    kit = kit_of(backend)
    stem, branch, head = (kit.sequential(layers, seed=i) for i, layers in enumerate((STEM, BRANCH, HEAD)))
    if backend == "torch":
        import torch
        from torch import nn

        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.a, self.b, self.relu, self.head = stem, branch[0], branch[1], branch[2], head

            def forward(self, x: Any) -> Any:
                x = self.stem(x)
                y = self.relu(self.b(self.relu(self.a(x))))
                if bound:
                    return self.head(nn.functional.hardtanh(x - y, 0.0, bound, inplace=True))
                return self.head(torch.relu_(x - y) if x.requires_grad else nn.functional.relu(x - y))

        native: Any = Residual().double().train()
    elif backend == "gluon":
        from mxnet.gluon import HybridBlock

        class Block(HybridBlock):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.head = stem, head
                self.a, self.b, self.relu = branch._children.values()

            def hybrid_forward(self, F: Any, x: Any) -> Any:
                x = self.stem(x)
                y = self.relu(self.b(self.relu(self.a(x))))
                return self.head(F.clip(x - y, 0, bound) if bound else F.relu(x - y))

        native = Block()
    else:
        pytest.skip(f"no such network in {backend} yet")
    return vizkit.wrap(native, input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)


class ByHand:
    """The same network in NumPy, forward and backward, with a rule at every ReLU."""

    def __init__(self, rule: str | None, bound: float = np.inf) -> None:
        self.rule, self.bound = rule, bound
        self.stem, self.branch, self.head = (parameters(layers, i) for i, layers in enumerate((STEM, BRANCH, HEAD)))

    def conv(self, x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        h, w = x.shape[1:]
        out = sum(
            np.einsum("oi,ihw->ohw", p["weight"][:, :, i, j], padded[:, i : i + h, j : j + w])
            for i in range(3)
            for j in range(3)
        )
        return np.asarray(out + p["bias"][:, None, None])

    def conv_back(self, g: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
        flipped = {
            "weight": p["weight"].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1],
            "bias": np.zeros(p["weight"].shape[1]),
        }
        return self.conv(g, flipped)

    def relu_back(self, g: np.ndarray, z: np.ndarray, bound: float = np.inf) -> np.ndarray:
        if self.rule == "deconvnet":
            return np.maximum(g, 0)
        return (np.maximum(g, 0) if self.rule == "guided" else g) * (z > 0) * (z < bound)

    def gradient(self, x: np.ndarray, target: int, eps: float) -> np.ndarray:
        norm = self.stem[1]
        slope = (norm["weight"] / np.sqrt(norm["var"] + eps))[:, None, None]
        z1 = slope * (self.conv(x, self.stem[0]) - norm["mean"][:, None, None]) + norm["bias"][:, None, None]
        windows = np.maximum(z1, 0).reshape(4, SIZE // 2, 2, SIZE // 2, 2).transpose(0, 1, 3, 2, 4).reshape(4, 3, 3, 4)
        s, first = windows.max(-1), windows.argmax(-1)
        za = self.conv(s, self.branch[0])
        zb = self.conv(np.maximum(za, 0), self.branch[1])
        zs = s - np.maximum(zb, 0)
        g = self.relu_back(self.head[1]["weight"][target].reshape(zs.shape), zs, self.bound)
        inner = self.relu_back(self.conv_back(self.relu_back(-g, zb), self.branch[1]), za)
        g = g + self.conv_back(inner, self.branch[0])
        spread = np.where(np.arange(4) == first[..., None], g[..., None], 0.0)
        spread = spread.reshape(4, 3, 3, 2, 2).transpose(0, 1, 3, 2, 4).reshape(4, SIZE, SIZE)
        return self.conv_back(self.relu_back(spread, z1) * slope, self.stem[0])


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "gradient_x_input"])
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_every_relu_follows_the_rule(name: str, picture: np.ndarray, method: str, bound: float | None) -> None:
    model = residual(name, bound)
    rule = {"guided_backprop": "guided", "deconvnet": "deconvnet"}.get(method)
    x = vizkit.images.prepare(picture, model.spec, fit="squash").tensor[0].astype(np.float64)
    seen = 0
    for target in range(3):
        expected = ByHand(rule, bound or np.inf).gradient(x, target, 1e-5)
        expected = expected * x if rule is None else expected
        found = getattr(vizkit, method)(model, picture, target=target, fit="squash").extra["attribution"][0]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10 * max(np.abs(expected).max(), 1e-3))
        seen += np.abs(expected).max() > 0
    assert seen, "all maps are blank, which proves nothing"


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "guided_gradcam"])
@pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
def test_the_network_is_left_as_it_was(name: str, picture: np.ndarray, method: str) -> None:
    model, kit = residual(name), kit_of(name)
    kit.leave_gradients(model.native, np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE)))
    logits, plain = model.logits(picture), vizkit.saliency(model, picture, target=1).values
    before = kit.snapshot(model.native)
    settings = {"layer": "stem"} if method == "guided_gradcam" else {}
    getattr(vizkit, method)(model, picture, target=1, **settings)
    assert kit.snapshot(model.native) == before
    np.testing.assert_array_equal(model.logits(picture), logits)
    np.testing.assert_array_equal(vizkit.saliency(model, picture, target=1).values, plain)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "guided_gradcam"])
def test_a_rule_that_no_relu_can_follow_is_refused(name: str, method: str) -> None:
    layers = [("conv", 3, 4, 3, 1), ("sigmoid",), ("flatten",), ("dense", 4 * SIZE * SIZE, 3)]
    model = vizkit.wrap(kit_of(name).sequential(layers), input_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, name="bent")
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    settings = {"layer": "0"} if method == "guided_gradcam" else {}
    with pytest.raises(SettingError, match=r"bent has none.*vizkit\.saliency"):
        getattr(vizkit, method)(model, picture, target=1, **settings)
    assert vizkit.saliency(model, picture, target=1).values.max() > 0


@pytest.mark.quick
def test_nothing_stays_after_an_error(name: str, picture: np.ndarray) -> None:
    model, kit = residual(name), kit_of(name)
    plain, before = vizkit.saliency(model, picture, target=1).values, kit.snapshot(model.native)
    with pytest.raises(vizkit.VizkitError):
        vizkit.guided_backprop(model, picture, target=99)
    with pytest.raises(LayerError, match="more than once"):
        vizkit.gradcam(model, picture, layer="relu")
    assert kit.snapshot(model.native) == before
    np.testing.assert_array_equal(vizkit.saliency(model, picture, target=1).values, plain)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_the_rules_give_the_same_every_time(name: str, method: str) -> None:
    """MXNet runs a rule's backward beside the rest: unless it waits, float32 maps change from run to run."""
    photo = shared_file("images/cat_dog.png")
    models = [squeezenet(name, 96, kind) for kind in ("float32", "float64")]
    found = [getattr(vizkit, method)(models[0], photo, target=243).values for _ in range(8)]
    exact = getattr(vizkit, method)(models[1], photo, target=243).values
    for one in found:
        assert np.linalg.norm(one - exact) <= 1e-5 * np.linalg.norm(exact)


def test_guided_backprop_hardly_depends_on_the_top() -> None:
    """Known of the method: other weights at the top leave its map nearly as it was, and the gradient's not."""
    if "torch" not in INSTALLED:
        pytest.skip("changes the weights through PyTorch, which is not installed")
    photo = shared_file("images/king_snake.png")
    model = squeezenet("torch", 112, "float32")
    methods = (vizkit.guided_backprop, vizkit.gradient_x_input)
    before = [method(model, photo, target=56).values.ravel() for method in methods]
    weight = model.native.classifier[1].weight
    rng = np.random.default_rng(0)
    other = rng.normal(0, float(weight.std()), tuple(weight.shape))
    weight.data.copy_(weight.data.new_tensor(other))
    after = [method(model, photo, target=56).values.ravel() for method in methods]
    guided, gradient = (np.corrcoef(np.abs(a), np.abs(b))[0, 1] for a, b in zip(before, after, strict=True))
    assert guided > 0.8
    assert guided > gradient + 0.1
