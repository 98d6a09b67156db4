"""The code path of a GPU, followed on tensors that have no values: whatever reads one fails. A model that says it is on
"cuda:0" runs with all its tensors on PyTorch's meta device, so these tests need no GPU; they show what is asked of one,
not what it answers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit import objectives, targets
from vizkit.targets import Dense, Table
from vizkit.techniques.common.passes import IMAGES, INPUT, LOGITS, MARKS, differentiate
from vizkit.techniques.dreams import trace as _trace

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
import torchvision
from kits import blind
from kits.blind import FORWARD, GRADIENT, READ, UPLOAD
from torch.utils._python_dispatch import TorchDispatchMode

NETWORKS = {"vgg19": "features.28", "resnet152": "layer3.5", "googlenet": "inception4a"}
BACKENDS: Any = torch.backends


class Spy(TorchDispatchMode):
    """Notes in what arithmetic every convolution is computed, there and back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.convolution, torch.ops.aten.convolution_backward):
            backward = func.overloadpacket is torch.ops.aten.convolution_backward
            image, weight = args[1:3] if backward else args[:2]
            last = all(one.is_contiguous(memory_format=torch.channels_last) for one in (image, weight))
            self.seen.append((backward, image.dtype, weight.dtype, last, full(), BACKENDS.cudnn.deterministic))
        return func(*args, **(kwargs or {}))


def full() -> bool:
    """Whether a GPU's convolutions would multiply float32 in full ("none" is what ``allow_tf32 = False`` writes)."""
    newer = hasattr(BACKENDS.cudnn, "conv")
    return BACKENDS.cudnn.conv.fp32_precision in ("ieee", "none") if newer else not BACKENDS.cudnn.allow_tf32


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> blind.Device:
    return blind.install(monkeypatch)


@pytest.fixture(autouse=True)
def _no_gpu_here() -> Any:
    """PyTorch warns that there is none when autocast is asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
        yield


def everything(ops: Any, done: Any) -> Any:
    """All that a pass has found."""
    kept = {f"activation {name}": value for name, value in done.activations.items()}
    return {**kept, "scores": done.scores, **{f"gradient {name}": value for name, value in done.gradients.items()}}


def given(model: Any, count: int, chosen: Any, side: int = 224) -> dict[str, Any]:
    """What a differentiating step is given."""
    x = model.ops.asarray(np.zeros((count, 3, side, side)))
    table = Table(Dense.of(model))
    return {IMAGES: x, MARKS: model.ops.asarray(targets.marks(model, table, targets.listed(chosen, count)))}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_crosses_nothing(device: blind.Device, name: str, dtype: str) -> None:
    """Also where the target is the top-1. And float32 is multiplied in full, forward and backward."""
    model, layer, spy = blind.on_gpu(name, dtype), NETWORKS[name], Spy()
    step, images = differentiate(model, everything, layers=(layer,)), given(model, 3, [3, "all", None])
    device.story.clear()
    with spy:
        found = step(images)
    assert device.story == [GRADIENT, FORWARD]
    assert found[f"gradient {INPUT}"].shape == (3, 3, 224, 224)
    assert found[f"gradient {layer}"].shape == found[f"activation {layer}"].shape == (3, *model.layers[layer].shape[1:])
    assert found["scores"].shape == (3,)
    assert found[LOGITS].shape == (3, 1000)
    assert {one.dtype for one in found.values()} == {torch.float32}
    kinds = set(spy.seen)
    wanted = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    assert {backward for backward, *_ in kinds} == {False, True}
    assert {one for kind in kinds for one in kind[1:3]} == {wanted}
    assert {kind[4:] for kind in kinds} == {(True, True)}


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "googlenet"])
def test_bfloat16_stays_in_channels_last_memory(name: str) -> None:
    """On a CPU, since PyTorch's functions for tensors without values forget the order of their memory."""
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    native = torchvision.models.get_model(name, weights=None, **options)
    model, spy = vizkit.wrap(native, input_size=64, mean=(0.5,) * 3, std=(0.25,) * 3, dtype="bfloat16"), Spy()
    assert model.layers
    with spy:
        differentiate(model, everything)(given(model, 2, [3, "all"], 64))
    convolutions = sum(type(module) is torch.nn.Conv2d for module in model.native.modules())
    assert [kind[:4] for kind in spy.seen] == (
        [(False, torch.bfloat16, torch.bfloat16, True)] * convolutions
        + [(True, torch.bfloat16, torch.bfloat16, True)] * convolutions
    )


LOOPS: dict[str, Any] = {
    "dream": lambda model, steps: vizkit.dream(model, "inception3a", [1, 2], stages=2, steps=steps // 2, size=32),
    "render": lambda model, steps: vizkit.render(
        model, objectives.unit("inception3a", [1, 2]) - 0.1 * objectives.diversity("inception3a"), steps=steps, rescue=0
    ),
    "deepdream": lambda model, steps: vizkit.deepdream(
        model, np.zeros((64, 64, 3), np.uint8), "inception3a", octaves=1, steps=steps, size=64
    ),
}


@pytest.mark.parametrize("which", LOOPS)
def test_loops_read_once_in_eight_steps(device: blind.Device, which: str) -> None:
    """A device would stand still at every reading."""
    model = blind.on_gpu("googlenet")
    LOOPS[which](model, 2)
    device.story.clear()
    LOOPS[which](model, 16)
    assert device.count(GRADIENT) == 16
    story = "".join({GRADIENT: "s", FORWARD: "", READ: ".", UPLOAD: "+"}[one] for one in device.story)
    assert "s" * _trace.AHEAD in story
    begin, end = story.index("s"), story.rindex("s")
    between = story[begin:end].replace("s", "")
    assert set(between) <= {"."}  # with constants there, nothing is brought to it
    assert len(between) <= 2  # one reading, and in a dream a picture at the end of a stage


def test_rules_read_nothing_on_the_way(device: blind.Device) -> None:
    """Whether there are negative values is known from what computed them: all rules read what the plainest reads."""
    model, readings = blind.small_on_gpu(), {}
    for rules in vizkit.rules.COMPOSITES:
        device.story.clear()
        vizkit.lrp(model, blind.photos(1), target=1, rules=rules)
        readings[rules] = device.count(READ)
    assert set(readings.values()) == {readings["epsilon"]}
