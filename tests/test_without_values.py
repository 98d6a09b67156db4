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
from vizkit import objectives
from vizkit.backend import Weights
from vizkit.techniques import _trace
from vizkit.techniques._attribution import INPUT, differentiate
from vizkit.zoo.catalog import imagenet_spec

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
import torchvision
from torch.utils._python_dispatch import TorchDispatchMode
from vizkit_torch.model import TorchModel
from vizkit_torch.ops import TorchOps
from vizkit_torch.watch import Watch

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
    """Whether a GPU's convolutions would multiply float32 in full."""
    newer = hasattr(BACKENDS.cudnn, "conv")
    return BACKENDS.cudnn.conv.fp32_precision == "ieee" if newer else not BACKENDS.cudnn.allow_tf32


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read, in order; reading gives zeros. Whether a weight was written cannot be seen, so nothing was."""
    reads: list[str] = []

    def numpy(ops: TorchOps, tensor: Any) -> Any:
        assert tensor.device.type == "meta"
        reads.append("read")
        return np.zeros(tuple(tensor.shape), np.float32)

    monkeypatch.setattr(TorchOps, "numpy", numpy)
    monkeypatch.setattr(TorchOps, "_upload", lambda ops, host: host.to("meta"))
    monkeypatch.setattr(Watch, "state", lambda watch, tensors: len(tensors))
    return reads


def on_gpu(name: str, dtype: str = "float32") -> TorchModel:
    """A network without values that takes itself to be on a GPU."""
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        native = torchvision.models.get_model(name, weights=None, **options)
    origin = Weights("random:0")
    spec = imagenet_spec()
    model = TorchModel(native, spec, name=name, weights=origin, versions={}, device="cuda:0", dtype=dtype)
    model._hash = (model._state(), "0" * 64)
    return model


@pytest.fixture(autouse=True)
def _no_gpu_here() -> Any:
    """PyTorch warns that there is none when autocast is asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
        yield


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_reads_nothing_before_its_end(blind: list[str], name: str, dtype: str) -> None:
    """And float32 is multiplied in full, forward and backward."""
    model, layer, spy = on_gpu(name, dtype), NETWORKS[name], Spy()
    assert model.layers
    blind.clear()
    with spy:
        found = differentiate(model, np.zeros((2, 3, 224, 224), np.float32), [3, "all"], layers=(layer,))
    assert blind == ["read"] * 4  # scores, an activation, two gradients
    assert found.gradients[INPUT].shape == (2, 3, 224, 224)
    assert found.gradients[layer].shape == found.activations[layer].shape
    kinds = set(spy.seen)
    wanted = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    assert {backward for backward, *_ in kinds} == {False, True}
    assert {one for kind in kinds for one in kind[1:3]} == {wanted}
    assert {kind[4:] for kind in kinds} == {(True, True)}


@pytest.mark.parametrize("name", ["vgg11", "resnet50", "googlenet"])
def test_bfloat16_stays_in_channels_last_memory(name: str) -> None:
    """On a CPU, since PyTorch's functions for tensors without values forget the order of their memory."""
    model, spy = vizkit.load(name, backend="torch", weights="random:1", dtype="bfloat16"), Spy()
    assert model.layers
    with spy:
        differentiate(model, np.zeros((2, 3, 224, 224), np.float32), [3, "all"])
    convolutions = sum(type(module) is torch.nn.Conv2d for module in model.native.modules())
    assert [kind[:4] for kind in spy.seen] == (
        [(False, torch.bfloat16, torch.bfloat16, True)] * convolutions
        + [(True, torch.bfloat16, torch.bfloat16, True)] * convolutions
    )


def test_top_1_must_be_read(blind: list[str]) -> None:
    model = on_gpu("vgg19")
    differentiate(model, np.zeros((1, 3, 224, 224), np.float32), None)
    assert len(blind) == 3  # the logits, too


LOOPS: dict[str, Any] = {
    "dream": lambda model: vizkit.dream(model, "inception3a", [1, 2], stages=2, steps=8, size=32),
    "render": lambda model: vizkit.render(
        model, objectives.unit("inception3a", [1, 2]) - 0.1 * objectives.diversity("inception3a"), steps=16, rescue=0
    ),
    "deepdream": lambda model: vizkit.deepdream(
        model, np.zeros((64, 64, 3), np.uint8), "inception3a", octaves=1, steps=16, size=64
    ),
}


@pytest.mark.parametrize("which", LOOPS)
def test_loops_read_once_in_eight_steps(blind: list[str], monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """A device would stand still at every reading."""
    whole = TorchOps.value_and_grad

    def value_and_grad(ops: TorchOps, fn: Any, leaves: Any) -> Any:
        blind.append("step")
        return whole(ops, fn, leaves)

    monkeypatch.setattr(TorchOps, "value_and_grad", value_and_grad)
    model = on_gpu("googlenet")
    assert model.layers
    blind.clear()
    LOOPS[which](model)
    story = "".join("s" if one == "step" else "." for one in blind)
    assert story.count("s") == 16
    assert "s" * _trace.AHEAD in story
    assert len(story.strip(".").replace("s", "")) <= 3  # one reading, and in a dream a picture at the end of a stage
