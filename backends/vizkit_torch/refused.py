"""What PyTorch's errors mean, in the words of the contract."""

from __future__ import annotations

from vizkit.contract.errors import SettingError, ShapeError
from vizkit.contract.model import Model, wrong_size

from .ops import HELD

TYPE_WORDS = ("dtype", "scalar type", "Input type")
SHAPE_WORDS = ("shape", "size", "dimension", "channels")
BY_PASSES = (RuntimeError, AssertionError, ValueError)
"""By which a pass fails on an input that the network does not take; also those that refuse a picture of another size
than their own, in words of their own."""


def of_probe(model: Model, error: Exception) -> Exception | None:
    """What a pass over a blank picture failed by; None where the error speaks for itself."""
    return wrong_size(model, _said(error)) if _of_shape(error) else _of_types(model, error)


def of_pass(model: Model, shape: tuple[int, ...], error: Exception) -> Exception | None:
    """What a pass over an input of the shape failed by; None where the error speaks for itself."""
    other = shape[2:] != model.spec.size and type(error) in BY_PASSES
    if other or _of_shape(error):
        return ShapeError(f"{model.name} cannot take an input of shape {shape}: {_said(error)}")
    return _of_types(model, error)


def _of_shape(error: Exception) -> bool:
    """Whether this is PyTorch's way of saying that an input has the wrong shape; an exported network asserts it."""
    return type(error) in (RuntimeError, AssertionError) and any(word in str(error) for word in SHAPE_WORDS)


def _said(error: Exception) -> str:
    if "Guard failed" not in str(error):
        return str(error)
    return (
        f"{error}. An exported network takes the shapes that it was exported with: export it with "
        "dynamic_shapes=({0: torch.export.Dim('batch')},) so that it takes any number of pictures, or with one picture "
        "and ask for batch_size=1."
    )


def _of_types(model: Model, error: Exception) -> SettingError | None:
    """Whether the network has parameters of several types, or of another than when it was wrapped, or itself turns
    what it reads into the type of which a copy is read."""
    wanted = HELD.get(model.dtype, model.dtype)
    now = {str(one.dtype).removeprefix("torch.") for one in model.native.parameters() if one.is_floating_point()}
    if wanted in now and len(now) > 1:
        return SettingError(
            f"{model.name} has parameters of {' and '.join(sorted(now))}, which do not fit each other. Convert it "
            "to one type, with .float() or .double(), and wrap it again."
        )
    if wanted not in now:
        return SettingError(
            f"{model.name} has parameters of {' and '.join(sorted(now))}; when it was wrapped they were {wanted}. "
            "Convert it before vizkit.wrap, or wrap it again."
        )
    if model.weights.note and any(word in str(error) for word in TYPE_WORDS):
        return SettingError(
            f"{model.name} is read as {model.weights.note}, and turns what it reads into another type itself: "
            f"{error}. Let it take the type of its parameters, x.to(self.conv.weight.dtype), or wrap a float32 "
            "network."
        )
    return None
