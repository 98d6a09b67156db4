"""The contract between techniques and frameworks, and the registry of backends.

A technique sees a network as a :class:`Model` and computes with its :class:`Ops`. Both hold *native* tensors of the
framework (NCHW; float32, or float64 where asked for); ``+ - * / **`` and slices work on them as they are. Everything
after the loop is NumPy. A new framework is one new package with these three classes and an entry point in the group
``vizkit.backends``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from .errors import BackendMissingError, LayerError, SettingError, ShapeError, VizkitError, unknown

if TYPE_CHECKING:
    from .images import ImageInput
    from .zoo.spec import InputSpec

Tensor = Any
"""A native tensor of some framework."""
Array = npt.NDArray[Any]
Leaves = dict[str, Tensor]
Scores = Callable[[Leaves], tuple[Tensor, Any]]

AS_GIVEN = "as given"
"""The origin of the weights of a user's own network."""
OUTPUT = "output"
"""The name of the network's last result, its logits, in every model."""


@dataclass(frozen=True)
class Layer:
    """One observable activation: its canonical name, the kind of module, and its shape for a batch of one."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """Where a network's parameters came from: ``source`` as the user asked for it, and the file when there was one."""

    source: str
    file: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Prediction:
    """One class of a prediction; ``probability`` is the softmax over all logits, in 0..1."""

    index: int
    label: str
    probability: float
    logit: float


class Ops(ABC):
    """The few functions in which frameworks differ, on one device, in one dtype. Tensors are native, NCHW."""

    device: str
    dtype: str

    @abstractmethod
    def asarray(self, array: npt.ArrayLike) -> Tensor:
        """A native tensor in this model's dtype, on its device; always a copy."""

    @abstractmethod
    def numpy(self, tensor: Tensor) -> Array:
        """A NumPy copy on the host, in the tensor's dtype."""

    @abstractmethod
    def value_and_grad(self, fn: Scores, leaves: Leaves) -> tuple[Tensor, Leaves, Any]:
        """Scores, the gradient of their sum with respect to every leaf, and auxiliary outputs.

        ``fn(leaves) -> (scores, aux)`` with ``scores`` of shape (N,); ``aux`` is a tensor, a tuple, list or dict of
        them, or None, and comes back detached. Leaves are not changed. All gradients come from one backward pass.
        Raises DisconnectedError when the scores do not depend on one of the leaves.
        """

    @abstractmethod
    def detach(self, tensor: Tensor) -> Tensor:
        """The same values, cut from any recorded computation."""

    @abstractmethod
    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the framework failed for want of memory, so that a smaller batch may succeed."""

    @abstractmethod
    def sum(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Sum over the given axes."""

    @abstractmethod
    def mean(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Mean over the given axes."""

    @abstractmethod
    def max(self, x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
        """Largest value over the given axes."""

    @abstractmethod
    def abs(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def exp(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def log(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def sqrt(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def sigmoid(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def relu(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def softmax(self, x: Tensor, axis: int = 1) -> Tensor: ...

    @abstractmethod
    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """``a`` where the condition is not zero, else ``b``; three tensors of one shape."""

    @abstractmethod
    def maximum(self, a: Tensor, b: Tensor | float) -> Tensor: ...

    @abstractmethod
    def minimum(self, a: Tensor, b: Tensor | float) -> Tensor: ...

    @abstractmethod
    def concat(self, tensors: Sequence[Tensor], axis: int = 0) -> Tensor: ...

    @abstractmethod
    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor: ...

    @abstractmethod
    def transpose(self, x: Tensor, axes: tuple[int, ...]) -> Tensor: ...

    @abstractmethod
    def pick(self, x: Tensor, index: Sequence[int]) -> Tensor:
        """``x[i, index[i]]`` for each i: (N, C, ...) and N integers give (N, ...)."""

    @abstractmethod
    def pad(self, x: Tensor, width: int, mode: str = "constant", value: float = 0.0) -> Tensor:
        """Widen height and width of (N, C, H, W) by ``width`` on each side; ``mode`` is "constant" or "reflect"."""

    @abstractmethod
    def conv(self, x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        """Cross-correlation of (N, C, H, W) with weights (O, C / groups, kH, kW)."""

    @abstractmethod
    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix product over the last two axes; leading axes, where both have them, are equal."""

    def resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear with half-pixel centres, without antialiasing: (N, C, H, W) to (N, C, *size).

        Two matrix products with the interpolation's own matrices: exact in both dtypes, differentiable, and the same
        arithmetic in every framework (MXNet's own operator computes its weights in float32 even for float64).
        """
        n, c, height, width = x.shape
        if (height, width) == tuple(size):
            return x
        rows = self.asarray(bilinear_matrix(height, size[0]))
        columns = self.asarray(bilinear_matrix(width, size[1]).T)
        flat = self.matmul(self.reshape(x, (n * c * height, width)), columns)
        flat = self.reshape(flat, (n * c, height, size[1]))
        flat = self.transpose(flat, (1, 0, 2))
        flat = self.matmul(rows, self.reshape(flat, (height, n * c * size[1])))
        return self.reshape(
            self.transpose(self.reshape(flat, (size[0], n * c, size[1])), (1, 0, 2)), (n, c, size[0], size[1])
        )


@lru_cache(maxsize=64)
def bilinear_matrix(source: int, target: int) -> Array:
    """(target, source) float64 matrix of one axis' bilinear interpolation with half-pixel centres, edges repeated."""
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(target), high), at - low)
    matrix.flags.writeable = False
    return matrix


