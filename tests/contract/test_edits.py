"""A network with units switched off or raised is, everywhere, the network whose layer was rewritten by hand."""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE

import vizkit
from vizkit.errors import LayerError, SettingError, UnknownNameError
from vizkit.support.crew.sending import DIGEST, packed
from vizkit.zoo import shapes

LAYER, UNIT = "features.9", 3


@lru_cache(maxsize=4)
def load(name: str, dtype: str = "float32") -> Any:
    return vizkit.load("shapes", backend=name, dtype=dtype)


@pytest.fixture
def model(name: str) -> Any:
    return load(name)


@pytest.fixture(scope="module")
def picture() -> Any:
    return shapes.sample(4, seed=7).images[3]


def behind(model: Any, x: Any, values: Any) -> Any:
    """The logits where the layer gives ``values``: added by hand."""
    plain = model.ops.numpy(model.forward(x, (LAYER,))[LAYER])
    made = model.forward(x, add={LAYER: model.ops.asarray(values - plain)})
    return model.ops.numpy(made["output"])


@pytest.mark.quick
@pytest.mark.parametrize("amount", [None, 0.5, -2.0])
def test_an_edit_is_what_was_added_by_hand(model: Any, picture: Any, amount: float | None) -> None:
    x = model.ops.asarray(vizkit.images.prepare(picture, model.spec, fit="squash").tensor)
    values = model.ops.numpy(model.forward(x, (LAYER,))[LAYER])
    values[:, UNIT] = 0 if amount is None else values[:, UNIT] + amount * np.abs(values[:, UNIT]).max()
    changed = vizkit.edited(model, [(LAYER, UNIT, amount)])
    found = changed.forward(x, (LAYER, "output"))
    np.testing.assert_allclose(model.ops.numpy(found[LAYER]), values, atol=1e-5)
    np.testing.assert_allclose(model.ops.numpy(found["output"]), behind(model, x, values), atol=1e-4)
    assert np.abs(model.ops.numpy(found["output"]) - model.logits(picture, fit="squash")).max() > 1e-3


@pytest.mark.quick
def test_what_is_off_is_exactly_zero_whatever_else_is_read(model: Any, picture: Any) -> None:
    changed = vizkit.edited(model, [("features.3", 2), (LAYER, UNIT)])
    x = model.ops.asarray(vizkit.images.prepare(picture, model.spec, fit="squash").tensor)
    for keep in ((LAYER,), ("features.3", LAYER, "output"), tuple(model.layers)):
        found = changed.forward(x, keep)
        assert not model.ops.numpy(found[LAYER])[:, UNIT].any()
        assert "features.3" not in keep or not model.ops.numpy(found["features.3"])[:, 2].any()


def test_a_later_edit_sees_the_earlier(model: Any, picture: Any) -> None:
    both = vizkit.edited(model, [(LAYER, UNIT, 1.0), ("features.3", 2)])
    first = vizkit.edited(model, [("features.3", 2)])
    before = vizkit.feature_maps(first, picture, LAYER, fit="squash").values[0, UNIT]
    after = vizkit.feature_maps(both, picture, LAYER, fit="squash").values[0, UNIT]
    np.testing.assert_allclose(after, before + np.abs(before).max(), atol=1e-5)


def test_no_gradient_flows_through_a_unit_that_is_off(kit: Any) -> None:
    """Against finite differences of the edited network, in float64."""
    native = kit.sequential(TRAPS, dtype="float64")
    model = vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    layer = next(iter(model.filter_layers()))
    changed = vizkit.edited(model, [(layer, 1), (layer, 2, 0.25)])
    ops, x = model.ops, np.random.default_rng(3).normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE))
    held = ops.numpy(changed.forward(ops.asarray(x), (layer,))[layer] - model.forward(ops.asarray(x), (layer,))[layer])
    held[:, 1] = 0  # what is added is a constant; what is off follows the picture

    def score(values: Any) -> float:
        plain = ops.numpy(model.forward(ops.asarray(values), (layer,))[layer])
        off = np.zeros_like(plain)
        off[:, 1] = -plain[:, 1]
        made = model.forward(ops.asarray(values), add={layer: ops.asarray(held + off)})
        return float(ops.numpy(made["output"])[0, 0])

    def graded(leaves: Any) -> Any:
        return ops.pick(changed.forward(leaves["x"])["output"], [0]), None

    found = ops.numpy(ops.value_and_grad(graded, {"x": ops.asarray(x)})[1]["x"])
    raised = ops.numpy(model.forward(ops.asarray(x), (layer,))[layer])[0, 2]
    y, column = (int(one) for one in np.unravel_index(np.abs(raised).argmax(), raised.shape))
    assert raised[y, column] != 0
    for at in ((0, 0, 2, 3), (0, 1, 0, 0), *((0, channel, y, column) for channel in range(3))):
        step = np.zeros_like(x)
        step[at] = 1e-5
        assert found[at] == pytest.approx((score(x + step) - score(x - step)) / 2e-5, rel=1e-5, abs=1e-9)


