"""How a PyTorch network is called, and which of its results is the output."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from vizkit.contract.backend import Call
from vizkit.contract.choice import Choice
from vizkit.contract.errors import SettingError

from .ops import DTYPES, TorchOps


class Caller:
    """A network with its further inputs and its choice of a result: native pictures in, one tensor (N, ...) out."""

    def __init__(self, native: nn.Module, call: Call, ops: TorchOps) -> None:
        self.native = native
        self.call = call
        named = isinstance(call.inputs, Mapping)
        self._named = {name: _native(one, ops) for name, one in dict(call.inputs).items()} if named else {}
        self._more = () if named else tuple(_native(one, ops) for one in call.inputs)
        self.classes = classes_of(native) if detects(native) else 0
        """Of a detector of torchvision's; of other networks 0."""
        _check(native, self._more, self._named)

    def of(self, native: nn.Module) -> Caller:
        """The same for a copy of the network."""
        other = object.__new__(Caller)
        other.__dict__.update(self.__dict__, native=native)
        return other

    def run(self, x: torch.Tensor) -> Any:
        """All that the network returns."""
        if self.classes:  # which take a list of pictures, and normalise them themselves
            return self.native(list(x))
        if not self._more and not self._named:
            return self.native(x)
        fit = partial(_repeated, count=len(x))
        return self.native(x, *map(fit, self._more), **{name: fit(one) for name, one in self._named.items()})

    def output(self, result: Any, name: str) -> torch.Tensor:
        """The tensor that counts, at least (N, outputs)."""
        choose = partial(boxes, classes=self.classes) if self.classes else None
        found: torch.Tensor = CHOICE.output(result, self.call, name, choose)
        if found.is_complex():
            raise SettingError(
                f"{name} returns complex numbers of shape {tuple(found.shape)}, and none of them is the larger one. "
                "Say what of them counts: vizkit.wrap(..., output=lambda result: result.abs())."
            )
        return found.unsqueeze(1) if found.ndim == 1 else found


def detects(network: Any) -> bool:
    """Whether a network is one of torchvision's detectors, of boxes, masks or key points."""
    if "torchvision.models.detection" not in sys.modules:  # then nobody can have made one
        return False
    from torchvision.models import detection

    return isinstance(network, (detection.FasterRCNN, detection.RetinaNet, detection.FCOS, detection.ssd.SSD))


def classes_of(detector: Any) -> int:
    """How many classes a detector of torchvision's tells apart, the background among them."""
    from torchvision.models import detection

    if isinstance(detector, detection.FasterRCNN):
        return int(detector.roi_heads.box_predictor.cls_score.out_features)
    head = detector.head.classification_head
    return int(head.num_columns if isinstance(detector, detection.ssd.SSD) else head.num_classes)


def boxes(results: list[dict[str, torch.Tensor]], classes: int) -> torch.Tensor:
    """What a detector finds in each picture as one tensor (N, boxes, 4 + classes), as long as the longest list."""
    most = max(1, *(len(one["scores"]) for one in results))
    rows = []
    for one in results:
        marks = nn.functional.one_hot(one["labels"], classes).to(one["scores"].dtype)
        row = torch.cat([one["boxes"], one["scores"][:, None] * marks], 1)
        rows.append(nn.functional.pad(row, (0, 0, 0, most - len(row))))
    return torch.stack(rows)


def _check(native: nn.Module, more: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """SettingError for a network that takes other inputs than it is given."""
    try:
        signature = inspect.signature(native.forward)
    except (TypeError, ValueError):  # of what is not written in Python
        return
    try:
        signature.bind(None, *more, **named)
    except TypeError as error:
        raise SettingError(
            f"{type(native).__name__}.forward{signature} does not take a picture and {len(more) + len(named)} further "
            f"inputs: {error}. Give them with vizkit.wrap(..., inputs=[...]) or inputs={{name: ...}}."
        ) from None


def _native(value: Any, ops: TorchOps) -> Any:
    """A further input as the network takes it: an array of numbers with a point in its dtype, whole ones as they are,
    and whatever else it is."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value))
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().to(ops.device)
    return value.to(DTYPES[ops.dtype]) if value.is_floating_point() else value


def _repeated(value: Any, count: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim > 0 and len(value) == 1 and count != 1:
        return value.expand(count, *value.shape[1:])
    return value


def _kind(value: Any) -> str:
    return f"tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


CHOICE = Choice(
    single=lambda value: isinstance(value, torch.Tensor) and value.ndim > 0,
    kind=_kind,
    parts=lambda result: list(result) if isinstance(result, list | tuple) else [],
    article="a ",
    hint="",
    wanted="a tensor",
)
