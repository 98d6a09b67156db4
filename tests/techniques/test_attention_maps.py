"""Attention maps, rollout and relevance: as plain hooks and autograd make them on a Vision Transformer, and the same in
both frameworks on a small network with the same weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits.again import Again
from kits.attention import CLASSES, HEADS, LAST, METHODS, photo, tiny, vit, wrapped

import vizkit
from vizkit.techniques.common.blind import CLASS_BLIND

# A Vision Transformer by other means: PyTorch's weights of each attention, by hooks, and its gradients by autograd
# through attention that is spelt out.


class Watched:
    """Every attention of a ``VisionTransformer`` in one pass, (heads, T, T) each, and their gradients."""

    def __init__(self, native: Any, x: Any, target: int) -> None:
        import torch

        self.weights: list[Any] = []
        blocks = [layer.self_attention for layer in native.encoder.layers]
        handles = [one.register_forward_hook(self._attend) for one in blocks]
        with torch.enable_grad():
            score = native(x.clone().requires_grad_())[0, target]
            self.gradients = [one[0].numpy() for one in torch.autograd.grad(score, self.weights)]
        for one in handles:
            one.remove()
        self.weights = [one[0].detach().numpy() for one in self.weights]

    def _attend(self, block: Any, inputs: Any, output: Any) -> Any:
        x = inputs[0]
        n, count, width = x.shape
        qkv = x @ block.in_proj_weight.T + block.in_proj_bias
        q, k, v = qkv.reshape(n, count, 3, block.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(2, 3) / math.sqrt(width / block.num_heads)).exp()
        weights = scores / scores.sum(-1, keepdim=True)
        self.weights.append(weights)
        return block.out_proj((weights @ v).transpose(1, 2).reshape(x.shape)), None


def watched(model: Any, picture: Any, target: int) -> Watched:
    import torch

    batch = vizkit.images.prepare(picture, model.spec, fit="squash")
    return Watched(copy.deepcopy(model.native).cpu(), torch.from_numpy(batch.tensor).double(), target)


def vit_explain(weights: list[Any], discard_ratio: float, fusion: str) -> Any:
    """Gildenblat's rollout, but for the division by the rows' sums along the rows."""
    import torch

    result = torch.eye(weights[0].shape[-1], dtype=torch.float64)
    for one in weights:
        attention = torch.from_numpy(one)[None]
        fused = {"mean": attention.mean(1), "max": attention.max(1)[0], "min": attention.min(1)[0]}[fusion].clone()
        flat = fused.view(1, -1)
        _, indices = flat.topk(int(flat.size(-1) * discard_ratio), -1, False)
        flat[0, indices[indices != 0]] = 0
        a = (fused[0] + torch.eye(fused.shape[-1])) / 2
        result = (a / a.sum(-1, keepdim=True)) @ result
    return result.numpy()


@pytest.mark.quick
def test_attention_of_a_layer(agree: Any) -> None:
    model = wrapped(vit())
    found = vizkit.attention(model, photo(), fit="squash")
    theirs = watched(model, photo(), 0).weights[-1]
    agree("attention", "by hand", found.extra["attention"][0], theirs, 1e-10)
    assert found.layer == LAST
    assert found.extra["heads"].shape == (1, HEADS, 4, 4)
    np.testing.assert_allclose(found.extra["cam"][0], theirs[:, 0, 1:].mean(0).reshape(4, 4), rtol=1e-10)
    for head in range(HEADS):
        one = vizkit.attention(model, photo(), fit="squash", head=head, layer=LAST.replace("2", "0"))
        theirs = watched(model, photo(), 0).weights[0]
        np.testing.assert_allclose(one.extra["cam"][0], theirs[head, 0, 1:].reshape(4, 4), rtol=1e-10)
    assert not found.signed
    assert found.values.shape == (1, 64, 64)
    assert found.values[0, 8, 8] == pytest.approx(found.extra["cam"][0, :2, :2].mean(), rel=0.2)


def test_which_know_the_target() -> None:
    model = wrapped(vit())
    for name in METHODS:
        one, other = (getattr(vizkit, name)(model, photo(), target=target, fit="squash").values for target in (0, 1))
        assert np.array_equal(one, other) == (name in CLASS_BLIND), name


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard_ratio", [0.0, 0.3, 0.9])
def test_rollout(fusion: str, discard_ratio: float, agree: Any) -> None:
    model = wrapped(vit())
    found = vizkit.attention_rollout(model, photo(), fit="squash", fusion=fusion, discard_ratio=discard_ratio)
    theirs = vit_explain(watched(model, photo(), 0).weights, discard_ratio, fusion)
    agree("attention_rollout", "vit-explain by hand", found.extra["rollout"][0], theirs, 1e-10)
    np.testing.assert_array_equal(found.extra["cam"][0], found.extra["rollout"][0, 0, 1:].reshape(4, 4))


@pytest.mark.parametrize("target", range(CLASSES))
def test_relevance(target: int, agree: Any) -> None:
    model = wrapped(vit())
    found = vizkit.attention_relevance(model, photo(), target=target, fit="squash")
    oracle = watched(model, photo(), target)
    theirs = np.eye(17)
    for weights, gradients in zip(oracle.weights, oracle.gradients, strict=True):
        theirs = theirs + np.maximum(gradients * weights, 0).mean(0) @ theirs
    agree("attention_relevance", "Chefer's rule by hand", found.extra["relevance"][0], theirs, 1e-10)
    np.testing.assert_array_equal(found.extra["cam"][0], found.extra["relevance"][0, 0, 1:].reshape(4, 4))


@pytest.mark.quick
def test_relevance_asks_for_the_class() -> None:
    """What it multiplies attention with is that class's finite difference."""
    model = wrapped(vit())
    x = model.ops.asarray(vizkit.images.prepare(photo(), model.spec, fit="squash").tensor)
    step, rng = 1e-5, np.random.default_rng(1)
    for target in (0, 3):
        direction = rng.normal(size=(1, HEADS, 17, 17))
        up, down = (
            model.ops.numpy(model.forward(x, add={LAST: model.ops.asarray(sign * step * direction)})["output"])
            for sign in (1, -1)
        )
        slope = (watched(model, photo(), target).gradients[-1] * direction[0]).sum()
        assert (up - down)[0, target] / (2 * step) == pytest.approx(slope, rel=1e-6)
    first, second = (vizkit.attention_relevance(model, photo(), target=one, fit="squash").values for one in (0, 3))
    assert np.abs(first - second).max() > 0.1 * first.max()
    for method in METHODS[:2]:
        first, second = (getattr(vizkit, method)(model, photo(), target=one, fit="squash") for one in (0, 3))
        np.testing.assert_array_equal(first.values, second.values)


