"""Dreams: against the published recipe written out by hand, and against what the recipe promises."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit.errors import DivergedError, LayerError, SettingError
from vizkit.techniques.dreams.recipe import GRADIENT_FILTERS, default_layer


def wrap(kit: Any) -> Any:
    return vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def plain_dream(model: Any, layer: str, unit: int, stages: int, steps: int, seed: int) -> list[float]:
    """The published recipe as a reader of it would write it in PyTorch; activation at the last step of each stage."""
    import torch
    import torch.nn.functional as F

    native, dtype = copy.deepcopy(model.native).cpu(), getattr(torch, model.dtype)
    found: dict[str, Any] = {}
    handle = native.get_submodule(layer).register_forward_hook(lambda _m, _i, out: found.update(out=out))
    scharr = torch.tensor([[-3.0, 0, 3], [-10, 0, 10], [-3, 0, 3]], dtype=dtype)
    kernel = torch.stack([scharr, scharr.T])[:, None].repeat(3, 1, 1, 1)
    mean, std = (torch.tensor(values, dtype=dtype).view(1, 3, 1, 1) for values in (model.spec.mean, model.spec.std))
    noise = torch.tensor(np.random.default_rng(seed).random((1, 3, 28, 28)), dtype=dtype)
    x = (noise - mean) / std
    size, trace = 28, []
    for stage in range(stages):
        if stage:
            size = round(size * 1.05)
            x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        x = x.detach().requires_grad_(True)
        optimiser = torch.optim.Adam([x], lr=0.4)
        for _ in range(steps):
            optimiser.zero_grad()
            native(x)
            activation = found["out"][:, unit].pow(2).mean().sqrt()
            loss = -0.5 * activation + x.pow(2).mean().sqrt() + F.conv2d(x, kernel, groups=3).pow(2).mean().sqrt()
            loss.backward()
            optimiser.step()
        trace.append(activation.item())
    handle.remove()
    return trace


@pytest.mark.skipif("torch" not in INSTALLED, reason="the plain loop is PyTorch's")
def test_the_published_dream_follows_a_plain_loop() -> None:
    """In float64: in float32 the loop is chaotic, and two ways to round part after some eight stages."""
    model = vizkit.load("googlenet", backend="torch", weights="random:7", dtype="float64")
    stages = 3
    expected = plain_dream(model, "inception4a", 225, stages, 20, seed=0)
    found = vizkit.dream(model, stages=stages)
    assert (found.layer, found.units) == ("inception4a", (225,))
    np.testing.assert_allclose(found.activation[:, 0], expected, rtol=1e-6)
    assert found.activation[-1, 0] > 5 * found.step_activation[0, 0]


def test_the_recipes_sizes(kit: Any) -> None:
    found = vizkit.dream(wrap(kit), "2", 1, steps=1)
    assert len(found.sizes) == 46
    assert (found.sizes[0], found.sizes[-1]) == (28, 249)
    assert [stage.index for stage in found.strip] == [0, 9, 18, 27, 36, 45]
    assert found.values.shape == (1, 3, 249, 249)
    assert len(found.figure().axes) == 6


def test_units_in_one_batch_equal_units_alone(kit: Any) -> None:
    model = wrap(kit)
    options: dict[str, Any] = {"stages": 3, "steps": 4, "size": 12}
    together = vizkit.dream(model, "7", [0, 3, 5], **options)
    for i, unit in enumerate((0, 3, 5)):
        alone = vizkit.dream(model, "7", unit, **options)
        np.testing.assert_allclose(together.step_activation[:, i], alone.step_activation[:, 0], rtol=1e-6)
        np.testing.assert_allclose(together.values[i], alone.values[0], atol=1e-5)


def test_dream_of_a_dense_unit_and_of_a_silent_one(kit: Any) -> None:
    model = wrap(kit)
    dense = vizkit.dream(model, "13", list(range(5)), stages=1, steps=5, size=TRAPS_SIZE)
    assert (dense.step_activation[0] < 0).any(), "a logit below zero must rise, not grow in size"
    assert (dense.activation[-1] > dense.step_activation[0]).all()
    native = kit.sequential([("conv", 3, 2, 3, 1), ("relu",)])
    silent = vizkit.wrap(native, input_size=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    kit.write(native, "0.weight", np.zeros((2, 3, 3, 3)))
    kit.write(native, "0.bias", np.full(2, -1.0))
    found = vizkit.dream(silent, "1", 0, stages=2, steps=3, size=8)
    assert np.isfinite(found.values).all()
    assert found.activation.max() < 1e-5


@pytest.mark.quick
def test_nan_stops_a_dream_and_keeps_the_last_good_picture(kit: Any) -> None:
    model = wrap(kit)
    with pytest.raises(DivergedError, match=r"step \d+ of 50 in stage 0 \(16 x 16 pixels\)") as caught:
        vizkit.dream(model, "5", 0, stages=1, steps=50, size=16, lr=1e200)
    assert np.isfinite(caught.value.last_good).all()
    assert caught.value.last_good.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("gradient_filter", GRADIENT_FILTERS)
def test_gradient_filters_penalise_what_they_measure(kit: Any, gradient_filter: str) -> None:
    """Each filter answers a ramp of slope one with the sum of its weights times their distance, and nothing else."""
    kernel = np.array(GRADIENT_FILTERS[gradient_filter], dtype=float)
    assert kernel.sum() == 0
    assert (kernel * np.arange(kernel.shape[1])).sum() > 0
    assert (kernel * np.arange(kernel.shape[0])[:, None]).sum() == 0
    options: dict[str, Any] = {"stages": 1, "steps": 20, "size": 16, "lr": 0.02, "activation_weight": 0.0}
    smooth = vizkit.dream(wrap(kit), "2", 0, gradient_filter=gradient_filter, pixel_weight=0.0, **options)
    start = np.random.default_rng(0).random((1, 3, 16, 16))
    windows = [
        np.lib.stride_tricks.sliding_window_view(made[0], kernel.shape, (1, 2)) for made in (smooth.values, start)
    ]
    for one in (kernel, kernel.T):
        after, before = (np.sqrt(((window * one).sum(axis=(-1, -2)) ** 2).mean()) for window in windows)
        assert after < 0.75 * before


def test_callback_sees_every_stage_and_may_stop(kit: Any) -> None:
    seen: list[Any] = []
    vizkit.dream(wrap(kit), "2", [1, 2], stages=4, steps=2, size=8, on_stage=seen.append)
    assert [(stage.index, stage.size) for stage in seen] == [(0, 8), (1, 8), (2, 8), (3, 8)]
    assert seen[-1].pictures.shape == (2, 3, 8, 8)

    def stop(stage: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vizkit.dream(wrap(kit), "2", 1, stages=4, steps=1, size=8, on_stage=stop)


@pytest.mark.quick
def test_dream_settings_are_checked(kit: Any) -> None:
    model = wrap(kit)
    for options, message in (
        ({"stages": 0}, "stages=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"scale": 0.5}, "scale=0.5"),
        ({"gradient_filter": "prewitt"}, "'scharr', 'sobel'"),
    ):
        with pytest.raises(SettingError, match=message):
            vizkit.dream(model, "2", 0, **options)
    with pytest.raises(SettingError, match="units 0 to 5; there is no 6, 9"):
        vizkit.dream(model, "2", [1, 6, 9])
    with pytest.raises(SettingError, match="name at least one"):
        vizkit.dream(model, "2", [])
    assert default_layer(model) == "8"


@pytest.mark.quick
def test_default_layer_needs_maps(kit: Any) -> None:
    native = kit.sequential([("flatten",), ("dense", 12, 3)])
    model = vizkit.wrap(native, input_size=2, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(LayerError, match="no layer with feature maps"):
        vizkit.dream(model)


@pytest.mark.skipif("torch" not in INSTALLED, reason="a module of PyTorch")
@pytest.mark.quick
def test_default_layer_is_no_attention() -> None:
    """A matrix of attention has as many places as there are pairs of places, and looks like maps of heads."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.bias = nn.Dropout(), nn.Conv2d(1, 1, 1)

        def forward(self, x: Any) -> Any:
            flat = x.flatten(2)
            weights = self.drop((flat.transpose(1, 2) @ flat)[:, None] + self.bias(torch.ones(1, 1, 16, 16)))
            return x + (flat[:, None] @ weights)[:, 0].reshape(x.shape)

    network = nn.Sequential(nn.Conv2d(3, 4, 8, 8), Attention(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3))
    model = vizkit.wrap(network, input_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert model.layers["1.drop"].shape == (1, 1, 16, 16)
    assert model.graph().bottlenecks() >= {"input", "0", "2", "4"}
    assert not {"1.drop", "1.bias"} & model.graph().bottlenecks()
    assert default_layer(model) == "2"
