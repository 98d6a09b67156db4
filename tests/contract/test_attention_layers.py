"""Attention as layers of PyTorch's networks: the probabilities that PyTorch itself gives, however a network computes
them; seen without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import ShapeError, UnknownNameError

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.overrides import _get_current_function_mode_stack

SIDE, WIDTH, HEADS = 64, 32, 2
LAYERS = [f"encoder.layers.encoder_layer_{i}.self_attention:attention" for i in range(3)]


def vit() -> nn.Module:
    torch.manual_seed(0)
    made = torchvision.models.VisionTransformer(
        image_size=SIDE, patch_size=16, num_layers=3, num_heads=HEADS, hidden_dim=WIDTH, mlp_dim=64, num_classes=5
    )
    nn.init.normal_(made.heads.head.weight)
    return made.double().eval()


def wrapped(native: nn.Module, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def pictures(model: Any, count: int = 2) -> Any:
    return model.ops.asarray(np.random.default_rng(3).normal(size=(count, 3, SIDE, SIDE)))


class Attend(nn.Module):
    """Self-attention, spelt in one of the ways in which networks spell it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.softmax, self.drop = nn.Softmax(-1), nn.Dropout(0.4)

    def heads(self, x: Any) -> Any:
        return self.qkv(x).reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)

    def probabilities(self, scores: Any) -> Any:
        if self.way == "function":
            return F.dropout(F.softmax(scores, dim=-1, dtype=torch.float64), 0.4, self.training)
        if self.way == "method":
            return self.drop(scores.softmax(dim=-1))
        if self.way == "torch":
            return torch.softmax(scores, 3)
        return self.drop(self.softmax(scores))

    def forward(self, x: Any) -> Any:
        q, k, v = self.heads(x)
        if self.way == "fused":
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.4 if self.training else 0.0)
        else:
            y = self.probabilities(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])) @ v
        return self.proj(y.transpose(1, 2).reshape(x.shape))


