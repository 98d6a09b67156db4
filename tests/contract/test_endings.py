"""A network that ends in a softmax or in sigmoids gives probabilities: they are taken as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vizkit
from vizkit.targets import Function

SIDE, CLASSES = 6, 3
SPEC: dict[str, Any] = {"input_size": SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3}
GIVEN = {
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True),
    "softmax, by function": lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True),
    "mean of two": lambda z: GIVEN["softmax"](z) / 2 + GIVEN["softmax"](z**2) / 2,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "sigmoids, joined": lambda z: 1 / (1 + np.exp(-z)),
}
"""What each network gives, of its logits."""
AFTER = {
    "log_softmax": lambda z: np.log(GIVEN["softmax"](z)),
    "clip": lambda z: np.clip(0.5 + 0.2 * z, 0.125, 0.875),  # could be probabilities, and are none
}
"""Networks whose outputs are logits."""


def wrapped(name: str, ending: str, weight: Any) -> Any:
    if name == "torch":
        import torch
        from torch import nn

        def by(z: Any) -> Any:
            return {
                "softmax, by function": lambda: torch.softmax(z, -1),
                "mean of two": lambda: (torch.softmax(z, 1) + torch.softmax(z**2, 1)) / 2,
                "sigmoids, joined": lambda: torch.cat([torch.sigmoid(z[:, :1]), z[:, 1:].sigmoid()], 1),
                "clip": lambda: (0.5 + 0.2 * z).clamp(0.125, 0.875),
            }[ending]()

        class Ending(nn.Module):
            def forward(self, z: Any) -> Any:
                return by(z)

        own = {"softmax": nn.Softmax(1), "sigmoid": nn.Sigmoid(), "log_softmax": nn.LogSoftmax(1)}
        native = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, CLASSES, bias=False), own.get(ending, Ending()))
        native[1].weight.data = torch.tensor(weight)
        return vizkit.wrap(native, **SPEC)
    import mxnet as mx
    from mxnet.gluon import nn as gluon

    ways = {
        "softmax": lambda F, z: F.softmax(z),
        "softmax, by function": lambda F, z: F.softmax(z, axis=1),
        "mean of two": lambda F, z: (F.softmax(z) + F.softmax(z**2)) / 2,
        "sigmoid": lambda F, z: F.sigmoid(z),
        "sigmoids, joined": lambda F, z: F.concat(
            F.Activation(F.slice_axis(z, axis=1, begin=0, end=1), act_type="sigmoid"),
            F.sigmoid(F.slice_axis(z, axis=1, begin=1, end=None)),
            dim=1,
        ),
        "log_softmax": lambda F, z: F.log_softmax(z),
        "clip": lambda F, z: F.clip(0.5 + 0.2 * z, 0.125, 0.875),
    }
    native = gluon.HybridSequential()
    native.add(gluon.Dense(CLASSES, use_bias=False, in_units=3 * SIDE**2), gluon.HybridLambda(ways[ending]))
    native.initialize()
    native.cast("float64")
    native[0].weight.set_data(mx.nd.array(weight, dtype="float64"))
    return vizkit.wrap(native, **SPEC)


@pytest.mark.quick
@pytest.mark.parametrize("ending", [*GIVEN, *AFTER])
def test_the_probabilities_of_a_network_that_ends_in_them(name: str, ending: str, rng: Any) -> None:
    weight, x = 0.2 * rng.normal(size=(CLASSES, 3 * SIDE**2)), rng.normal(size=(1, 3, SIDE, SIDE))
    model, ways = wrapped(name, ending, weight), {**GIVEN, **AFTER}

    def sure(pictures: Any) -> Any:
        found = ways[ending](pictures.reshape(len(pictures), -1) @ weight.T)
        return found if ending in GIVEN else GIVEN["softmax"](found)

    found = {one.index: one for one in model.predict(x, top=CLASSES)}
    order = [one.probability for one in model.predict(x, top=CLASSES)]
    assert order == sorted(order, reverse=True)
    np.testing.assert_allclose([found[k].probability for k in range(CLASSES)], sure(x)[0], rtol=1e-12)
    logits = np.array([found[k].logit for k in range(CLASSES)])
    made = GIVEN["sigmoid" if "sigmoid" in ending else "softmax"](logits[None])[0]
    np.testing.assert_allclose(made, sure(x)[0], rtol=1e-10)  # what goes in, as far as that can be told
    hidden = x.copy()
    hidden[:, :, :3, :3] = 0
    score = Function(lambda ops, output: 5.0 * output[:, 0], "five")
    covered = vizkit.occlusion(model, x, target=1, output="probability", window=3, stride=3, baseline="mean")
    np.testing.assert_allclose(covered.values[0, 0, 0], (sure(x) - sure(hidden))[0, 1], rtol=1e-9)
    both = vizkit.rise(model, [x[0], x[0]], target=[1, score], samples=8)
    alone = vizkit.rise(model, [x[0], x[0]], target=[1, 1], samples=8)
    np.testing.assert_allclose(both.values[0], alone.values[0], rtol=1e-9)
    maps = np.zeros((1, SIDE, SIDE))
    maps[0, 3:] = 1
    kept = x * maps[:, None]
    drop = vizkit.evaluate.average_drop(model, x, maps, target=1, baseline="mean")
    before, after = sure(x)[0, 1], sure(kept)[0, 1]
    np.testing.assert_allclose(drop, [max(0.0, before - after) / before], rtol=1e-9, atol=1e-12)