@dataclass(frozen=True)
class Mode:
    """How a forward pass differs from plain inference.

    ``training``: training-mode semantics, i.e. batch norm on the batch's own statistics and dropout with masks drawn
    from this generator in the order in which the dropout layers run (uniform float32, kept where ``u >= p``, scaled by
    ``1 / (1 - p)``). Stored statistics are not updated. ``relu``: the backward rule of every ReLU, ``"guided"``
    (Springenberg et al. 2014) or ``"deconvnet"`` (Zeiler & Fergus 2013); None is the true gradient.
    """

    training: np.random.Generator | None = None
    relu: str | None = None


INFERENCE = Mode()


class Model(ABC):
    """One network in one framework.

    ``name`` its canonical name, ``backend`` the backend's name, ``native`` the framework's own network, ``spec`` what
    it expects as input, ``ops`` the framework's functions on ``device`` in ``dtype``, ``weights`` their origin.
    """

    name: str
    backend: str
    device: str
    dtype: str
    native: Any
    spec: InputSpec
    ops: Ops
    weights: Weights
    versions: dict[str, str]

    _hash: tuple[object, str] | None = None

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """Every observable layer by name, in the order in which they finish; found with one pass, once."""

    @abstractmethod
    def _forward(self, x: Tensor, keep: Sequence[str], add: Mapping[str, Tensor], mode: Mode) -> dict[str, Tensor]:
        """What :meth:`forward` promises, for names that exist."""

    @abstractmethod
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all parameters and stored statistics by canonical name, e.g. ``features.0.weight``."""

    @abstractmethod
    def parameter(self, name: str) -> Array:
        """A float32 copy of one parameter."""

    @abstractmethod
    def _state(self) -> object:
        """Something that differs whenever a parameter has been written since; compared with ``==``."""

    def forward(
        self,
        x: Tensor,
        keep: Sequence[str] = (OUTPUT,),
        add: Mapping[str, Tensor] | None = None,
        mode: Mode = INFERENCE,
    ) -> dict[str, Tensor]:
        """The activations named in ``keep``, by name.

        Stops right after the last one that is needed. ``add={layer: t}`` adds ``t`` to that layer's output before
        anything else reads it; a zero tensor added there, and differentiated, is the gradient at that layer. Works
        inside and outside ``ops.value_and_grad``. Dropout is off and batch norm uses its stored statistics, whatever
        mode the user left the network in, unless ``mode`` says otherwise; the network is as before afterwards.

        Raises UnknownNameError for a layer that does not exist, LayerError for one that runs more than once in a pass
        or never, ShapeError for an input the network cannot take.
        """
        add = {} if add is None else add
        if not keep:
            raise SettingError("forward(keep=()) keeps nothing; name at least one layer, or 'output' for the logits.")
        if len(x.shape) != 4 or x.shape[1] != self.spec.channels:
            raise ShapeError(
                f"{self.name} takes a batch of shape (N, {self.spec.channels}, H, W); got {tuple(x.shape)}. "
                "One image needs a leading axis of 1."
            )
        for name in {*keep, *add}:
            self.check_layer(name)
        return self._forward(x, tuple(keep), add, mode)

    def check_layer(self, name: str) -> None:
        """Raise UnknownNameError, with the nearest names, unless ``name`` is a layer of this network."""
        if name != OUTPUT and name not in self.layers:
            raise unknown(
                f"layer of {self.name}", name, self.layers, f"`vizkit layers {self.name}` lists all {len(self.layers)}."
            )

    def weight(self, layer: str) -> Array:
        """A float32 copy of a layer's weights: (O, I, kH, kW) of a convolution, (O, I) of a dense layer.

        Raises UnknownNameError when the layer does not exist, LayerError when it has no such weights.
        """
        name = f"{layer}.weight"
        if len(self.parameter_shapes().get(name, ())) in (2, 4):
            return self.parameter(name)
        self.check_layer(layer)
        raise LayerError(
            f"Layer {layer!r} of {self.name} has no filters. Layers with filters: {_some(self.filter_layers())}."
        )

    def architecture(self) -> str:
        """The network as its framework prints it."""
        return repr(self.native)

    def filter_layers(self) -> list[str]:
        """Names of the layers with convolution weights, in order."""
        shapes = self.parameter_shapes().items()
        return [name.removesuffix(".weight") for name, shape in shapes if name.endswith(".weight") and len(shape) == 4]

    def sha256(self) -> str:
        """SHA-256 over all parameters by sorted canonical name, as float32: the same weights give the same digest in
        every backend and file format. Computed again only after a parameter was written."""
        state = self._state()
        if self._hash is None or self._hash[0] != state:
            digest = hashlib.sha256()
            for name in sorted(self.parameter_shapes()):
                value = np.ascontiguousarray(self.parameter(name), dtype="<f4")
                digest.update(f"{name}:{value.shape}:".encode())
                digest.update(value.tobytes())
            self._hash = (state, digest.hexdigest())
        return self._hash[1]

    def logits(self, image: ImageInput, *, fit: str = "crop") -> Array:
        """Logits (N, classes), in the model's dtype, of an image or a list of images."""
        from . import images

        batch = images.prepare(image, self.spec, fit=fit)
        return self.ops.numpy(self.forward(self.ops.asarray(batch.tensor))[OUTPUT])

    def predict(self, image: ImageInput, top: int = 5, *, fit: str = "crop") -> list[Any]:
        """The ``top`` most probable classes: a list of :class:`Prediction` for one image, a list of such lists for a
        list of images.

        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_0", weights="random:7")  # doctest: +SKIP
        >>> model.predict("photo.jpg")[0].label                        # doctest: +SKIP
        """
        logits = self.logits(image, fit=fit).astype(np.float64)
        if logits.ndim != 2:
            raise ShapeError(f"{self.name} gives an output of shape {logits.shape}; a prediction needs (N, classes).")
        if top < 1:
            raise SettingError(f"top={top}: ask for at least one class.")
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = shifted / shifted.sum(axis=1, keepdims=True)
        rows = [
            [
                Prediction(int(i), self.spec.label(int(i)), float(probability[row, i]), float(logits[row, i]))
                for i in np.argsort(-logits[row], kind="stable")[:top]
            ]
            for row in range(len(logits))
        ]
        return rows if isinstance(image, list | tuple) else rows[0]

    def __repr__(self) -> str:
        return (
            f"<vizkit model {self.name} in {self.backend} on {self.device}, {self.dtype}, "
            f"weights {self.weights.source}>"
        )


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown + (f", … ({len(names)} in all)" if len(names) > most else "")