class MultiHead(nn.Module):
    """The same by ``nn.MultiheadAttention``, which may be asked for weights that nobody reads."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.mha, self.weights = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), weights

    def forward(self, x: Any) -> Any:
        return self.mha(x, x, x, need_weights=self.weights)[0]


class Tokens(nn.Module):
    """Patches as tokens, an attention, and a dense layer on their mean."""

    def __init__(self, attend: nn.Module) -> None:
        super().__init__()
        self.patch, self.attend, self.head = nn.Conv2d(3, WIDTH, 16, 16), attend, nn.Linear(WIDTH, 5)

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head((x + self.attend(x)).mean(1))


def tokens(attend: nn.Module) -> nn.Module:
    """With the same numbers, whatever their names."""
    made = Tokens(attend).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            spread = math.sqrt(len(parameter) / parameter.numel())
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


WAYS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "fused": (lambda: Attend("fused"), "attend:attention"),
    "function": (lambda: Attend("function"), "attend:attention"),
    "torch": (lambda: Attend("torch"), "attend:attention"),
    "method": (lambda: Attend("method"), "attend.drop"),
    "module": (lambda: Attend("module"), "attend.drop"),
    "multi-head": (lambda: MultiHead(False), "attend.mha:attention"),
    "multi-head with weights": (lambda: MultiHead(True), "attend.mha:attention"),
}


def by_hand(made: Any, x: Any) -> Any:
    """(N, heads, T, T) in NumPy, of the weights of any of these."""
    numbers = [one.detach().cpu().numpy() for one in made.parameters()]
    kernel, shift, weight, bias = numbers[:4]
    n, c, side, _ = x.shape
    patches = x.reshape(n, c, side // 16, 16, side // 16, 16).transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, c * 256)
    rows = patches @ kernel.reshape(WIDTH, -1).T + shift
    q, k, _ = np.split(rows @ weight.T + bias, 3, axis=2)
    q, k = (one.reshape(*one.shape[:2], HEADS, -1).transpose(0, 2, 1, 3) for one in (q, k))
    scores = np.exp(q @ k.transpose(0, 1, 3, 2) / math.sqrt(WIDTH / HEADS))
    return scores / scores.sum(axis=3, keepdims=True)


@pytest.mark.parametrize("way", WAYS)
def test_one_layer_however_it_is_spelt(way: str) -> None:
    make, name = WAYS[way]
    model = wrapped(tokens(make()).train())
    assert list(model.attention) == [name]
    assert model.attention[name].shape == (1, HEADS, 16, 16)
    assert (name in model.layers) == (":" not in name)
    x = pictures(model)
    plain = model.forward(x)["output"]
    seen = model.forward(x, (name, "output"))
    np.testing.assert_allclose(seen["output"].cpu(), plain.cpu(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(seen[name].cpu(), by_hand(model.native, x.cpu().numpy()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_added_is_what_the_network_goes_on_with(way: str) -> None:
    """The gradient at the probabilities is that of a finite difference, and all ways agree."""
    make, name = WAYS[way]
    model = wrapped(tokens(make()))
    ops, x = model.ops, pictures(model)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(2, HEADS, 16, 16))

    def score(leaves: Any) -> Any:
        return model.forward(x, ("output",), leaves)["output"][:, 1] ** 2, None

    zero = {name: ops.zeros(direction.shape)}
    _, gradients, _ = ops.value_and_grad(score, zero)
    step = 1e-5
    up, down = (ops.numpy(score({name: ops.asarray(sign * step * direction)})[0]) for sign in (1, -1))
    found = (ops.numpy(gradients[name]) * direction).sum(axis=(1, 2, 3))
    assert np.abs(found).min() > 1e-3
    np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-7)


@pytest.mark.quick
def test_the_weights_of_multi_head_attention() -> None:
    """Of a Vision Transformer, as ``need_weights=True`` gives them."""
    model = wrapped(vit())
    assert list(model.attention) == LAYERS
    x = pictures(model)
    given: list[Any] = []
    blocks = [model.native.encoder.layers[i].self_attention for i in range(3)]
    handles = [one.register_forward_hook(lambda _module, inputs, _out: given.append(inputs)) for one in blocks]
    plain = model.forward(x)["output"]
    for one in handles:
        one.remove()
    seen = model.forward(x, (*LAYERS, "output"))
    np.testing.assert_allclose(seen["output"].cpu(), plain.cpu(), rtol=1e-12)
    for name, block, inputs in zip(LAYERS, blocks, given, strict=True):
        with torch.no_grad():
            _, weights = block(*inputs, need_weights=True, average_attn_weights=False)
        np.testing.assert_allclose(seen[name].cpu(), weights.cpu(), rtol=1e-10)


class Masked(nn.Module):
    """An attention with a mask, or another of the function's settings."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.qkv = kind, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Any) -> Any:
        n, count, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, count, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        generator = torch.Generator().manual_seed(1)
        options: dict[str, Any] = {}
        if self.kind == "boolean":
            options["attn_mask"] = (torch.rand(count, count, generator=generator) > 0.4).to(x.device)
            options["attn_mask"][3] = False  # which leaves nothing to look at
        elif self.kind == "bias":
            bias = torch.randn(1, HEADS, count, count, generator=generator, dtype=x.dtype)
            options["attn_mask"] = bias.to(x.device)
        elif self.kind == "causal":
            options["is_causal"] = True
        elif self.kind == "scale":
            options["scale"] = 0.7
        elif self.kind == "grouped":
            k, v, options["enable_gqa"] = k[:, :1], v[:, :1], True
        elif self.kind == "exported":
            y = torch.ops.aten.scaled_dot_product_attention.default(q, k, v, None, 0.0, True)
            return y.transpose(1, 2).reshape(x.shape)
        return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2).reshape(x.shape)


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["boolean", "bias", "causal", "scale", "grouped", "exported"])
def test_masks_and_other_settings(kind: str) -> None:
    model = wrapped(tokens(Masked(kind)))
    x = pictures(model)
    seen = model.forward(x, ("attend:attention", "output"))
    np.testing.assert_allclose(seen["output"].cpu(), model.forward(x)["output"].cpu(), rtol=1e-11)
    rows = seen["attend:attention"].sum(-1).cpu().numpy()
    wanted = np.ones(rows.shape)
    if kind == "boolean":
        wanted[:, :, 3] = 0
    np.testing.assert_allclose(rows, wanted, atol=1e-12)
    if kind in ("causal", "exported"):
        assert not np.triu(seen["attend:attention"].cpu().numpy(), 1).any()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = Attend("fused")

    def forward(self, x: Any) -> Any:
        return self.attend(x + self.attend(x))


@pytest.mark.quick
def test_a_block_that_runs_twice_leaves_its_attention_to_the_one_around_it() -> None:
    model = wrapped(tokens(Twice()))
    assert list(model.attention) == ["attend:attention", "attend:attention2"]
    x = pictures(model)
    first, second = (model.forward(x, (name,))[name].cpu().numpy() for name in model.attention)
    np.testing.assert_allclose(first, by_hand(model.native, x.cpu().numpy()), atol=1e-12)
    assert np.abs(first - second).max() > 1e-3
    with pytest.raises(UnknownNameError, match="Did you mean 'attend:attention"):
        model.forward(x, ("attend.attend:attention",))


@pytest.mark.quick
def test_transformer_encoder_layers_are_seen_past_their_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 48, batch_first=True)
    model = wrapped(tokens(layer).eval())
    assert list(model.attention) == ["attend.self_attn:attention"]
    x = pictures(model)
    seen = model.forward(x, ("attend.self_attn:attention", "output"))
    np.testing.assert_allclose(seen["output"].cpu(), model.forward(x)["output"].cpu(), rtol=1e-10)