def test_every_technique_takes_it_and_says_so(model: Any, picture: Any) -> None:
    changed = vizkit.edited(model, [vizkit.Edit(LAYER, UNIT)])
    found = vizkit.gradcam(changed, picture, fit="squash")
    assert np.abs(found.values - vizkit.gradcam(model, picture, fit="squash").values).max() > 0
    assert found.provenance["weights"]["note"].endswith("edited: features.9[3] off")
    assert found.provenance["weights"]["sha256"] == model.sha256()
    assert model.weights.note != changed.weights.note
    assert type(model) is not type(changed)
    assert vizkit.edited(model, []) is model


def test_dense_layers_have_units_too(model: Any, picture: Any) -> None:
    last = list(model.layers)[-1]
    changed = vizkit.edited(model, [(last, 2)])
    assert changed.logits(picture, fit="squash")[0, 2] == 0


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ([("nope", 1)], UnknownNameError), ([(LAYER, 32)], SettingError), ([(LAYER, -1)], SettingError),
        ([(LAYER, 1, float("nan"))], SettingError), ([(LAYER, 1), (LAYER, 1, 2.0)], SettingError),
    ],
)  # fmt: skip
def test_what_cannot_be_edited_is_named(model: Any, edits: Any, error: type[Exception]) -> None:
    with pytest.raises((error, LayerError)):
        vizkit.edited(model, edits)


def test_workers_get_the_edits_and_a_kept_run_is_not_gone_on_with(model: Any, tmp_path: Path) -> None:
    """The weights are the same, so that nothing else would tell."""
    changed = vizkit.edited(model, [(LAYER, UNIT)])
    sent = pickle.loads(packed([changed])[DIGEST:])[0].build(None)
    x = model.ops.asarray(vizkit.images.prepare(shapes.sample(1, seed=1).images[0], model.spec).tensor)
    first, second = (one.ops.numpy(one.forward(x, ("output",))["output"]) for one in (changed, sent))
    np.testing.assert_array_equal(first, second)
    pictures = shapes.sample(12, seed=1).images
    vizkit.health(model, pictures, [LAYER], state=tmp_path / "run")
    with pytest.raises(SettingError, match="the weights changed since"):
        vizkit.health(changed, pictures, [LAYER], state=tmp_path / "run")


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("saliency", {}), ("guided_backprop", {}), ("deconvnet", {}), ("lrp", {}),
        ("lrp", {"rules": "epsilon_alpha2_beta1"}), ("deeplift", {}), ("deeplift", {"rule": "reveal_cancel"}),
    ],
)  # fmt: skip
def test_maps_are_those_of_a_network_whose_unit_is_zero(
    name: str, picture: Any, method: str, settings: dict[str, Any]
) -> None:
    """Rules ask about no operation that an edit adds: guided ReLUs saw the gradient that an edit takes away."""
    model = load(name, "float64")
    norm = {f"features.1.{one}": model.parameter(f"features.1.{one}").copy() for one in ("weight", "bias")}
    for values in norm.values():
        values[2] = 0
    by_hand, changed = model.with_parameters(norm), vizkit.edited(model, [("features.2", 2)])
    wanted, found, plain = (
        getattr(vizkit, method)(one, picture, target=1, fit="squash", **settings).values
        for one in (by_hand, changed, model)
    )
    assert np.abs(found - wanted).max() <= 1e-13 * np.abs(wanted).max()
    assert np.abs(plain - wanted).max() > 1e-3 * np.abs(wanted).max()
