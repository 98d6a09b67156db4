"""Loading and wrapping networks: what a user calls first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..contract import backend as contract
from ..contract.backend import BackendInfo, Call, Model
from ..contract.errors import SettingError, one_of
from ..contract.grid import Grid, laid_out
from ..contract.spec import InputSpec, imagenet_labels, make_spec
from ..inputs.outputs import Dense

DTYPES = ("float32", "float64", "bfloat16", "tf32")


def load(
    name: str,
    *,
    backend: str | None = None,
    weights: str = "imagenet",
    device: str = "cpu",
    dtype: str = "float32",
    optimise: bool = True,
    labels: Sequence[str] | str | None = None,
) -> Model:
    """A network by name.

    ``name``: one of :func:`models`, or in PyTorch ``timm/NAME`` where timm is installed. ``backend``: "torch" or
    "gluon"; None takes an installed one, PyTorch first.
    ``weights``: "imagenet" (the framework's own store, cached; Gluon falls back to torchvision's), "torchvision" or
    "gluon" (that store, converted where it is the other framework's), "random:SEED" (drawn in NumPy, the same in every
    backend) or a file (``.safetensors``, ``.pth``, ``.params``), of which the number of classes is taken, and a
    checkpoint's state without ``module.`` and the like before its names. ``device``: "cpu", "cuda" or "cuda:1".
    ``labels``: names of the outputs in order, a file with one a line, or JSON; None takes ImageNet's where there are a
    thousand.

    ``dtype``: "float32"; "float64" for proofs; or, in PyTorch, "bfloat16" or, on a GPU, "tf32" for speed. Then the
    network computes with 8 or 11 significant bits in place of 24, while images, gradients and results stay float32. In
    bfloat16 activations are off by some 0.5 %, gradients with respect to the image by a fifth and more (the docs have
    figures by technique); in TF32, which other toolkits use without a word, some maps are off by a tenth. Training
    mode, which only reproduces published mistakes, stays float32.

    ``optimise``: prepare the network, without loss, at its first pass: batch norm folded into the convolution before it
    (in float64), which takes the memory of those convolutions' weights once more. Layers that folding would hide,
    training mode and the model's ``native`` are as without it. ``model.optimise`` changes it later.

    Raises UnknownNameError, BackendMissingError, DeviceError, WeightsError or SettingError.

    >>> import vizkit
    >>> model = vizkit.load("resnet18", weights="random:7")
    >>> model.layers["layer4"].shape
    (1, 512, 7, 7)
    """
    found = contract.get(backend)
    _check_dtype(found, dtype)
    named = _names(labels)
    model = found.load(name, str(weights), device, dtype)
    model.optimise = optimise
    model.recipe = Loaded(name, found.name, str(weights), device, dtype)
    model.named = name
    if named is not None:
        model.spec = replace(model.spec, labels=named)
        _check_labels(model)
    return model


def _check_dtype(backend: contract.Backend, dtype: str) -> None:
    one_of("dtype", dtype, DTYPES)
    if dtype not in backend.dtypes:
        able = " or ".join(name for name, one in contract.registered().items() if dtype in one.dtypes)
        raise SettingError(
            f"dtype={dtype!r}: the backend {backend.name!r} computes in {' or '.join(backend.dtypes)}. "
            f"Take one of these, or backend={able!r}."
        )


def wrap(
    native: Any,
    *,
    input_size: int | tuple[int, ...],
    mean: Sequence[float],
    std: Sequence[float],
    labels: Sequence[str] | str | None = None,
    name: str | None = None,
    dtype: str | None = None,
    optimise: bool = True,
    inputs: Sequence[Any] | Mapping[str, Any] = (),
    output: int | str | Callable[[Any], Any] | None = None,
    layout: Mapping[str, str | Grid] | None = None,
    resize: int | None = None,
) -> Model:
    """The user's own network: a torch ``Module``, compiled or not, or a Gluon ``HybridBlock``, hybridised or not.

    It is read where it lies: its parameters are not copied, so later training shows, unless they are float16 or
    bfloat16, of which a float32 copy is read. Whatever mode it is in, techniques see inference semantics, and it is
    left as it was. ``input_size``: one side in pixels or (height, width); (samples,)
    of a network on signals (N, C, T), (depth, height, width) of one on volumes (N, C, D, H, W). ``mean``/``std``: per
    channel, of pixels divided by 255: three for RGB, one for gray, any number for others. ``labels``: names of the
    outputs, in order, one for each, a file of them as :func:`load` has it, or "imagenet"; ``name``: None is its
    class's. ``resize``: what a photo's shorter side becomes before its centre is cut out; None: 256/224 of the
    network's, but a picture that has the network's size already is taken as it is. Layers go by the framework's
    structural paths; TorchScript shows none, and no ReLU.

    ``inputs``: what the network gets beside the picture, by position, or by name in a dictionary: an array with a
    leading axis of 1 is repeated for each picture, anything else is handed on as it is. ``output``: which of several
    results is explained, an index, a key, or a function of all that the network returns; None takes the only tensor, or
    a field "logits" or "out". Of a segmentation (N, C, H, W) and of torchvision's detectors a place, a mask or a box
    can be a target, see :mod:`vizkit.targets`. ``layout``: how layers cover the picture, where their shapes do not
    tell: ``{"stage3": "NHWC"}``, "NCHW", "NTC" for tokens, or a :class:`vizkit.grid.Grid`.

    ``dtype``: None is that of its parameters; "bfloat16"
    computes a float32 network in it, as :func:`load` has it. ``optimise``: as :func:`load` has it; what is prepared
    follows the parameters that are written later, at a cost, so turn it off between steps of a training.

    Raises SettingError for something that is no network, or that cannot be observed, and for labels that do not fit.
    """
    if resize is not None and not (isinstance(resize, int) and resize > 0):
        raise SettingError(f"resize={resize!r}: expected a number of pixels, at least the network's shorter side.")
    spec = make_spec(input_size, mean, std, _names(labels), resize or 0)
    backend = contract.owner(native)
    if dtype is not None:
        _check_dtype(backend, dtype)
    call = Call(dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs), output)
    model = backend.wrap(native, spec, name, dtype, call)
    model.optimise = optimise
    model.recipe = Wrapped(native, spec, name, dtype, call)
    if layout:
        model.layout = laid_out(layout, {name: model.layer(name) for name in layout}, spec.shape[1:])
    _check_labels(model)
    return model


@dataclass(frozen=True)
class Loaded:
    """The recipe of a network by name; its labels and the like are those of the model that is sent with it."""

    name: str
    backend: str
    weights: str
    device: str
    dtype: str

    def __call__(self, device: str | None) -> Model:
        where = self.device if device is None else device
        return load(self.name, backend=self.backend, weights=self.weights, device=where, dtype=self.dtype)


@dataclass(frozen=True)
class Wrapped:
    """The recipe of the user's own network, which is sent as it is; it comes to the device on which it lies."""

    native: Any
    spec: InputSpec
    name: str | None
    dtype: str | None
    call: Call

    def __call__(self, device: str | None) -> Model:
        return contract.owner(self.native).wrap(self.native, self.spec, self.name, self.dtype, self.call)


