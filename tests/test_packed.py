"""Weights kept in oneDNN's form: the digits of plain ones, made late, and again after a write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
from torch import nn
from vizkit_torch import packed
from vizkit_torch.packed import LATER, Packs, Weight

SIZE = 96
SPEC: dict[str, Any] = {"input_size": SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3}
pytestmark = pytest.mark.skipif(not packed.able(), reason="this PyTorch keeps no weights in that form")


def blocks(*shape: int, seed: int) -> Any:
    """Numbers in oneDNN's blocks, not only in its hands: a convolution's result."""
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    return torch.conv2d(values.to_mkldnn(), torch.eye(shape[1])[:, :, None, None]).detach()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("out", "into", "size", "padding"),
    [(64, 16, 1, 0), (16, 64, 1, 0), (40, 24, 1, 0), (48, 48, 3, 1), (24, 24, 3, 0), (32, 32, 5, 1)],
)
def test_digits(out: int, into: int, size: int, padding: int, count: int, bias: bool) -> None:
    rng = np.random.default_rng(1)
    weight = torch.from_numpy(rng.normal(size=(out, into, size, size)).astype(np.float32))
    shift = torch.from_numpy(rng.normal(size=out).astype(np.float32)) if bias else None
    x = blocks(count, into, 14, 12, seed=2).requires_grad_(True)
    args = (weight, shift, (1, 1), (padding, padding), (1, 1), 1)
    packs = Packs()
    packs.hold(weight)
    given = blocks(count, out, 14 + 2 * padding - size + 1, 12 + 2 * padding - size + 1, seed=3)
    wanted = torch.conv2d(x, *args)
    (slope,) = torch.autograd.grad(wanted, x, given)
    for _ in range(LATER):
        assert packs.convolution(x, (x, *args)) is None
    for _ in range(2):
        found = packs.convolution(x, (x, *args))
        assert found is not None
        assert found.is_mkldnn
        assert torch.equal(found.to_dense(), wanted.to_dense())
        (again,) = torch.autograd.grad(found, x, given)
        assert torch.equal(again.to_dense(), slope.to_dense())


@pytest.mark.parametrize(
    ("change", "at"),
    [((2, 2), 3), ((2, 2), 5), (1, 4), ("same", 4), (2, 6), ((3, 3), 4)],
    ids=["stride", "dilation", "one number", "a word", "groups", "padding beyond the kernel"],
)
def test_what_has_no_such_form(change: Any, at: int) -> None:
    args: list[Any] = [None, torch.zeros(32, 32, 3, 3), None, (1, 1), (1, 1), (1, 1), 1]
    assert packed.fits(args)
    args[at] = change
    assert not packed.fits(args)


@pytest.mark.parametrize(
    ("shape", "padding"), [((32, 48, 3, 3), 1), ((8, 32, 1, 1), 0), ((32, 3, 1, 1), 0), ((32, 48, 1, 1), 1)]
)
def test_shapes_without_such_a_form(shape: tuple[int, ...], padding: int) -> None:
    assert not packed.fits([None, torch.zeros(shape), None, (1, 1), (padding, padding), (1, 1), 1])


class Bottleneck(nn.Module):
    """As ResNet has it, with a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64)
        self.conv1, self.norm1 = nn.Conv2d(64, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.norm3 = nn.Conv2d(16, 64, 1, bias=False), nn.BatchNorm2d(64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.first(self.stem(x)))
        y = torch.relu(self.norm1(self.conv1(x)))
        y = torch.relu(self.norm2(self.conv2(y)))
        return self.head(torch.relu(self.norm3(self.conv3(y)) + x).mean((2, 3)))


@pytest.fixture
def native() -> Any:
    torch.manual_seed(5)
    network = Bottleneck().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def held(model: Any) -> list[Weight]:
    """The weights of a model that may be kept in another form."""
    return list(model._preparation._packs._held.values())


def made(model: Any) -> tuple[int, int]:
    """How many weights are kept for the forward pass, and for the gradient."""
    return sum(one._ahead is not None for one in held(model)), sum(one._back is not None for one in held(model))


def test_in_a_network(native: Any, image: Any) -> None:
    """A map has the same digits before, at, and after the use at which the forms are made."""
    model = vizkit.wrap(native, **SPEC)
    first = vizkit.saliency(model, image, target=2).values
    seen = [made(model)]
    for _ in range(LATER):
        np.testing.assert_array_equal(vizkit.saliency(model, image, target=2).values, first)
        seen.append(made(model))
    assert seen[LATER // 2] == (0, 0)
    assert seen[-1] == (2, 3)
    forms = [(one._ahead, one._back) for one in held(model)]
    vizkit.saliency(model, image, target=2)
    assert all(
        a is b
        for one, pair in zip(held(model), forms, strict=True)
        for a, b in zip(pair, (one._ahead, one._back), strict=True)
    )
    np.testing.assert_array_equal(
        vizkit.saliency(model, [image] * 3, target=2).values,
        vizkit.saliency(vizkit.wrap(native, **SPEC), [image] * 3, target=2).values,
    )


def test_many_images_make_no_form(native: Any, image: Any) -> None:
    model = vizkit.wrap(native, **SPEC)
    for _ in range(LATER + 1):
        vizkit.saliency(model, [image] * (packed.FEW + 1), target=2)
    assert made(model) == (0, 0)


def test_forward_passes_alone_make_no_form_for_gradients(native: Any, image: Any) -> None:
    model = vizkit.wrap(native, **SPEC)
    first = model.logits(image)
    for _ in range(LATER + 1):
        np.testing.assert_array_equal(model.logits(image), first)
    vizkit.saliency(model, image, target=2)
    assert made(model) == (2, 0)


def test_written_weights_are_packed_anew(native: Any, image: Any) -> None:
    model = vizkit.wrap(native, **SPEC)
    for _ in range(LATER + 1):
        before = vizkit.saliency(model, image, target=2).values
    assert made(model) == (2, 3)
    native.conv1.weight.data.mul_(-2.0)
    after = vizkit.saliency(model, image, target=2).values
    assert made(model) == (0, 0)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    for _ in range(LATER + 1):
        np.testing.assert_array_equal(vizkit.saliency(model, image, target=2).values, after)
    np.testing.assert_array_equal(vizkit.saliency(vizkit.wrap(native, **SPEC), image, target=2).values, after)


def test_a_processor_that_cannot_stays_with_plain_weights(
    monkeypatch: pytest.MonkeyPatch, native: Any, image: Any
) -> None:
    """Whether the operator is missing, or gives something else: it is tried before it is trusted."""

    def missing(*_: Any) -> Any:
        raise RuntimeError("no such operator")

    true = packed._transposed
    for broken in (missing, lambda weight, padding: true(2 * weight, padding)):
        monkeypatch.setattr(packed, "_transposed", broken)
        assert not packed.able.__wrapped__()
    monkeypatch.setattr(packed, "able", lambda: False)
    model = vizkit.wrap(native, **SPEC)
    maps = [vizkit.saliency(model, image, target=2).values for _ in range(LATER + 2)]
    assert made(model) == (0, 0)
    np.testing.assert_array_equal(maps[0], maps[-1])
