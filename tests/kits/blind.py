"""A GPU without values: PyTorch's code path for one, followed on the meta device. What is asked of the device is noted;
what it answers is all ones."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from vizkit.backend import Weights
from vizkit.zoo.catalog import imagenet_spec
from vizkit.zoo.spec import InputSpec
from vizkit_torch.model import TorchModel
from vizkit_torch.ops import TorchOps
from vizkit_torch.record import Recorder
from vizkit_torch.watch import Watch

from . import TRAPS, TRAPS_SIZE
from .torch import KIT

UPLOAD, READ, FORWARD, GRADIENT = "upload", "read", "forward", "gradient"


def quicker() -> torch.library.Library | None:
    """PyTorch finds the shapes of tensors without values in Python, and knows them in C++, too, many times as fast;
    here it keeps Python where there is nothing else. A PyTorch that is built otherwise is left as it is."""
    meta: Any = torch._meta_registrations
    python = getattr(meta, "_meta_lib_dont_use_me_use_register_meta", None)
    if python is None:
        return None
    names, made, key = set(python._op_impls), torch.library.Library("aten", "IMPL", "Meta"), torch._C.DispatchKey.Meta
    python._destroy()
    tables: Any = torch._decomp.global_decomposition_table
    for function in {one for table in tables.values() for one in table if isinstance(one, torch._ops.OpOverload)}:
        name = function.name()
        compiled = (torch._C._dispatch_has_kernel_for_dispatch_key(name, one) for one in ("Meta", COMPILED))
        if f"aten/{name.partition('::')[2]}/Meta" in names and ("convolution" in name or not any(compiled)):
            made.impl(function, function.py_kernels[key])
    return made


COMPILED = "CompositeExplicitAutograd"
"""The key of what is computed alike for all devices; of convolutions that is an error."""
KEPT = quicker()


@dataclass
class Device:
    """What it was asked for, in order: uploads, readings, passes forward, and gradients."""

    story: list[str] = field(default_factory=list)
    recordings: dict[Hashable, Recording] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()

    def count(self, what: str) -> int:
        return self.story.count(what)

    def step(self, _recorder: Recorder, step: Any, key: Hashable) -> Any:
        """In place of :meth:`Recorder.step`."""
        own = next(self._numbers) if key is None else None

        def call(given: dict[str, Any]) -> dict[str, Any]:
            shapes = () if key is None else tuple((name, tuple(one.shape)) for name, one in given.items())
            known = self.recordings.setdefault((own, key, shapes), Recording(self))
            return known(step, given)

        return call


@dataclass
class Recording:
    """In place of a CUDA graph: the step itself, and what a graph could not have done."""

    device: Device
    calls: int = 0
    form: Any = None

    def __call__(self, step: Any, given: dict[str, Any]) -> dict[str, Any]:
        start, before = len(self.device.story), {name: (one, one._version) for name, one in given.items()}
        made: dict[str, Any] = step(dict(given))
        crossed = [one for one in self.device.story[start:] if one in (UPLOAD, READ)]
        assert self.calls == 0 or not crossed, "a recorded step brought something to the device, or read from it"
        for name, (one, version) in before.items():
            assert given[name] is one, "a recorded step must leave what it was given"
            assert one._version == version, "a recorded step must not write what it was given"
        form = [{name: (tuple(one.shape), one.dtype) for name, one in some.items()} for some in (given, made)]
        assert self.form in (None, form), "a recorded step takes and gives the same shapes each time"
        self.form = form
        self.calls += 1
        return made


def install(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Whether a weight was written cannot be seen on that device, so nothing was."""
    device = Device()
    forward, gradient = TorchModel._forward, TorchOps.value_and_grad

    def upload(_ops: TorchOps, given: Any, dtype: torch.dtype) -> torch.Tensor:
        device.story.append(UPLOAD)
        return torch.empty(given.shape, dtype=dtype, device="meta")

    def numpy(_ops: TorchOps, tensor: torch.Tensor) -> Any:
        assert tensor.device.type == "meta"
        device.story.append(READ)
        return torch.ones(tensor.shape, dtype=tensor.dtype).numpy()

    def value_and_grad(ops: TorchOps, fn: Any, leaves: Any) -> Any:
        device.story.append(GRADIENT)
        return gradient(ops, fn, leaves)

    def passed(model: TorchModel, *arguments: Any) -> Any:
        device.story.append(FORWARD)
        return forward(model, *arguments)

    def zeros(ops: TorchOps, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(shape, dtype=ops._dtype, device="meta")

    monkeypatch.setattr(TorchOps, "numpy", numpy)
    monkeypatch.setattr(TorchOps, "_upload", upload)
    monkeypatch.setattr(TorchOps, "zeros", zeros)
    monkeypatch.setattr(TorchOps, "memory", lambda _: 1 << 40)
    monkeypatch.setattr(TorchOps, "value_and_grad", value_and_grad)
    monkeypatch.setattr(TorchModel, "_forward", passed)
    monkeypatch.setattr("vizkit_torch.model.generators", lambda *_: [])
    monkeypatch.setattr(Watch, "state", lambda _, tensors: len(tensors))
    monkeypatch.setattr(Recorder, "step", lambda recorder, step, key: device.step(recorder, step, key))
    return device


def on_gpu(name: str, dtype: str = "float32") -> TorchModel:
    """One of torchvision's networks, that takes itself to be on a GPU."""
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    if name.startswith("regnet"):  # whose widths are computed with tensors
        with pytest.MonkeyPatch.context() as patch:
            for one in ("kaiming_uniform_", "uniform_", "normal_", "ones_", "zeros_"):
                patch.setattr(torch.nn.init, one, lambda tensor, *_, **__: tensor)
            native = torchvision.models.get_model(name, weights=None).to("meta")
    else:
        with torch.device("meta"):
            native = torchvision.models.get_model(name, weights=None, **options)
    return _model(native, imagenet_spec(), name, dtype)


def small_on_gpu() -> TorchModel:
    """The suite's own network there."""
    spec = InputSpec((TRAPS_SIZE, TRAPS_SIZE), TRAPS_SIZE, (0.5,) * 3, (0.25,) * 3)
    return _model(KIT.sequential(TRAPS, dtype="float32").to("meta"), spec, "traps", "float32")


def _model(native: torch.nn.Module, spec: InputSpec, name: str, dtype: str) -> TorchModel:
    model = TorchModel(native, spec, name=name, weights=Weights("random:0"), device="cuda:0", dtype=dtype)
    model._hash = (model._state(), "0" * 64)
    assert model.layers
    return model


def photos(count: int, side: int = TRAPS_SIZE) -> list[Any]:
    """Of the suite's own network's size."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]