@dataclass(frozen=True)
class BackendInfo:
    """What :func:`vizkit.backends` tells of one backend."""

    name: str
    framework: str
    installed: bool
    versions: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    install: str = ""


class Backend(ABC):
    """A framework. The class is importable without it; its methods import the framework when called."""

    name: ClassVar[str]
    framework: ClassVar[str]
    """The framework's top-level module: a network belongs to the backend whose framework its classes come from."""
    requires: ClassVar[tuple[str, ...]]
    """Modules that must be importable."""
    install: ClassVar[str]
    """The command that installs what is missing."""

    @classmethod
    def installed(cls) -> bool:
        """Whether everything it needs can be imported, without importing it."""
        return all(importlib.util.find_spec(module) is not None for module in cls.requires)

    @abstractmethod
    def start(self, threads: int | None) -> None:
        """Import the framework; ``threads`` is the number the user asked for, None when nobody did."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the framework's packages."""

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Devices present, "cpu" first."""

    @abstractmethod
    def threads(self) -> int:
        """Threads that one operator may use on the CPU."""

    @abstractmethod
    def set_threads(self, count: int) -> None:
        """Let one operator use so many threads."""

    @abstractmethod
    def models(self) -> list[str]:
        """Names that :meth:`load` takes."""

    @abstractmethod
    def load(self, name: str, weights: str, device: str, dtype: str) -> Model:
        """See :func:`vizkit.load`."""

    @abstractmethod
    def wrap(self, native: Any, spec: InputSpec, name: str) -> Model:
        """See :func:`vizkit.wrap`."""


_started: dict[str, Backend] = {}
_wanted_threads: list[int] = []


def registered() -> dict[str, type[Backend]]:
    """Backend classes by name, from the entry points of installed packages; no framework is imported."""
    found = {}
    for entry in sorted(entry_points(group="vizkit.backends"), key=lambda entry: entry.name):
        found[entry.name] = entry.load()
    return found


def get(name: str | None = None) -> Backend:
    """A started backend. ``None`` takes the one installed; with several, PyTorch before the rest by name order.

    Raises UnknownNameError for a name nobody registered, BackendMissingError when its framework is not installed.
    """
    known = registered()
    if name is None:
        installed = [key for key, backend in known.items() if backend.installed()]
        if not installed:
            lines = "\n  ".join(f"{backend.install}   # {key}" for key, backend in known.items())
            raise BackendMissingError(f"No backend is installed. Install one:\n  {lines}")
        name = sorted(installed, reverse=True)[0]
    if name not in known:
        raise unknown("backend", name, known)
    if name not in _started:
        if not known[name].installed():
            missing = [module for module in known[name].requires if importlib.util.find_spec(module) is None]
            raise BackendMissingError(
                f"The backend {name!r} needs {' and '.join(missing)}, which this Python does not have. "
                f"Install it with: {known[name].install}"
            )
        _start(known[name]())
    return _started[name]


def _start(backend: Backend) -> None:
    """Import a framework without disturbing those already there: importing MXNet takes PyTorch down to one thread."""
    others = [
        known() for known in registered().values() if known.framework in sys.modules and known.name != backend.name
    ]
    threads = [other.threads() for other in others]
    fresh = backend.framework not in sys.modules
    wanted = _wanted_threads[-1] if _wanted_threads else None
    try:
        backend.start(wanted)
    except VizkitError:
        raise
    except Exception as error:
        raise BackendMissingError(
            f"{backend.framework} is installed but cannot be imported: {type(error).__name__}: {error}. "
            f"Reinstall it with: {backend.install}"
        ) from error
    for other, count in zip(others, threads, strict=True):
        other.set_threads(count)
    if fresh and others and wanted is None and backend.threads() == 1 and "OMP_NUM_THREADS" not in os.environ:
        backend.set_threads(cpu_count())
    _started[backend.name] = backend


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def owner(native: object) -> Backend:
    """The backend to which a user's network belongs, by the module its classes come from."""
    roots = {cls.__module__.split(".")[0] for cls in type(native).__mro__}
    known = registered()
    for name, backend in known.items():
        if backend.framework in roots:
            return get(name)
    raise SettingError(
        f"vizkit.wrap got a {type(native).__module__}.{type(native).__name__}, which belongs to no installed backend. "
        f"Expected a network of {' or '.join(backend.framework for backend in known.values())}."
    )


def set_threads(count: int) -> None:
    """Let one operator use so many threads, in every framework that this process has started or will start."""
    if count < 1:
        raise SettingError(f"threads={count}: give a number of at least 1.")
    _wanted_threads[:] = [count]
    for backend in _started.values():
        backend.set_threads(count)


def describe() -> list[BackendInfo]:
    """Every registered backend: installed or not, versions, devices, and the line that installs it."""
    out = []
    for name, known in registered().items():
        info = BackendInfo(name, known.framework, known.installed(), install=known.install)
        if info.installed:
            backend = get(name)
            info = BackendInfo(name, known.framework, True, backend.versions(), backend.devices(), known.install)
        out.append(info)
    return out
