"""A network is looked over once for a call, and again after everything in which its user has a say."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit import objectives
from vizkit.contract.terms import FACTORS
from vizkit.parametrisations import Pixels

ROUNDING = 1e-10
"""Relative, in float64, prepared against plain; measured 1e-14."""
LAYER = "5"
FOLDS = {"torch": ("Pair", "prepared"), "gluon": ("Folding", "_fold")}
"""Where each backend folds a batch norm into its convolution."""


def wrap(native: Any, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def halve(native: Any) -> None:
    """Write the first convolution's weight in place, without telling anybody."""
    weight = native[0].weight
    if hasattr(weight, "set_data"):
        weight.set_data(weight.data() * 0.5)
    else:
        weight.data.mul_(0.5)


def move(native: Any) -> None:
    """Give it other memory, with other values in it."""
    weight = native[0].weight
    if hasattr(weight, "set_data"):
        weight._data[0] = weight.data() * 0.5
    else:
        weight.data = weight.data * 0.5


def looks(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What every look at this model will have found."""
    found: list[object] = []
    own = model._state

    def look() -> object:
        found.append(own())
        return found[-1]

    monkeypatch.setattr(model, "_state", look)
    return found


@pytest.mark.parametrize(("method", "options"), [("saliency", {}), ("smoothgrad", {"samples": 4})])
def test_one_look_for_a_call(name: str, monkeypatch: pytest.MonkeyPatch, method: str, options: Any) -> None:
    """However many passes it takes, and its SHA-256 among them; one for the next call, too."""
    native = kit_of(name).sequential(TRAPS)
    model = wrap(native)
    picture = vizkit.images.noise(0, 255, size=TRAPS_SIZE, seed=0)
    found = looks(model, monkeypatch)
    digests = []
    for _ in range(2):
        found.clear()
        made = getattr(vizkit, method)(model, picture, target=1, batch_size=2, **options)
        assert len(found) == 1
        digests.append(made.provenance["weights"]["sha256"])
        assert digests[-1] == model.sha256()
        halve(native)
    assert digests[0] != digests[1]


@pytest.mark.quick
def test_blocks_within_blocks_end_with_the_outermost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    native = kit_of(name).sequential(TRAPS)
    model = wrap(native)
    found = looks(model, monkeypatch)
    before = model.sha256()
    with model.held():
        with pytest.raises(ZeroDivisionError), model.held():
            _ = 1 / 0
        assert model.sha256() == before
        assert len(found) == 2
        other = model.with_parameters({"0.bias": np.ones(6)})
        others = other.sha256()
        assert others != before
    halve(native)
    assert model.sha256() != before
    halve(other.native)
    assert other.sha256() != others


@pytest.mark.parametrize("change", [halve, move])
def test_weights_are_folded_once_until_they_change(
    name: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]
) -> None:
    folds: list[Any] = []
    if name not in FOLDS:
        pytest.skip(f"{name} folds nothing, as the contract allows")
    prepare = importlib.import_module(f"vizkit_{name}.prepare")
    kind, method = getattr(prepare, FOLDS[name][0]), FOLDS[name][1]
    own = getattr(kind, method)
    monkeypatch.setattr(kind, method, lambda *given: folds.append(given) or own(*given))
    native = kit_of(name).sequential(TRAPS)
    model, plain = wrap(native), wrap(native, optimise=False)
    x = np.random.default_rng(0).normal(size=(2, 3, TRAPS_SIZE, TRAPS_SIZE))
    for times in (1, 2):
        for _ in range(3):
            got, wanted = (one.ops.numpy(one.forward(one.ops.asarray(x))["output"]) for one in (model, plain))
            np.testing.assert_allclose(got, wanted, rtol=ROUNDING, atol=ROUNDING)
        assert len(folds) == 2 * times
        change(native)


def zero(values: Any) -> None:
    """One filter."""
    values[1] = 0.0


def nudge(values: Any) -> None:
    """One value of 10368, by a millionth of what it is."""
    values[7, 3, 2, 1] *= 1.0 + 1e-6


def exchange(values: Any) -> None:
    values[[7, 8]] = values[[8, 7]]


@pytest.mark.quick
@pytest.mark.parametrize("write", [zero, nudge, exchange])
def test_whatever_is_written_in_place_is_seen(name: str, write: Callable[[Any], None]) -> None:
    """A Gluon array, and a tensor's data, tell nobody that they were written."""
    native = kit_of(name).sequential([("conv", 3, 8, 3, 1), ("norm", 8), ("conv", 8, 144, 3, 1), ("norm", 144)])
    model, plain = wrap(native), wrap(native, optimise=False)
    x = np.random.default_rng(0).normal(size=(1, 3, TRAPS_SIZE, TRAPS_SIZE))
    before, digests = model.ops.numpy(model.forward(model.ops.asarray(x))["output"]), {model.sha256(), plain.sha256()}
    if name == "torch":
        write(native[2].weight.data)
    else:
        weight = native[2].weight.data()
        values = weight.asnumpy()
        write(values)
        weight[:] = values
    after, wanted = (one.ops.numpy(one.forward(one.ops.asarray(x))["output"]) for one in (model, plain))
    np.testing.assert_allclose(after, wanted, rtol=ROUNDING, atol=ROUNDING * np.abs(wanted).max())
    assert np.abs(after - before).max() > 1e-9
    assert len({*digests, model.sha256(), plain.sha256()}) == 2


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32", "channels last", "with gaps"])
def test_a_value_in_a_tensor_of_any_kind_is_seen(kind: str) -> None:
    """Through ``.data``; and by what a GPU would compute of it."""
    torch = pytest.importorskip("torch")
    watch = importlib.import_module("vizkit_torch.watch")
    tensor = torch.ones(1, 6, 30, 40, dtype=getattr(torch, kind, torch.float32))
    others = {"with gaps": tensor[..., :39], "channels last": tensor.to(memory_format=torch.channels_last)}
    changed = others.get(kind, tensor)
    seen = watch.Watch("cpu")

    def looks() -> tuple[Any, ...]:
        found = watch.products(watch.flat(changed).reshape(-1), torch.from_numpy(FACTORS))
        return seen.state([changed]), *(one.tolist() for one in found)

    before = looks()
    assert looks() == before
    changed.data[0, 3, 7, 11] = 1.5
    after = looks()
    assert after[0] != before[0]
    assert after[1:] != before[1:]
    changed.data.copy_(changed.flip(-1).clone())
    turned = looks()
    assert turned[0] != after[0]
    assert turned[1:] != after[1:]


def dreamt(model: Any, native: Any, say: Callable[[Any], None]) -> Any:
    """The activation after each step; the user has a say after the first stage."""

    def on_stage(stage: Any) -> None:
        if stage.index == 0:
            say(native)

    return vizkit.dream(
        model, LAYER, [1, 2], stages=3, steps=2, size=TRAPS_SIZE, scale=1.0, on_stage=on_stage
    ).step_activation


def rendered(model: Any, native: Any, say: Callable[[Any], None]) -> Any:
    """The objective after each step; the user has a say after the third."""

    def on_frame(step: int, _pictures: Any) -> None:
        if step == 3:
            say(native)

    return vizkit.render(
        model,
        objectives.unit(LAYER, 1),
        parametrisation=Pixels(TRAPS_SIZE),
        steps=7,
        transforms=(),
        every=3,
        on_frame=on_frame,
    ).trace


LOOPS = [dreamt, rendered]


@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_user_writes_between_steps_is_seen(name: str, loop: Callable[..., Any]) -> None:
    """As in a network that is not prepared, which reads its weights at every pass."""
    found = {}
    for optimise in (True, False):
        native = kit_of(name).sequential(TRAPS)
        found[optimise] = loop(wrap(native, optimise=optimise), native, halve)
    untouched = loop(wrap(kit_of(name).sequential(TRAPS)), None, lambda native: None)
    np.testing.assert_allclose(found[True], found[False], rtol=ROUNDING)
    assert np.abs(untouched - found[True]).max() > 1e-3


@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_user_does_to_a_torch_network_between_steps_is_seen(loop: Callable[..., Any]) -> None:
    """Training mode changes nothing; another module, another function, and a hook do."""
    torch = pytest.importorskip("torch")
    kit = kit_of("torch")

    def train(native: Any) -> None:
        native.train()

    def replace(native: Any) -> None:
        native[1] = torch.nn.Softplus()

    def exchange(native: Any) -> None:
        native[1].forward = torch.nn.functional.softplus

    def watch(native: Any) -> None:
        native[1].register_forward_hook(lambda _module, _inputs, output: output + 1)

    untouched = loop(wrap(kit.sequential(TRAPS)), None, lambda native: None)
    for say in (train, replace, exchange, watch):
        found = {}
        for optimise in (True, False):
            native = kit.sequential(TRAPS).eval().requires_grad_(False)
            found[optimise] = loop(wrap(native, optimise=optimise), native, say)
            assert native.training == (say is train)
            assert ("forward" in vars(native[1])) == (say is exchange)
        np.testing.assert_allclose(found[True], found[False], rtol=ROUNDING, err_msg=say.__name__)
        assert (np.abs(untouched - found[True]).max() < 1e-9) == (say is train)


@pytest.mark.quick
def test_a_network_left_in_training_is_held_in_inference() -> None:
    torch = pytest.importorskip("torch")
    native = kit_of("torch").sequential(TRAPS).train().requires_grad_(True)
    model = wrap(native)
    x = model.ops.asarray(np.random.default_rng(0).normal(size=(2, 3, TRAPS_SIZE, TRAPS_SIZE)))
    alone = model.forward(x)["output"]
    with model.held():
        for _ in range(2):
            assert torch.equal(model.forward(x)["output"], alone)
            assert native.training
            assert native[0].weight.requires_grad