def _check_labels(model: Model) -> None:
    labels = model.spec.labels
    if labels is not None and Dense.of(model).classes != len(labels):
        raise SettingError(
            f"{len(labels)} labels for the {Dense.of(model).classes} outputs of {model.name}: give one for each, in "
            "order, or none."
        )


def _names(labels: Sequence[str] | str | os.PathLike[str] | None) -> tuple[str, ...] | None:
    """Labels as they were given; "imagenet" stands for the thousand classes of ILSVRC 2012, a path for what is in the
    file: a name a line, a JSON list, or a JSON object of names by index."""
    if labels == "imagenet":
        return imagenet_labels()
    if not isinstance(labels, str | os.PathLike):
        return None if labels is None else tuple(labels)
    path = Path(labels)
    if not path.is_file():
        raise SettingError(
            f"labels={str(labels)!r}: there is no such file. Give a list of names, one for each output, a file with "
            "one a line, or 'imagenet'."
        )
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            found = [found[key] for key in sorted(found, key=int)]
        return tuple(one if isinstance(one, str) else str(one[-1]) for one in found)
    except (ValueError, TypeError, LookupError) as error:
        raise SettingError(f"labels={str(labels)!r}: expected a JSON list or an object by index ({error}).") from None


def backends() -> list[BackendInfo]:
    """Every registered backend: whether it is installed, its versions and devices, and what installs it."""
    return contract.describe()


def models(backend: str | None = None) -> list[str]:
    """Names that :func:`load` takes in a backend: the canonical ones, then the framework's own."""
    return contract.find(backend).models()


def set_threads(count: int) -> None:
    """Let one operator use so many threads on the CPU, in every framework from now on.

    MXNet fixes its number when it starts, so call this before the first Gluon network is loaded.
    """
    contract.set_threads(count)
