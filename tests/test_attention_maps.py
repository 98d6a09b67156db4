"""Attention maps, rollout and relevance: as plain hooks and autograd make them on a Vision Transformer, and the same in
both frameworks on a small network with the same weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from test_recorded import Again

import vizkit
from vizkit.cli import maps
from vizkit.errors import LayerError, MapWarning, SettingError, UnknownNameError
from vizkit.explain import explain, methods
from vizkit.grid import Grid

METHODS = ("attention", "attention_rollout", "attention_relevance")
HEADS, CLASSES = 2, 5
LAST = "encoder.layers.encoder_layer_2.self_attention:attention"


def photo(seed: int = 3, size: tuple[int, int] = (64, 64)) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def wrapped(native: Any, size: Any = 64, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=size, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def vit() -> Any:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    made = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=HEADS, hidden_dim=32, mlp_dim=64, num_classes=CLASSES
    )
    torch.nn.init.normal_(made.heads.head.weight)
    return made.double().eval()


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
    import copy

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


# The same network in both frameworks: patches, a class token or none, two attentions, a dense layer.
PATCH, WIDTH, BLOCKS = 8, 12, 2


def numbers() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    shapes = {"patch": (WIDTH, 3, PATCH, PATCH), "head": (CLASSES, WIDTH)}
    shapes |= {f"{part}{i}": (WIDTH, WIDTH) for i in range(BLOCKS) for part in "qkvo"}
    return {name: rng.normal(size=shape) / math.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}


def in_torch(token: bool) -> Any:
    import torch
    from torch import nn

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

        def forward(self, x: Any) -> Any:
            q, k, v = (part(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
            y = nn.functional.scaled_dot_product_attention(q, k, v)
            return x + self.o(y.transpose(1, 2).flatten(2))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
            self.blocks = nn.ModuleList(Attend() for _ in range(BLOCKS))
            self.head = nn.Linear(WIDTH, CLASSES, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([x.mean(1, keepdim=True), x], 1) if token else x
            for block in self.blocks:
                x = block(x)
            return self.head(x[:, 0] if token else x.mean(1))

    made = Net().double()
    state = {f"{name}.weight": value for name, value in numbers().items() if len(name) > 2}
    state |= {f"blocks.{i}.{part}.weight": numbers()[f"{part}{i}"] for i in range(BLOCKS) for part in "qkvo"}
    made.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return made


def in_gluon(token: bool) -> Any:
    import mxnet as mx
    from mxnet.gluon import HybridBlock, nn

    class Probabilities(HybridBlock):
        def hybrid_forward(self, F: Any, scores: Any) -> Any:
            return F.softmax(scores, axis=-1)

    def dense(name: str) -> Any:
        made = nn.Dense(WIDTH, flatten=False, use_bias=False, in_units=WIDTH, dtype="float64")
        made.initialize()
        made.weight.set_data(mx.nd.array(numbers()[name], dtype="float64"))
        return made

    class Attend(HybridBlock):
        def __init__(self, i: int) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (dense(f"{part}{i}") for part in "qkvo")
            self.probabilities, self.drop = Probabilities(), nn.Dropout(0.3)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            q, k, v = (
                F.transpose(F.reshape(part(x), (0, 0, HEADS, -1)), (0, 2, 1, 3)) for part in (self.q, self.k, self.v)
            )
            scores = F.linalg_gemm2(q, k, transpose_b=True, alpha=1 / math.sqrt(WIDTH / HEADS))
            y = F.linalg_gemm2(self.drop(self.probabilities(scores)), v)
            return x + self.o(F.reshape(F.transpose(y, (0, 2, 1, 3)), (0, 0, -1)))

    class Net(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2D(WIDTH, PATCH, PATCH, in_channels=3, use_bias=False)
            self.blocks = nn.HybridSequential()
            self.blocks.add(*(Attend(i) for i in range(BLOCKS)))
            self.head = nn.Dense(CLASSES, use_bias=False, in_units=WIDTH)
            for name in ("patch", "head"):
                block = getattr(self, name)
                block.cast("float64")
                block.initialize()
                block.weight.set_data(mx.nd.array(numbers()[name], dtype="float64"))

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            x = F.transpose(F.reshape(self.patch(x), (0, 0, -1)), (0, 2, 1))
            x = F.concat(F.mean(x, axis=1, keepdims=True), x, dim=1) if token else x
            x = self.blocks(x)
            x = F.slice_axis(x, axis=1, begin=0, end=1) if token else F.mean(x, axis=1, keepdims=True)
            return self.head(F.flatten(x))

    return Net()


MAKE = {"torch": in_torch, "gluon": in_gluon}


def tiny(backend: str, token: bool = True, size: Any = (40, 24)) -> Any:
    if backend not in MAKE:
        pytest.skip(f"no such network in {backend} yet")
    return wrapped(MAKE[backend](token), size, name="tiny")


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


@pytest.mark.parametrize("aside", [2, 3])
def test_tokens_set_aside(aside: int) -> None:
    """A class token with a distillation token; and as many as only the user knows of."""
    torch = pytest.importorskip("torch")

    class Aside(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3, WIDTH, 8, 8)
            self.tokens = torch.nn.Parameter(torch.randn(1, aside, WIDTH))
            self.block = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
            return self.block(x, x, x)[0][:, 0]

    torch.manual_seed(0)
    native, layout = Aside().double(), {"block:attention": Grid("NTC", 1, 5, 3, 3)}
    if aside == 3:
        with pytest.raises(LayerError, match=r"18 to 18 tokens, which are not a picture's of \(40, 24\)"):
            vizkit.attention(wrapped(native, (40, 24)), photo(size=(40, 24)))
    model = wrapped(native, (40, 24), layout=layout if aside == 3 else None)
    found = vizkit.attention(model, photo(size=(40, 24)), head=1, fit="squash")
    raw = found.extra["attention"][0, 1, 0]
    np.testing.assert_array_equal(found.extra["cam"][0], raw[aside:].reshape(5, 3))


def test_windows_are_refused() -> None:
    torch, torchvision = (pytest.importorskip(name) for name in ("torch", "torchvision"))
    torch.manual_seed(0)
    swin = torchvision.models.SwinTransformer([4, 4], 24, [1, 1, 1], [2, 4, 8], [7, 7], num_classes=5).eval()
    model = wrapped(swin, 112)
    picture = photo(size=(112, 112))
    for method in METHODS[1:]:
        with pytest.raises(LayerError, match=r"within windows: \(16, 2, 49, 49\).*gradcam"):
            getattr(vizkit, method)(model, picture)
    with pytest.raises(LayerError, match=r"features.3.0.attn:attention.*within windows.*one window"):
        vizkit.attention(model, picture, layer="features.3.0.attn:attention")
    assert not set(METHODS) & set(methods([model]))


def test_tokens_that_are_pooled_are_refused() -> None:
    torch = pytest.importorskip("torch")

    class Pooled(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.pool = torch.nn.Conv2d(3, WIDTH, 8, 8), torch.nn.AvgPool2d(2)
            self.first, self.second = (torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True) for _ in range(2))

        def forward(self, x: Any) -> Any:
            x = self.patch(x)
            y = x.flatten(2).transpose(1, 2)
            x = self.pool(self.first(y, y, y)[0].transpose(1, 2).reshape(x.shape))
            y = x.flatten(2).transpose(1, 2)
            return self.second(y, y, y)[0].mean(1)

    model = wrapped(Pooled())
    with pytest.raises(LayerError, match="64 in 'first:attention' and 16 in 'second:attention'"):
        vizkit.attention_rollout(model, photo())
    assert vizkit.attention(model, photo(), layer="first:attention").extra["cam"].shape == (1, 8, 8)


def test_fewer_tokens_to_look_at_are_refused() -> None:
    """Where keys and values are pooled, as in a pyramid."""
    torch = pytest.importorskip("torch")

    class Reduced(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3, WIDTH, 16, 16)
            self.attend = torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            few = x.unflatten(1, (4, 4)).mean(1)
            return self.attend(x, few, few)[0].mean(1)

    model = wrapped(Reduced())
    assert model.attention["attend:attention"].shape == (1, 2, 16, 4)
    for method in METHODS:
        with pytest.raises(LayerError, match="from 16 to 4 tokens"):
            getattr(vizkit, method)(model, photo())


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


def test_any_technique_can_name_it() -> None:
    model = wrapped(vit())
    shown = vizkit.feature_maps(model, photo(), LAST, fit="squash")
    np.testing.assert_array_equal(shown.values, vizkit.attention(model, photo(), fit="squash").extra["attention"])


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_attention_is_refused(method: str, kit: Any) -> None:
    model = wrapped(kit.sequential([("conv", 3, 4, 3, 1), ("flatten",), ("dense", 4 * 64, 3)]), 8)
    with pytest.raises(LayerError, match=r"has no attention.*Take vizkit.gradcam"):
        getattr(vizkit, method)(model, photo(size=(8, 8)))


def test_what_makes_no_sense() -> None:
    model = wrapped(vit())
    with pytest.raises(LayerError, match=r"Layer 'encoder.ln' .* gives no attention.*self_attention:attention'"):
        vizkit.attention(model, photo(), layer="encoder.ln")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'encoder.layers.encoder_layer_"):
        vizkit.attention(model, photo(), layer=LAST.replace("self_", ""))
    with pytest.raises(SettingError, match="has 2 heads; take 0 to 1"):
        vizkit.attention(model, photo(), head=2)
    for settings in ({"fusion": "median"}, {"discard_ratio": 1.0}, {"discard_ratio": -0.1}):
        with pytest.raises(SettingError, match="expected one of 'mean', 'max', 'min', and 0 <= discard_ratio < 1"):
            vizkit.attention_rollout(model, photo(), **settings)


def test_blank_weights_are_told() -> None:
    model = wrapped(vit())
    names = [name for name in model.parameter_shapes() if "in_proj" in name]
    blank = model.with_parameters({name: np.zeros(model.parameter_shapes()[name]) for name in names})
    with pytest.warns(MapWarning, match=r"attention of .* is 0.0588 everywhere: every token"):
        vizkit.attention(blank, photo())
    with pytest.warns(MapWarning, match="is zero everywhere: no attention speaks for the class"):
        vizkit.attention_relevance(blank, photo(), target=1)


def test_they_are_methods_like_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = wrapped(vit(), name="vit")
    assert set(METHODS) <= set(methods([model]))
    assert set(METHODS) <= set(maps._methods(["all"], [model]))
    assert "attention" not in capsys.readouterr().err
    shown = explain(model, photo(), ["gradcam", *METHODS], [1, 3])
    assert shown.values.shape == (2, 1, 4, 1, 64, 64)
    np.testing.assert_array_equal(
        shown.values[1, 0, 3], vizkit.attention_relevance(model, photo(), target=3).values, strict=True
    )
    shown.save(tmp_path / "x.png")
    made = shown.results[0][0][2].provenance
    assert made["technique"] == "attention_rollout"
    assert made["settings"]["layers"] == list(model.attention)


def test_timms(record_property: Any) -> None:
    """Fused, and not: there a dropout gives the probabilities."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    made = timm.models.vision_transformer.VisionTransformer(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=5, reg_tokens=4
    )
    found = []
    for fused in (True, False):
        for block in made.blocks:
            block.attn.fused_attn = fused
        model = wrapped(made.double().eval())
        assert list(model.attention) == [f"blocks.{i}.attn{':attention' if fused else '.attn_drop'}" for i in range(2)]
        found.append([getattr(vizkit, method)(model, photo(), target=1).values for method in METHODS])
    np.testing.assert_allclose(*found, rtol=1e-9)
