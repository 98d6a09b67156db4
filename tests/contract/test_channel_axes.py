"""Where both orders of axes fit a layer's shape, the operations tell which one it is; and where they do not, it is
said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import LayerError, ShapeError

if "torch" not in INSTALLED:
    pytest.skip("most of these are PyTorch's", allow_module_level=True)
import torch
import torch.nn.functional as F
from torch import nn

SAMPLES, WIDTH = 40, 6


def signals(network: nn.Module, **more: Any) -> Any:
    spec: dict[str, Any] = {"input_size": (SAMPLES,), "mean": (0.0,) * 2, "std": (1.0,) * 2}
    return vizkit.wrap(network.double(), **spec, **more)


def signal() -> Any:
    return np.random.default_rng(0).normal(size=(1, 2, SAMPLES))


class Tokens(nn.Module):
    """A signal's windows, mixed by ``body``, of which the last layer that has a name knows no order of axes."""

    def __init__(self, body: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.way = body, nn.ModuleDict()
        if body == "gru":
            self.way["gru"] = nn.GRU(2, WIDTH, batch_first=True)
        else:
            self.way["conv"] = nn.Conv1d(2, WIDTH, 4, stride=2)
            self.way["norm"] = nn.LayerNorm(WIDTH)
            self.way["attention"] = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.act, self.head = nn.Hardtanh(-9, 9), nn.Linear(WIDTH, 3)

    def tokens(self, x: Any) -> Any:
        if self.body == "gru":
            return self.way["gru"](x.mT)[0]
        y = self.way["conv"](x).swapaxes(1, 2)
        if self.body == "norm":
            return self.way["norm"](y)
        if self.body == "attention":
            return y + self.way["attention"](y, y, y)[0]
        heads = [one.unflatten(2, (2, 3)).movedim(2, 1) for one in (y, y.sin(), y.cos())]
        if self.body == "fused":
            return F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(y.shape)
        mixed = torch.softmax(heads[0] @ heads[1].mT, 3) @ heads[2]
        return mixed.permute(0, 2, 1, 3).flatten(2)

    def forward(self, x: Any) -> Any:
        return self.head(self.act(self.tokens(x)).mean(1))


@pytest.mark.quick
@pytest.mark.parametrize("body", ["gru", "norm", "attention", "fused", "product"])
def test_the_map_of_a_signals_tokens_runs_along_time(body: str) -> None:
    network = Tokens(body)
    model = signals(network)
    found = vizkit.gradcam(model, signal(), target=1, relu=False)
    tokens = network.tokens(torch.tensor(signal())).detach()[0]
    assert found.layer == "act"
    cam = (tokens @ network.head.weight[1] / len(tokens)).detach().numpy()  # by hand: the mean's gradient is the same
    np.testing.assert_allclose(found.extra["cam"][0], cam, rtol=1e-10, atol=1e-13)


class Ordered(nn.Module):
    """A square of channels last, and first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.GELU()
        self.turned, self.same, self.flat = nn.Identity(), nn.LayerNorm((8, 8, 8)), nn.Flatten(2)
        self.head = nn.Linear(64, 3)

    def forward(self, x: Any) -> Any:
        y = self.act(self.norm(self.conv(x).permute(0, 2, 3, 1)))
        return self.head(self.flat(self.same(self.turned(torch.einsum("nhwc->nchw", y)))).mean(1))


def test_squares_of_channels() -> None:
    model = vizkit.wrap(Ordered(), input_size=32, mean=(0,) * 3, std=(1,) * 3)
    orders = {name: grid and grid.order for name in model.layers if (grid := model.grid(name)) or True}
    wanted: dict[str, Any] = {"conv": "NCHW", "norm": "NHWC", "act": "NHWC", "turned": None, "same": None}
    assert orders == wanted | {"flat": None, "head": None}


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv1d(2, WIDTH, 4), nn.Tanh(), nn.Linear(WIDTH, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.act(torch.einsum("nct->ntc", self.conv(x))).mean(1))


def test_what_nothing_tells_is_asked_for() -> None:
    model = signals(Hidden())
    for layer in (None, "act"):
        with pytest.raises(LayerError, match=r"'act' .* gives \(1, 37, 6\).*layout=\{'act': 'NCHW'\}"):
            vizkit.gradcam(model, signal(), target=0, layer=layer)
    assert vizkit.gradcam(model, signal(), target=0, layer="conv").extra["cam"].shape == (1, 37)
    said = vizkit.gradcam(signals(Hidden(), layout={"act": "NHWC"}), signal(), target=0)
    assert (said.layer, said.extra["cam"].shape) == ("act", (1, 37))


@pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's own layers")
def test_gluons_layers_that_work_along_the_last_axis() -> None:
    import mxnet as mx
    from mxnet.gluon import nn as gluon

    class Network(mx.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            with self.name_scope():
                self.conv, self.norm, self.drop = gluon.Conv1D(WIDTH, 4), gluon.LayerNorm(), gluon.Dropout(0.1)
                self.dense, self.act = gluon.Dense(WIDTH, flatten=False), gluon.Activation("tanh")
                self.head = gluon.Dense(3)

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            y = self.norm(F.transpose(self.conv(x), axes=(0, 2, 1)))
            y = F.batch_dot(F.softmax(F.batch_dot(y, y, transpose_b=True)), y)
            return self.head(F.mean(self.act(self.dense(self.drop(y))), axis=1))

    network = Network()
    network.initialize()
    model = vizkit.wrap(network, input_size=(SAMPLES,), mean=(0.0,) * 2, std=(1.0,) * 2)
    grids = {name: (grid.order, grid.channels) for name in model.layers if (grid := model.grid(name))}
    assert grids == {"conv": ("NCHW", WIDTH)} | dict.fromkeys(("norm", "drop", "dense", "act"), ("NHWC", WIDTH))
    assert vizkit.gradcam(model, signal().astype("float32"), target=0).extra["cam"].shape == (1, 37)


def test_a_shape_that_fits_neither_order_asks_the_operations() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.back, self.head = (
                nn.Conv2d(3, 8, 3),
                nn.LayerNorm(8),
                nn.Identity(),
                nn.Linear(8, 3),
            )

        def forward(self, x: Any) -> Any:
            y = self.back(self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
            return self.head(torch.relu(y).mean((2, 3)))

    model = vizkit.wrap(Network().double(), input_size=(12, 20), mean=(0,) * 3, std=(1,) * 3)
    x = np.random.default_rng(0).normal(size=(1, 3, 12, 20))
    last, first = (vizkit.gradcam(model, x, layer=layer, target=0).values for layer in ("norm", "back"))
    assert model.layers["norm"].shape == (1, 10, 18, 8)
    assert np.ptp(first) > 0
    np.testing.assert_array_equal(last, first)


@pytest.mark.skipif("gluon" not in INSTALLED, reason="Gluon's own layers")
@pytest.mark.parametrize("kind", ["norm", "max", "mean"])
def test_gluons_layers_that_are_told_channels_come_last(kind: str) -> None:
    import mxnet as mx
    from mxnet.gluon import nn as gluon

    def turned(*axes: int) -> Any:
        return gluon.HybridLambda(lambda F, x: F.transpose(x, axes))

    layers = {
        "norm": lambda: gluon.BatchNorm(axis=-1),
        "max": lambda: gluon.MaxPool2D(2, layout="NHWC"),
        "mean": lambda: gluon.AvgPool2D(2, layout="NHWC"),
    }
    network = gluon.HybridSequential()
    network.add(gluon.Conv2D(8, 3), turned(0, 2, 3, 1), layers[kind](), turned(0, 3, 1, 2))
    network.add(gluon.Activation("relu"), gluon.Dense(3))
    mx.random.seed(0)
    network.initialize(mx.init.Normal(0.3))
    network.cast("float64")
    model = vizkit.wrap(network, input_size=16, mean=(0,) * 3, std=(1,) * 3)
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16))
    last, first = (vizkit.gradcam(model, x, layer=layer, target=0).values for layer in "23")
    assert np.ptp(first) > 0
    np.testing.assert_array_equal(last, first)


class Decoder(nn.Module):
    """As many learned queries as the picture has patches, of which one is classified; those that are joined to the
    patches are fewer."""

    def __init__(self, by: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.by, self.stem, self.queries = (
            by,
            nn.Conv2d(3, 8, 8, 8),
            nn.Parameter(torch.randn(9 if by == "joined" else 16, 8)),
        )
        self.first, self.second = (nn.TransformerDecoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.key, self.value, self.normed = nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        memory, asked = self.stem(x).flatten(2).mT, self.queries.expand(len(x), -1, -1)
        if self.by == "layers":
            seen = self.second(self.first(asked, memory), memory)
        elif self.by == "joined":
            both = torch.cat((memory, asked), 1)
            seen = (both + F.scaled_dot_product_attention(self.key(both), self.value(both), both))[:, 16:]
        elif self.by == "fused":
            seen = asked + F.scaled_dot_product_attention(asked, self.key(memory), self.value(memory))
        else:
            seen = asked + torch.softmax(asked @ self.key(memory).mT / 8**0.5, 2) @ self.value(memory)
        return self.head(self.normed(seen))[:, 7]


@pytest.mark.parametrize("by", ["layers", "fused", "products", "joined"])
def test_queries_are_no_places_of_the_picture(by: str) -> None:
    model = vizkit.wrap(Decoder(by), input_size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert model.layers["normed"].shape == (1, 9 if by == "joined" else 16, 8)
    assert vizkit.gradcam(model, photo, relu=False).layer == "stem"
    for call in (vizkit.gradcam, vizkit.feature_maps):
        with pytest.raises((LayerError, ShapeError), match="cover the picture"):
            call(model, photo, layer="normed")
    told = vizkit.wrap(Decoder(by), input_size=32, mean=(0.0,) * 3, std=(1.0,) * 3, layout={"normed": "NTC"})
    assert told.grid("normed").positions == model.layers["normed"].shape[1]


def test_patches_that_are_taken_apart_from_a_class_token_are_places() -> None:
    class Classified(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
            self.first, self.normed, self.head = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            both = torch.cat((self.token.expand(len(x), -1, -1), self.stem(x).flatten(2).mT), 1)
            y = self.first(both)
            return self.head(self.normed((y + F.scaled_dot_product_attention(y, y, y))[:, 1:]).mean(1))

    model = vizkit.wrap(Classified(), input_size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert [model.grid(name).aside for name in ("first", "normed")] == [1, 0]
    assert vizkit.gradcam(model, np.zeros((32, 32, 3), np.uint8), relu=False).layer == "normed"


@pytest.mark.skipif("gluon" not in INSTALLED, reason="needs MXNet")
def test_gluons_queries_are_no_places() -> None:
    from mxnet.gluon import HybridBlock
    from mxnet.gluon import nn as gluon

    class Asked(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.stem = gluon.Conv2D(8, 8, 8, in_channels=3)
            self.queries = self.params.get("queries", shape=(1, 16, 8))
            self.normed, self.head = gluon.LayerNorm(in_channels=8), gluon.Dense(5, in_units=8)

        def hybrid_forward(self, F: Any, x: Any, queries: Any) -> Any:
            memory = F.reshape(self.stem(x), (0, 0, -1))
            scores = F.batch_dot(F.broadcast_like(queries, memory, lhs_axes=(0,), rhs_axes=(0,)), memory)
            seen = F.batch_dot(F.softmax(scores), memory, transpose_b=True)
            return self.head(F.slice_axis(self.normed(seen), axis=1, begin=7, end=8))

    network = Asked()
    network.initialize()
    model = vizkit.wrap(network, input_size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert model.layers["normed"].shape == (1, 16, 8)
    assert model.grid("normed") is None
    assert vizkit.gradcam(model, np.zeros((32, 32, 3), np.uint8), relu=False).layer == "stem"


def test_a_token_that_asks_alone_leaves_the_layers_as_they_are() -> None:
    """A class token taken out, or a pool by attention: the last layer of the patches, though not all passes it."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.asks = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
            self.key, self.value, self.normed = nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)
            self.head = nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            places = self.stem(x).flatten(2).mT
            keys, values = self.key(places), self.value(places)
            found = F.scaled_dot_product_attention(self.asks.expand(len(x), -1, -1), keys, values)
            return self.head(self.normed(found))[:, 0]

    model = vizkit.wrap(Pooled(), input_size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert vizkit.gradcam(model, np.zeros((32, 32, 3), np.uint8), relu=False).layer == "value"


def test_tokens_that_are_mixed_by_a_matrix_are_places() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mix = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(16, 16))
            self.normed, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            return self.head(self.normed(self.mix @ self.stem(x).flatten(2).mT).mean(1))

    model = vizkit.wrap(Mixed(), input_size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert model.grid("normed").positions == 16