@both()
@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_gluon_is_pytorch(method: str, token: bool, record_property: Any) -> None:
    torch, gluon = (tiny(name, token) for name in ("torch", "gluon"))
    assert list(gluon.attention) == ["blocks.0.drop", "blocks.1.drop"], "which hand on the probabilities"
    assert list(torch.attention) == ["blocks.0:attention", "blocks.1:attention"]
    options = {"target": 2, "fit": "squash"} | ({"discard_ratio": 0.4} if method == "attention_rollout" else {})
    pictures = [photo(seed, (40, 24)) for seed in range(3)]
    ours, theirs = (getattr(vizkit, method)(one, pictures, **options) for one in (gluon, torch))
    assert ours.extra.keys() == theirs.extra.keys()
    assert ours.extra["cam"].shape == (3, 5, 3), "not square"
    for name, value in {"values": theirs.values, **theirs.extra}.items():
        other = ours.values if name == "values" else ours.extra[name]
        assert np.ptp(value) > 0
        off = float(np.abs(value - other).max() / np.abs(value).max())
        if name == "values":
            record_property("attribution", {"method": method, "backend": "gluon", "oracle": "attention", "max": off})
        assert off <= 1e-10, name


@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("method", METHODS)
def test_without_a_class_token_all_rows_count(method: str, backend: str) -> None:
    model = tiny(backend, token=False)
    found = getattr(vizkit, method)(model, photo(size=(40, 24)), target=2, fit="squash")
    raw = found.extra[{"attention": "attention", "attention_rollout": "rollout"}.get(method, "relevance")][0]
    raw = raw.mean(0) if method == "attention" else raw
    assert raw.shape == (15, 15)
    np.testing.assert_allclose(found.extra["cam"][0], raw.mean(0).reshape(5, 3), rtol=1e-12)


@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_pictures_one_by_one(method: str, backend: str) -> None:
    model = tiny(backend)
    pictures = [photo(seed, (40, 24)) for seed in range(3)]
    options: dict[str, Any] = {"fusion": "max", "discard_ratio": 0.6} if method == "attention_rollout" else {}
    targets = [4, 0, 1]
    whole = getattr(vizkit, method)(model, pictures, target=targets, batch_size=2, fit="squash", **options)
    for i, one in enumerate(pictures):
        alone = getattr(vizkit, method)(model, one, target=targets[i], fit="squash", **options)
        for name, value in {"values": alone.values, **alone.extra}.items():
            every = whole.values if name == "values" else whole.extra[name]
            np.testing.assert_allclose(every[i : i + 1], value, rtol=1e-9, atol=1e-12)
    assert whole.targets == tuple(targets)
    top = getattr(vizkit, method)(model, pictures, fit="squash")
    assert list(top.targets) == model.logits(pictures, fit="squash").argmax(1).tolist()


@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("method", METHODS)
def test_maps_come_of_pure_steps(method: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a step with a key does what the first with that key did, whatever the settings."""
    model = tiny(backend)
    settings: list[dict[str, Any]] = [{}, {"target": 1}]
    if method == "attention_rollout":
        settings += [{"fusion": "max"}, {"fusion": "min"}]
    elif method == "attention":
        settings += [{"layer": next(iter(model.attention))}]
    pictures = [photo(seed, (40, 24)) for seed in range(3)]

    def calls() -> list[Any]:
        return [getattr(vizkit, method)(model, pictures, batch_size=2, fit="squash", **one) for one in settings]

    plain, again = calls(), Again(model)
    monkeypatch.setattr(type(model), "recorded", lambda _, step, key=None: again.recorded(step, key))
    for one, wanted in zip(calls(), plain, strict=True):
        for name, value in wanted.arrays().items():
            np.testing.assert_array_equal(one.arrays()[name], value, err_msg=name)
    assert again.calls == 2 * len(settings)
