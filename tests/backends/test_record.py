"""When a recorded step is replayed, and when not. A stand-in for a CUDA graph runs the step again into the same memory,
as a graph does without asking anybody; so these tests need no GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE, kit

import vizkit

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
from torch import nn

from vizkit_torch import record
from vizkit_torch.model import TorchModel
from vizkit_torch.record import FIRST, FIRST_KEYED, Recorder, Tape

pytestmark = pytest.mark.cpu


class Graph:
    """Replays by running ``make`` again into what it made first."""

    def __init__(self, make: Callable[[], dict[str, Any]], made: dict[str, Any]) -> None:
        self.make, self.made, self.replays = make, made, 0

    def replay(self) -> None:
        self.replays += 1
        for name, value in self.make().items():
            self.made[name].copy_(value)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """All that are recorded."""
    found: list[Graph] = []

    def recorded(_tape: Tape, make: Any) -> Any:
        made = make()
        found.append(Graph(make, made))
        return found[-1], made

    monkeypatch.setattr(Tape, "record", recorded)
    monkeypatch.setattr(record, "without_waiting", lambda step, given: step(given))
    return found


@pytest.fixture
def model(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> TorchModel:
    """A network that takes itself to be where steps are recorded."""
    made: Any = vizkit.wrap(kit("torch").sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    monkeypatch.setattr(type(made.ops), "memory", lambda ops: 2**40)
    monkeypatch.setattr(TorchModel, "recorded", lambda own, step, key=None: own._recorder.step(step, key))
    return made  # type: ignore[no-any-return]


def picture(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)


def plain(model: TorchModel, image: Any) -> Any:
    """The map without recordings."""
    own = model._recorder
    model._recorder = type("Never", (), {"step": lambda _self, step, key: step})()
    try:
        return vizkit.saliency(model, image, target=1).values
    finally:
        model._recorder = own


@pytest.mark.quick
def test_later_calls_are_replayed_and_right(model: TorchModel, graphs: list[Graph]) -> None:
    for call in range(6):
        found = vizkit.saliency(model, picture(call), target=1).values
        np.testing.assert_array_equal(found, plain(model, picture(call)))
        assert len(graphs) == (call >= FIRST_KEYED)
    assert graphs[0].replays == 6 - FIRST_KEYED
    vizkit.saliency(model, [picture(1), picture(2)], target=1)  # another shape is another step
    vizkit.gradcam(model, picture(1), target=1)
    assert graphs[0].replays == 6 - FIRST_KEYED


@pytest.mark.quick
def test_results_are_not_written_by_the_next_replay(model: TorchModel) -> None:
    found = [vizkit.saliency(model, picture(call), target=1).values for call in range(5)]
    again = [plain(model, picture(call)) for call in range(5)]
    np.testing.assert_array_equal(found, again)


@pytest.mark.quick
def test_the_target_is_no_part_of_a_recording(model: TorchModel, graphs: list[Graph]) -> None:
    for _ in range(3):
        vizkit.saliency(model, picture(), target=1)
    for target in (0, 3, None, "all"):
        found = vizkit.saliency(model, picture(), target=target).values
        own, model._recorder = model._recorder, Recorder(model)
        np.testing.assert_array_equal(found, vizkit.saliency(model, picture(), target=target).values)
        model._recorder = own
    assert graphs[0].replays == 5


def exchanged(native: Any) -> None:
    native[7] = nn.Identity()


def normalised(native: Any) -> None:
    native[1].eps = 0.5


def hooked(native: Any) -> None:
    native[2].register_forward_hook(lambda _m, _i, output: 2 * output)


def forwarded(native: Any) -> None:
    native[2].forward = lambda x: 3 * torch.relu(x)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a weight written in place": lambda native: native[5].weight.data.mul_(-1.5),
    "a weight given other memory": lambda native: setattr(native[5].weight, "data", -1.5 * native[5].weight.data),
    "a statistic written": lambda native: native[1].running_var.mul_(4),
    "a module exchanged": exchanged,
    "a setting of batch norm": normalised,
    "a setting of a pool": lambda native: setattr(native[3], "stride", 1) or setattr(native[3], "kernel_size", 1)
    or setattr(native[8], "kernel_size", 4) or setattr(native[8], "stride", 4),
    "a hook": hooked,
    "a function put in place of a module's own": forwarded,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("optimise", [True, False])
def test_what_a_user_changes_is_seen(model: TorchModel, change: str, optimise: bool) -> None:
    model.optimise = optimise
    for _ in range(4):
        before = vizkit.saliency(model, picture(), target=1).values
    CHANGES[change](model.native)
    for _ in range(4):
        found = vizkit.saliency(model, picture(), target=1).values
        np.testing.assert_allclose(found, plain(model, picture()), rtol=1e-12)
        assert np.abs(found - before).max() > 1e-3 * np.abs(before).max()


@pytest.mark.quick
def test_a_network_that_changes_itself_is_never_replayed(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = nn.Linear(3 * 16, 5).double(), 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return self.inner(x.flatten(1)) * (1 + self.calls % 2)

    model: Any = vizkit.wrap(Counting(), input_size=4, mean=(0.5,) * 3, std=(0.25,) * 3)
    monkeypatch.setattr(type(model.ops), "memory", lambda ops: 2**40)
    monkeypatch.setattr(TorchModel, "recorded", lambda own, step, key=None: own._recorder.step(step, key))
    for _ in range(6):
        vizkit.saliency(model, picture()[:4, :4], target=1, fit="squash")
    assert graphs == []


@pytest.mark.quick
def test_what_cannot_be_recorded_runs_as_before(model: TorchModel, graphs: list[Graph], monkeypatch: Any) -> None:
    """A step that reads a value, as a network may that looks at its activations."""
    calls: list[float] = []

    def step(given: dict[str, Any]) -> dict[str, Any]:
        calls.append(float(model.ops.numpy(given["x"]).sum()))
        return {"x": given["x"] + calls[-1]}

    run = model.recorded(step)
    for call in range(4):
        made = run({"x": torch.full((1, 3, 4, 4), float(call))})
        assert float(made["x"][0, 0, 0, 0]) == call + 48.0 * call
    assert graphs == []
    assert model.ops.recording is None
    assert calls == [0.0, 48.0, 96.0, 144.0]


@pytest.mark.quick
def test_what_waits_for_the_device_is_not_recorded(model: TorchModel, graphs: list[Graph], monkeypatch: Any) -> None:
    """PyTorch raises there while it is told to; the mode is as before afterwards."""
    modes, now = list[Any](), [0]

    def told(mode: Any) -> None:
        modes.append(mode)
        now[0] = mode

    def item(given: dict[str, Any]) -> dict[str, Any]:
        if now[0] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return {"x": given["x"] + 1}

    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", told)
    given = {"x": torch.zeros(1)}
    assert record.without_waiting(item, given) is None
    assert record.without_waiting(lambda one: one, given) is given
    assert modes == ["error", 0, "error", 0]
    assert now == [0]


@pytest.mark.quick
def test_large_steps_are_not_recorded(model: TorchModel, graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "SHARE", 0.0)
    for _ in range(5):
        vizkit.saliency(model, picture(), target=1)
    assert graphs == []


@pytest.mark.quick
def test_recordings_hold_the_constants_that_they_read(model: TorchModel, graphs: list[Graph]) -> None:
    ops = model.ops
    run = model.recorded(lambda given: {"x": given["x"] + ops.constant(np.ones, (1, 3, 4, 4))})
    for _ in range(FIRST + 2):
        run({"x": torch.zeros(1, 3, 4, 4)})
    (held,) = run.func._held  # type: ignore[attr-defined]
    assert held is ops.constant(np.ones, (1, 3, 4, 4))
    assert len(graphs) == 1


@pytest.mark.quick
def test_without_memory_recordings_give_theirs_back(model: TorchModel, graphs: list[Graph]) -> None:
    for _ in range(4):
        vizkit.saliency(model, picture(), target=1)
    assert model._recorder._known
    with pytest.raises(torch.OutOfMemoryError):
        model._recorder.plain(lambda given: (_ for _ in ()).throw(torch.OutOfMemoryError("full")), {})
    assert not model._recorder._known