class Broken(Attend):
    """Fails behind its attention, once it is told to."""

    broken = False

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        if self.broken:
            raise ValueError("broken")
        return y


def traces(model: Any) -> list[Any]:
    """What a pass could leave behind."""
    hooks = [(len(one._forward_hooks), len(one._forward_pre_hooks)) for one in model.native.modules()]
    functions = [F.scaled_dot_product_attention, F.multi_head_attention_forward, F.softmax, torch.softmax]
    fast = torch.backends.mha.get_fastpath_enabled()
    return [hooks, functions, fast, _get_current_function_mode_stack()]


@pytest.mark.quick
def test_nothing_is_left_behind() -> None:
    model = wrapped(tokens(Broken("fused")))
    before = traces(model)
    assert before[-1] == []
    x = pictures(model)
    _ = model.attention
    assert traces(model) == before
    for keep in (("attend:attention",), ("attend:attention", "output")):  # one that stops inside of the block, too
        model.forward(x, keep)
        assert traces(model) == before
    model.native.attend.broken = True
    with pytest.raises(ValueError, match="broken"):
        model.forward(x, ("attend:attention", "output"))
    assert traces(model) == before
    model.native.attend.broken = False
    with pytest.raises(ShapeError):
        model.forward(x, ("output",), {"attend:attention": model.ops.zeros((2, HEADS, 3, 3))})
    assert traces(model) == before


@pytest.mark.quick
def test_other_passes_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, and without a mode."""
    import vizkit_torch.model

    native, x = vit(), torch.from_numpy(np.random.default_rng(3).normal(size=(2, 3, SIDE, SIDE)))
    with torch.inference_mode():
        plain = native(x).numpy()
    model = wrapped(native)
    model.forward(model.ops.asarray(x), LAYERS[:1])

    def never(*_: Any) -> Any:
        raise AssertionError("attention is observed and nobody wants it")

    monkeypatch.setattr(vizkit_torch.model, "observed", never)
    if model.device == "cpu":
        np.testing.assert_array_equal(model.forward(model.ops.asarray(x))["output"], plain)
    model.forward(model.ops.asarray(x), ("encoder.ln",))
    with pytest.raises(AssertionError, match="nobody wants it"):
        model.forward(model.ops.asarray(x), LAYERS[:1])


@pytest.mark.quick
def test_a_users_hooks_see_what_goes_on() -> None:
    model = wrapped(vit())
    block = model.native.encoder.layers[1].self_attention
    x = pictures(model)
    quiet = model.forward(x, LAYERS)
    seen: list[Any] = []
    block.register_forward_pre_hook(lambda _module, inputs: (2 * inputs[0], *inputs[1:]))
    block.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    loud = model.forward(x, LAYERS)
    assert len(seen) == 1, "once in a pass"
    assert seen[0].shape == (2, 17, WIDTH)
    assert torch.equal(loud[LAYERS[0]], quiet[LAYERS[0]])
    assert not torch.allclose(loud[LAYERS[1]], quiet[LAYERS[1]])
    assert not torch.allclose(loud[LAYERS[2]], quiet[LAYERS[2]])


@pytest.mark.quick
def test_other_weights_have_the_same_layers() -> None:
    model = wrapped(tokens(Attend("fused")))
    zero = model.with_parameters({"attend.qkv.weight": np.zeros((3 * WIDTH, WIDTH)), "attend.qkv.bias": [0] * 96})
    found = zero.forward(pictures(model), ("attend:attention",))["attend:attention"].cpu()
    np.testing.assert_allclose(found, 1 / 16, rtol=1e-12)


@pytest.mark.quick
@pytest.mark.filterwarnings("ignore::vizkit.errors.SpeedWarning")
def test_bfloat16() -> None:
    full, short = (wrapped(tokens(Attend("fused")).float(), dtype=dtype) for dtype in ("float32", "bfloat16"))
    found = [one.forward(pictures(one), ("attend:attention",))["attend:attention"] for one in (full, short)]
    assert found[1].dtype == torch.float32
    assert 0 < float((found[0] - found[1]).abs().max()) < 0.05


@pytest.mark.quick
def test_windows_are_counted_by_the_first_axis() -> None:
    torch.manual_seed(0)
    made = torchvision.models.SwinTransformer([4, 4], 24, [1, 1], [2, 4], [7, 7], num_classes=5).eval()
    model = vizkit.wrap(made, input_size=112, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert {name: one.shape for name, one in model.attention.items()} == {
        "features.1.0.attn:attention": (16, 2, 49, 49),
        "features.3.0.attn:attention": (4, 4, 49, 49),
    }


@pytest.mark.quick
def test_a_convolutional_network_has_none() -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax2d(), nn.Flatten(), nn.Linear(4 * 62 * 62, 5)))
    assert model.attention == {}
