"""Units are channels wherever a layer has them: of one network, written with its channels first, last and as tokens,
every technique that asks for units gives the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kits.orders import ORDERS, PLACES, SIDE, WIDTH, network

import vizkit
from vizkit import objectives
from vizkit.errors import SettingError
from vizkit.parametrisations import Pixels
from vizkit.results import Embedding
from vizkit.techniques.network.window import window
from vizkit.techniques.units.filter import filter_of
from vizkit.techniques.units.neuron import neuron_maps
from vizkit.techniques.units.votes import votes

PICTURES = list(np.random.default_rng(4).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8))
SMALL: dict[str, Any] = {"parametrisation": Pixels(SIDE), "transforms": (), "steps": 3}


def embedded(model: Any, pool: str) -> Any:
    found = vizkit.embed(model, PICTURES, layer="act", method="pca", pool=pool, components=2)
    assert isinstance(found, Embedding)
    return found.features


def of_health(model: Any) -> list[Any]:
    (one,) = vizkit.health(model, PICTURES, ["act"], threshold=0.1).layers
    return [one.zeros, one.positive, one.mean, one.low, one.high, one.pairs, one.correlation]


def patches(model: Any, **options: Any) -> list[Any]:
    found = vizkit.top_patches(model, PICTURES, "act", [2, 7], k=3, **options)
    return [found.values, found.places, found.positions, found.boxes]


def voted(model: Any) -> list[Any]:
    found = votes(model, vizkit.images.prepare(PICTURES, model.spec), "act", 4)
    return [found.classes, found.values]


def field(model: Any, unit: int | None) -> list[Any]:
    found = vizkit.receptive_field(model, PICTURES[0], layer="act", unit=unit, at=(2, 5))
    return [found.values, found.boxes, found.units]


def rendered(make: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda model: vizkit.render(model, make(), **SMALL).values


SAME: dict[str, Callable[[Any], Any]] = {
    "feature_maps": lambda m: vizkit.feature_maps(m, PICTURES, "act").values,
    "feature_maps of units": lambda m: vizkit.feature_maps(m, PICTURES, "act", unit=[7, 2]).values,
    "top_units": lambda m: [(one := vizkit.top_units(m, PICTURES, "act", k=4)).values, one.units],
    "top_units of renderings": lambda m: vizkit.top_units(m, None, "act", k=4, steps=2, size=SIDE).values,
    "top_patches": patches,
    "top_patches by relevance": lambda m: patches(m, by="relevance", target=1),
    "embed by means": lambda m: embedded(m, "mean"),
    "embed by all": lambda m: embedded(m, "none"),
    "receptive_field": lambda m: field(m, None),
    "receptive_field of a unit": lambda m: field(m, 7),
    "render a unit": rendered(lambda: objectives.unit("act", 3)),
    "render units": rendered(lambda: objectives.unit("act", [3, 8])),
    "render a neuron": rendered(lambda: objectives.neuron("act", 3, at=(2, 5))),
    "render a direction": rendered(lambda: objectives.direction("act", np.arange(WIDTH) - 4.0, cosine_power=1)),
    "render facets": lambda m: (
        vizkit.render(m, objectives.unit("act", 3) + objectives.diversity("act"), count=2, **SMALL).values
    ),
    "render a style": rendered(lambda: objectives.style("act", PICTURES[1])),
    "dream": lambda m: vizkit.dream(m, "act", 3, size=SIDE, stages=1, steps=2).values,
    "caricature": lambda m: vizkit.caricature(m, PICTURES[0], "act", steps=2).values,
    "spritemap": lambda m: vizkit.spritemap(m, "act", size=SIDE, steps=1).values,
    "neuron_maps": lambda m: neuron_maps(
        m, vizkit.images.prepare(PICTURES, m.spec), "act", 7, [(i, 7 - i) for i in range(6)]
    ),
    "votes": voted,
    "crp": lambda m: vizkit.crp(m, PICTURES, target=1, layer="act", units=[3, 8]).values,
}
WITH_TOKENS_ASIDE = {"health": of_health, "activation_statistics": lambda m: statistics(m)}


def statistics(model: Any) -> Any:
    return vizkit.activation_statistics(model, PICTURES, ["act"]).values


def agree(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    pairs = list(zip(*([each] if isinstance(each, np.ndarray) else each for each in (ours, theirs)), strict=True))
    assert any(np.ptp(other) > 0 for _, other in pairs)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1.0, float(np.abs(other).max())))


@pytest.mark.quick
@pytest.mark.parametrize("what", SAME)
def test_channels_last_are_channels(name: str, what: str) -> None:
    assert network(name, "NHWC").grid("act").order == "NHWC"
    agree(SAME[what](network(name, "NHWC")), SAME[what](network(name, "NCHW")))


@pytest.mark.quick
@pytest.mark.parametrize("what", sorted(set(SAME) - {"top_units of renderings"}))
def test_tokens_have_channels(name: str, what: str) -> None:
    """Renderings are of the network's own size, where alone there are so many tokens. What part of the picture each
    sees the graph does not tell, so that it is all of it. Relevance stays less where a sum over tokens stands in the
    place of a mean, 7e-7 of the largest."""
    assert network(name, "NTC").grid("act").order == "NTC"
    ours, theirs = (SAME[what](network(name, order)) for order in ("NTC", "NCHW"))
    if what.startswith(("top_patches", "receptive_field")):
        boxes = 3 if what.startswith("top_patches") else 1
        assert (np.reshape(ours.pop(boxes), (-1, 4)) == (0, 0, SIDE, SIDE)).all()
        theirs.pop(boxes)
    agree(ours, theirs, 2e-6 if "crp" in what or "relevance" in what else 1e-9)


@pytest.mark.quick
@pytest.mark.parametrize("what", WITH_TOKENS_ASIDE)
def test_counts_are_the_same(name: str, what: str) -> None:
    """Of all places, tokens that are no part of the picture among them: here each picture has one, which is zero."""
    agree(WITH_TOKENS_ASIDE[what](network(name, "NHWC")), WITH_TOKENS_ASIDE[what](network(name, "NCHW")))
    ours, theirs = (vizkit.activation_statistics(network(name, one), PICTURES, ["act"]) for one in ("NTC", "NCHW"))
    np.testing.assert_allclose(ours.column("zeros"), (theirs.column("zeros") * PLACES + 1) / (PLACES + 1), rtol=1e-12)
    np.testing.assert_array_equal(ours.column("blank"), theirs.column("blank"))


@pytest.mark.quick
@pytest.mark.parametrize("order", ORDERS)
def test_a_field_that_nobody_knows_is_not_called_the_whole_picture(name: str, order: str) -> None:
    seen = window(network(name, order), "act")
    assert (seen.known, seen.whole) == ((False, True) if order == "NTC" else (True, False))
    dense = window(network(name, order), "head")
    assert (dense.known, dense.whole) == (order != "NTC", True)


@pytest.mark.quick
@pytest.mark.parametrize("order", ORDERS)
def test_units_that_are_not_there(name: str, order: str) -> None:
    model = network(name, order)
    asked: list[Callable[[], Any]] = [
        lambda: vizkit.feature_maps(model, PICTURES, "act", unit=[3, 10]),
        lambda: vizkit.top_patches(model, PICTURES, "act", [3, 10]),
        lambda: vizkit.spritemap(model, "act", [3, 10], size=SIDE, steps=1),
        lambda: vizkit.dream(model, "act", [3, 10], size=SIDE, steps=1),
        lambda: vizkit.receptive_field(model, PICTURES[0], layer="act", unit=10),
        lambda: vizkit.render(model, objectives.unit("act", 10), **SMALL),
    ]
    for ask in asked:
        with pytest.raises(SettingError, match="Layer 'act' has units 0 to 9; there is no 10"):
            ask()


def test_a_unit_of_branches_that_lie_beside_each_other_has_no_filter() -> None:
    """Where their channels are joined it has that of its branch, also with channels last; where their places are, each
    channel has two."""
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, axis: int) -> None:
            super().__init__()
            self.axis, self.one, self.two = axis, torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
            self.act, self.head = torch.nn.ReLU(), torch.nn.LazyLinear(5)

        def forward(self, x: Any) -> Any:
            x = x.permute(0, 2, 3, 1)
            y = self.act(torch.cat([self.one(x), self.two(x)], self.axis))
            return self.head(y.mean((1, 2)))

    for axis, layer in ((3, "two"), (1, None)):
        module = Network(axis)
        module(torch.zeros(1, 3, 6, 6))
        model = vizkit.wrap(module, input_size=6, mean=(0.5,) * 3, std=(0.5,) * 3, layout={"act": "NHWC"})
        found = filter_of(model, "act", 5 if layer else 1)
        assert (None if found is None else (found.layer, found.channel)) == (None if layer is None else (layer, 1))
