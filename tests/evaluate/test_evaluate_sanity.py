"""Max-sensitivity, the randomisation checks, and models with other parameters."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit import evaluate
from vizkit.errors import SettingError, ShapeError, UnknownNameError
from vizkit.evaluate.randomisation import parameters_by_layer
from vizkit.evaluate.statistics import spearman
from vizkit.zoo import weights

EXACT = 1e-8
SIDE = TRAPS_SIZE
INPUT = {"input_size": SIDE, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}
PLAIN = [("conv", 3, 4, 3, 1), ("relu",), ("flatten",), ("dense", 4 * SIDE * SIDE, 6), ("relu",), ("dense", 6, 5)]
torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="compares with a PyTorch toolkit; PyTorch is absent")


def small(backend: str) -> Any:
    return vizkit.wrap(kit_of(backend).sequential(TRAPS), **INPUT)


def pictures(count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(count)]


@pytest.mark.quick
@torch_only
def test_max_sensitivity_is_captums() -> None:
    captum, metrics = pytest.importorskip("captum.attr"), pytest.importorskip("captum.metrics")
    import torch

    model = small("torch")
    native = copy.deepcopy(model.native).eval().cpu()
    for module in native.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    x = torch.from_numpy(vizkit.images.prepare(pictures(), model.spec, fit="squash").tensor).double()
    noise = np.stack([np.random.default_rng([4, s]).uniform(-0.3, 0.3, x.shape[1:]) for s in range(5)])

    def explain(inputs: Any, target: Any) -> Any:
        if isinstance(inputs, tuple):
            return (explain(inputs[0], target),)
        with torch.enable_grad():
            return captum.Saliency(native).attribute(inputs.clone().requires_grad_(), target=target).amax(dim=1)

    theirs = metrics.sensitivity_max(
        explain,
        x,
        perturb_func=lambda inputs: inputs + torch.from_numpy(np.tile(noise, (2, 1, 1, 1))),
        n_perturb_samples=5,
        target=torch.tensor([3, 1]),
    ).numpy()
    options: dict[str, Any] = {"target": [3, 1], "radius": 0.3, "samples": 5, "seed": 4, "fit": "squash"}
    ours = evaluate.max_sensitivity(model, pictures(), vizkit.saliency, **options)
    assert theirs.min() > 0.01
    assert np.abs(ours - theirs).max() <= EXACT * theirs.max()
    assert np.allclose(ours[1:], evaluate.max_sensitivity(model, pictures()[1], vizkit.saliency,
                                                           **options | {"target": 1}), atol=1e-12)  # fmt: skip


@pytest.mark.quick
def test_a_method_that_looks_away_is_stable_and_noise_is_not(name: str) -> None:
    model = small(name)
    options: dict[str, Any] = {"samples": 2, "fit": "squash"}
    assert (evaluate.max_sensitivity(model, pictures(), vizkit.centre_map, **options) == 0).all()
    assert (
        evaluate.max_sensitivity(model, pictures(), lambda *_, **__: np.zeros((2, SIDE, SIDE)), **options) == 0
    ).all()
    assert (evaluate.max_sensitivity(model, pictures(), vizkit.random_map, **options) > 0.5).all()


@pytest.mark.quick
def test_sensitivity_sees_the_changed_picture_too(name: str) -> None:
    """Edges are read off the picture, so a change beyond a gray level must reach it."""
    found = evaluate.max_sensitivity(small(name), pictures(), vizkit.edge_map, radius=0.5, samples=2, fit="squash")
    assert (found > 0.01).all()


def test_other_parameters_make_another_model_and_leave_the_network(kit: Any) -> None:
    native = kit.sequential(TRAPS)
    model = vizkit.wrap(native, **INPUT)
    before, digest, shapes = kit.snapshot(native), model.sha256(), model.parameter_shapes()
    logits = model.logits(pictures(), fit="squash")
    drawn = weights.draw(shapes, 3).arrays
    other = model.with_parameters(drawn)
    for name, value in drawn.items():
        assert np.array_equal(other.parameter(name), value)
    assert not np.allclose(other.logits(pictures(), fit="squash"), logits)
    assert other.sha256() != digest
    assert other.weights.note == f"{len(drawn)} of {len(shapes)} parameters replaced"
    back = other.with_parameters({name: model.parameter(name) for name in shapes})
    assert back.sha256() == model.sha256() == digest
    assert np.array_equal(model.logits(pictures(), fit="squash"), logits)
    assert np.allclose(back.logits(pictures(), fit="squash"), logits, atol=1e-5)  # parameter() rounds to float32
    assert np.array_equal(model.with_parameters({}).logits(pictures(), fit="squash"), logits)
    assert list(other.layers) == list(model.layers)
    assert kit.snapshot(native) == before


@pytest.mark.quick
def test_one_parameter_of_a_changed_model(name: str) -> None:
    """The last bias moves the logits by what it is moved, and nothing else."""
    model = small(name)
    last = [parameter for parameter in model.parameter_shapes() if parameter.endswith("bias")][-1]
    bias = model.parameter(last).astype(np.float64)
    moved = model.with_parameters({last: bias + np.arange(5)})
    difference = moved.logits(pictures(), fit="squash") - model.logits(pictures(), fit="squash")
    assert np.allclose(difference, np.arange(5), atol=1e-6)


@pytest.mark.quick
def test_the_digest_sees_a_single_value(kit: Any) -> None:
    model = vizkit.wrap(kit.sequential(PLAIN), **INPUT)
    name = max(model.parameter_shapes(), key=lambda key: np.prod(model.parameter_shapes()[key]))
    digest, value = model.sha256(), model.parameter(name)
    value.flat[1] += 1
    assert model.with_parameters({name: value}).sha256() != digest


@pytest.mark.quick
@both()
def test_the_same_parameters_give_the_same_logits_in_both() -> None:
    found = []
    for name in ("torch", "gluon"):
        model = small(name)
        renamed = {"gamma": "weight", "beta": "bias"}
        shapes = {
            f"{key.rpartition('.')[0]}.{renamed.get(key.rpartition('.')[2], key.rpartition('.')[2])}": key
            for key in model.parameter_shapes()
        }
        drawn = weights.draw({key: model.parameter_shapes()[own] for key, own in shapes.items()}, 1).arrays
        changed = model.with_parameters({shapes[key]: value for key, value in drawn.items()})
        found.append(changed.logits(pictures(), fit="squash"))
    assert np.allclose(*found, rtol=EXACT, atol=0)


@pytest.mark.quick
def test_parameters_that_do_not_fit(name: str) -> None:
    model = small(name)
    first = next(iter(model.parameter_shapes()))
    with pytest.raises(UnknownNameError, match="parameter of"):
        model.with_parameters({"0.wieght": np.zeros(3)})
    with pytest.raises(ShapeError, match=f"{first} of .* has shape"):
        model.with_parameters({first: np.zeros((1, 2))})


@pytest.mark.quick
def test_layers_with_parameters_in_the_order_in_which_they_run(name: str) -> None:
    owned = parameters_by_layer(small(name))
    assert list(owned) == ["0", "1", "5", "6", "10", "13"]
    assert [len(own) for own in owned.values()] == [2, 4, 2, 4, 2, 2]


@pytest.mark.parametrize("order", ["cascading", "independent"])
@pytest.mark.parametrize("absolute", [True, False])
def test_randomisation_by_hand(order: str, absolute: bool, name: str) -> None:
    model = small(name)
    options: dict[str, Any] = {"target": [1, 2], "fit": "squash"}
    method = partial(vizkit.occlusion, window=4, stride=4)
    found = evaluate.parameter_randomisation(
        model, pictures(), method, layers=["13", "10", "0"], order=order, absolute=absolute, seed=2, **options
    )
    drawn = weights.draw(model.parameter_shapes(), 2).arrays
    trained = method(model, pictures(), **options).values
    changes: dict[str, np.ndarray] = {}
    for row, layer in enumerate(("13", "10", "0")):
        own = {key: value for key, value in drawn.items() if key.startswith(f"{layer}.")}
        changes = {**changes, **own} if order == "cascading" else own
        maps = method(model.with_parameters(changes), pictures(), **options).values
        sign = np.abs if absolute else np.asarray
        wanted = [spearman(sign(a), sign(b)) for a, b in zip(maps, trained, strict=True)]
        assert np.allclose(found.similarity[row], wanted, atol=1e-12)
        assert max(wanted) < 0.999
    assert found.layers == ("13", "10", "0")


@pytest.mark.quick
def test_all_layers_from_the_output_down(kit: Any) -> None:
    native = kit.sequential(PLAIN)
    model = vizkit.wrap(native, **INPUT)
    before = kit.snapshot(native)
    found = evaluate.parameter_randomisation(model, pictures(), vizkit.saliency, target=1, fit="squash")
    assert found.layers == ("5", "3", "0")
    assert found.similarity.shape == (3, 2)
    assert (np.abs(found.similarity[-1]) < 0.5).all()
    assert kit.snapshot(native) == before


@pytest.mark.parametrize("method", ["edge_map", "centre_map", "random_map"])
def test_controls_fail_the_checks(method: str, name: str) -> None:
    """What does not look at the network cannot change with it."""
    model, control = small(name), getattr(vizkit, method)
    found = evaluate.parameter_randomisation(model, pictures(), control, layers=["13", "0"], fit="squash")
    assert np.allclose(found.similarity, 1)
    assert np.allclose(evaluate.random_logit(model, pictures(), control, fit="squash"), 1)


def test_random_logit_by_hand(name: str) -> None:
    model = small(name)
    method = partial(vizkit.occlusion, window=4, stride=4)
    found = evaluate.random_logit(model, pictures(), method, target=[1, 2], fit="squash", similarity="pearson", seed=7)
    others = [(i + 1 + int(np.random.default_rng([7, i]).integers(4))) % 5 for i in (1, 2)]
    assert all(a != b for a, b in zip(others, (1, 2), strict=True))
    a, b = (np.abs(method(model, pictures(), target=t, fit="squash").values).reshape(2, -1) for t in ([1, 2], others))
    assert np.allclose(found, [np.corrcoef(p, q)[0, 1] for p, q in zip(a, b, strict=True)])


@both()
def test_randomising_a_real_network_is_the_same_in_both_and_guided_backprop_fails_it(
    squeezenet_weights: Path, photos: list[Path]
) -> None:
    """Adebayo et al.: guided backpropagation hardly sees the layers near the output, and the gradient does."""
    layers = ["classifier.1", "features.12.expand3x3", "features.12.squeeze", "features.9.squeeze"]
    found: dict[str, list[np.ndarray]] = {"torch": [], "gluon": []}
    for name in found:
        model = vizkit.load("squeezenet1_0", backend=name, weights=str(squeezenet_weights), dtype="float64")
        for method in (vizkit.saliency, vizkit.guided_backprop):
            checked = evaluate.parameter_randomisation(model, photos[1], method, target=243, layers=layers)
            found[name].append(checked.similarity[:, 0])
    assert np.allclose(found["torch"], found["gluon"], rtol=0, atol=1e-6)  # ranks of values that all but tie
    gradient, guided = found["torch"]
    assert (guided > gradient + 0.1).all()
    assert guided[-1] > 0.5
    assert gradient[-1] < 0.5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"order": "bottom_up"}, "order"),
        ({"similarity": "ssim"}, "similarity"),
        ({"layers": []}, "at least one layer"),
        ({"layers": ["2"]}, "has no parameters"),
    ],
)
def test_settings_of_the_randomisation(options: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        evaluate.parameter_randomisation(small(INSTALLED[0]), pictures(), vizkit.edge_map, fit="squash", **options)


@pytest.mark.quick
def test_other_settings_that_cannot_be() -> None:
    model = small(INSTALLED[0])
    with pytest.raises(UnknownNameError, match="layer of"):
        evaluate.parameter_randomisation(model, pictures(), vizkit.edge_map, layers=["99"], fit="squash")
    with pytest.raises(SettingError, match="needs a class"):
        evaluate.random_logit(model, pictures(), vizkit.edge_map, target="all", fit="squash")
    with pytest.raises(SettingError, match="radius"):
        evaluate.max_sensitivity(model, pictures(), vizkit.edge_map, radius=0, fit="squash")
    with pytest.raises(ShapeError, match="one map for each image"):
        evaluate.random_logit(model, pictures(), lambda *_, **__: np.zeros((2, 3, 3)), fit="squash")
