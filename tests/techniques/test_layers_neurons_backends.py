"""Gradient methods at a layer, for a unit and from several baselines: Gluon gives what PyTorch gives, in float64 to
1e-10 of the largest value; what adds up to what; what changes nothing; and what is said of what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit.errors import DisconnectedError, LayerError, SettingError, UnknownNameError
from vizkit.targets import Class, Unit
from vizkit.techniques.common.noise import generator

pytestmark = pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning")
# Without kinks, so that errors of sums fall with the square of the steps.
SMOOTH = [("conv", 3, 4, 3, 1), ("sigmoid",), ("conv", 4, 3, 3, 1), ("sigmoid",), ("flatten",), ("dense", 3 * 16, 5)]
NEURON = ("5", 3, 2, 4)
PATH = {"steps": 4, "baseline": "noise"}
SAMPLED = {"samples": 3, "noise": 0.1, "seed": 1}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("saliency", {"layer": "5"}),
    ("gradient_x_input", {"layer": "7"}),
    ("smoothgrad", {"layer": "5", **SAMPLED}),
    ("vargrad", {"layer": "5", **SAMPLED}),
    ("squaregrad", {"layer": "5", **SAMPLED}),
    ("integrated_gradients", {"layer": "5", **PATH}),
    ("integrated_gradients", {"steps": 3, "baselines": ["black", "noise", "blurred"]}),
    ("integrated_gradients", {"steps": 3, "baselines": ["black", "noise"], "layer": "5"}),
    ("gradient_shap", {"layer": "5", **SAMPLED}),
    ("conductance", {"layer": "5", **PATH}),
    ("conductance", {"layer": "2", "steps": 5, "rule": "riemann_trapezoid", "baselines": ["noise", "blurred"]}),
    ("conductance", {"neuron": ("5", 3), **PATH}),
    ("internal_influence", {"layer": "5", "steps": 3, "baselines": ["noise", "blurred"]}),
    *((name, {"neuron": ("5", 3)}) for name in ("saliency", "gradient_x_input", "guided_backprop", "deconvnet")),
    ("saliency", {"neuron": NEURON, "layer": "2"}),
    ("smoothgrad", {"neuron": NEURON, **SAMPLED}),
    ("integrated_gradients", {"neuron": NEURON, **PATH}),
    ("gradient_shap", {"neuron": ("10", 7), **SAMPLED}),
]
IDS = [f"{name}-{'-'.join(settings)}" for name, settings in CASES]


def wrapped(backend: str, layers: Any = TRAPS, size: int = TRAPS_SIZE, **options: Any) -> Any:
    native = kit_of(backend).sequential(layers, **options)
    return vizkit.wrap(native, input_size=size, mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3))


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(3)]


def run(model: Any, pictures: Any, case: tuple[str, dict[str, Any]], **more: Any) -> Any:
    name, settings = case
    aim = {} if "neuron" in settings and name != "conductance" else {"target": 2}
    return getattr(vizkit, name)(model, pictures, **aim, **settings, **more)


@both()
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_backends_agree(pictures: Any, case: Any, agree: Any) -> None:
    torch, gluon = (run(wrapped(name), pictures, case) for name in ("torch", "gluon"))
    assert torch.labels == gluon.labels
    assert torch.layer == gluon.layer == (case[1].get("layer"))
    agree(case[0], f"torch, {IDS[CASES.index(case)]}", gluon.values, torch.values, 1e-10, "gluon")
    for key, value in torch.extra.items():
        np.testing.assert_allclose(gluon.extra[key], value, rtol=0, atol=1e-10 * max(1e-6, np.abs(value).max()))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_batches_do_not_change_what_comes_out(name: str, pictures: Any, case: Any) -> None:
    model = wrapped(name)
    whole = run(model, pictures, case, batch_size=5)
    alone = run(model, pictures[1], case, batch_size=1)
    scale = np.abs(alone.values).max()
    np.testing.assert_allclose(whole.values[1], alone.values[0], rtol=1e-9, atol=1e-11 * scale)
    for key, value in alone.extra.items():
        np.testing.assert_allclose(whole.extra[key][1], value[0], rtol=1e-7, atol=1e-11 * max(1, np.abs(value).max()))


@pytest.mark.quick
@pytest.mark.parametrize("layer", ["0", "1", "2", "3"])
def test_conductance_adds_up_to_the_rise_of_the_score(name: str, rng: Any, layer: str) -> None:
    """The error falls with the square of the steps, and a layer without one behind the input takes the whole rise."""
    model = wrapped(name, SMOOTH, 4)
    pictures = [rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(2)]
    settings: dict[str, Any] = {"target": [1, 4], "baselines": ["black", "blurred"], "layer": layer}
    few, many = (vizkit.conductance(model, pictures, steps=steps, **settings) for steps in (10, 100))
    whole = vizkit.integrated_gradients(model, pictures, steps=60, target=[1, 4], baselines=["black", "blurred"])
    rise = whole.extra["attribution"].sum((1, 2, 3))
    np.testing.assert_allclose(many.extra["attribution"].sum((1, 2, 3)), rise, rtol=1e-4)
    assert many.extra["completeness_error"].max() < 1e-4
    if layer != "3":  # behind which all is affine, and exact
        assert (many.extra["completeness_error"] < few.extra["completeness_error"] / 50).all()
    assert many.provenance["settings"]["completeness_error"] == many.extra["completeness_error"].tolist()


def test_neurons_conductances_add_up_to_integrated_gradients(name: str, pictures: Any) -> None:
    """All units of a layer together hand on everything; and each hands on its own conductance."""
    model, settings = wrapped(name), {"target": 1, **PATH, "rule": "riemann_middle"}
    every = [vizkit.conductance(model, pictures, neuron=("7", unit), **settings) for unit in range(8)]
    whole = vizkit.integrated_gradients(model, pictures, **settings)
    total = sum(one.extra["attribution"] for one in every)
    np.testing.assert_allclose(total, whole.extra["attribution"], atol=1e-12 * np.abs(total).max())
    smooth = wrapped(name, SMOOTH, 4)
    small = pictures[0][:4, :4]
    layer = vizkit.conductance(smooth, small, target=1, layer="2", steps=200).extra["attribution"][0]
    for unit in range(3):
        one = vizkit.conductance(smooth, small, target=1, neuron=("2", unit, 1, 2), steps=60, rule="gausslegendre")
        np.testing.assert_allclose(one.extra["attribution"].sum(), layer[unit, 1, 2], rtol=1e-3)


@pytest.mark.parametrize("method", ["integrated_gradients", "conductance", "internal_influence"])
@pytest.mark.parametrize("layer", [None, "5"])
def test_several_baselines_are_their_mean(name: str, pictures: Any, method: str, layer: str | None) -> None:
    model, several = wrapped(name), ["noise", "mean", pictures[2]]
    settings: dict[str, Any] = {"target": [1, 3], "steps": 3, "layer": layer}
    each = [getattr(vizkit, method)(model, pictures[:2], baseline=one, **settings) for one in several]
    found = getattr(vizkit, method)(model, pictures[:2], baselines=several, batch_size=4, **settings)
    mean = np.mean([one.extra["attribution"] for one in each], axis=0)
    np.testing.assert_allclose(found.extra["attribution"], mean, rtol=0, atol=1e-10 * np.abs(mean).max())
    assert found.provenance["settings"]["baselines"] == ["noise", "mean", "image of shape (16, 16, 3)"]
    if method != "internal_influence":  # everything passes the layer: both add up to the rise from the mean score
        x = model.ops.asarray(inputs(model, pictures[:2]))
        starts = [model.forward(x)["output"]]
        starts += [model.forward(model.ops.asarray(one))["output"] for one in reference_inputs(model, several)]
        top, *ends = (model.ops.numpy(one)[[0, -1], [1, 3]] for one in starts)
        rise = top - np.mean(ends, axis=0)
        error = np.abs(mean.sum((1, 2, 3)) - rise) / np.abs(rise)
        np.testing.assert_allclose(found.extra["completeness_error"], error, rtol=1e-6)


def reference_inputs(model: Any, several: list[Any]) -> list[np.ndarray]:
    """Baselines as inputs (1, C, H, W)."""
    shape = (1, 3, TRAPS_SIZE, TRAPS_SIZE)
    noise = vizkit.images.normalise(generator(0, 0).random(shape[1:])[None], model.spec)
    return [noise, np.zeros(shape), inputs(model, several[2])]


@pytest.mark.quick
def test_a_unit_is_a_target_of_every_method(name: str, pictures: Any) -> None:
    model = wrapped(name)
    activation = model.ops.numpy(model.forward(model.ops.asarray(inputs(model, pictures)), ("5",))["5"])
    here = Unit("5", 3, (2, 4))
    hidden = vizkit.occlusion(model, pictures, target=here, window=16, stride=16, baseline="mean")
    blank = model.ops.numpy(model.forward(model.ops.zeros((1, 3, TRAPS_SIZE, TRAPS_SIZE)), ("5",))["5"])
    np.testing.assert_allclose(hidden.values[:, 0, 0], activation[:, 3, 2, 4] - blank[0, 3, 2, 4], rtol=1e-9)
    assert vizkit.gradcam(model, pictures, target=here, layer="2").labels[0] == "unit 3 of 5 at 2/4"
    said = vizkit.saliency(model, pictures, target="unit:5:3@2,4")
    np.testing.assert_array_equal(said.values, vizkit.saliency(model, pictures, neuron=NEURON).values)
    mixed = vizkit.gradient_x_input(model, pictures, target=2.0 * here - Class(1)).values
    apart = [vizkit.gradient_x_input(model, pictures, target=one).values for one in (here, 1)]
    np.testing.assert_allclose(mixed, 2 * apart[0] - apart[1], atol=1e-12)
    beside = vizkit.saliency(model, pictures, target=[here, None, "all"])
    np.testing.assert_allclose(beside.values[0], said.values[0], atol=1e-12)
    assert beside.targets[1] == model.predict(pictures[1])[0].index


def inputs(model: Any, pictures: Any) -> np.ndarray:
    return np.asarray(vizkit.images.prepare(pictures, model.spec).tensor)


def test_a_unit_needs_nothing_behind_its_layer(name: str, pictures: Any) -> None:
    """So that what comes there cannot disturb it: here weights that are not finite."""
    model = wrapped(name)
    dense = next(one for one in model.parameter_shapes() if one.startswith("10."))
    spoilt = model.with_parameters({dense: np.full(model.parameter_shapes()[dense], np.nan)})
    unit: dict[str, Any] = {"neuron": ("5", 3)}
    for case in (("saliency", unit), ("gradient_shap", {**unit, "layer": "2", "samples": 2})):
        np.testing.assert_array_equal(run(spoilt, pictures, case).values, run(model, pictures, case).values)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"layer": "10"}, LayerError, "a map needs"),
        ({"layer": "nothing"}, UnknownNameError, "nothing"),
        ({"neuron": ("5", 8)}, SettingError, "units 0 to 7; there is no 8"),
        ({"neuron": ("5", 3, 8, 0)}, SettingError, "8 x 8 places"),
        ({"neuron": ("10", 3, 0, 0)}, SettingError, "no places"),
        ({"neuron": "5"}, SettingError, "expected a layer and a unit"),
        ({"neuron": ("5", 3), "target": 1}, SettingError, "give one"),
        ({"neuron": ("5", 3), "layer": "7"}, DisconnectedError, ""),
        ({"target": "unit:5:9"}, SettingError, "there is no 9"),
    ],
)
def test_what_cannot_be(name: str, pictures: Any, settings: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        vizkit.saliency(wrapped(name), pictures, **settings)


def test_contradictions_are_named(name: str, pictures: Any) -> None:
    model = wrapped(name)
    with pytest.raises(SettingError, match="the neuron's own layer"):
        vizkit.conductance(model, pictures, layer="2", neuron=("5", 1))
    with pytest.raises(SettingError, match="list of at least one"):
        vizkit.integrated_gradients(model, pictures, baselines="black")
    with pytest.raises(SettingError, match="contradicts"):
        vizkit.saliency(model, pictures, mode="published", neuron=("5", 1))


def test_explain_hands_a_layer_to_those_that_need_one(name: str, pictures: Any) -> None:
    shown = vizkit.explain(wrapped(name), pictures[0], ["saliency", "gradcam", "conductance"], [1], layer="5")
    assert [one.layer for one in shown.results[0][0]] == [None, "5", "5"]


def test_a_neuron_as_a_text(name: str, rng: Any) -> None:
    model = vizkit.wrap(kit_of(name).sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    x = rng.normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE))
    for text, neuron in (("2:1", ("2", 1)), ("2:1@3,4", ("2", 1, 3, 4))):
        found, wanted = (vizkit.saliency(model, x, neuron=one) for one in (text, neuron))
        assert np.array_equal(found.values, wanted.values)
        assert found.labels == wanted.labels
    with pytest.raises(vizkit.VizkitError, match=r'"layer4:17@3,4"'):
        vizkit.saliency(model, x, neuron="2")
