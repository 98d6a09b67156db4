"""The contract between techniques and frameworks, and the registry of backends.

A technique sees a network as a :class:`Model` and computes with its :class:`Ops`. Both hold *native* tensors of the
framework (NCHW; float32, or float64 where asked for); ``+ - * / **`` and slices work on them as they are. Everything
after the loop is NumPy. A new framework is one new package with a :class:`Backend` and these two classes, and an entry
point in the group ``vizkit.backends``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import BackendMissingError, SettingError, VizkitError, check_known, unknown
from .model import Model
from .ops import Array, Leaves, Ops, Scores, Step, Tensor, bilinear_matrix
from .rules import Evaluated, Rule, Rules
from .terms import AS_GIVEN, INFERENCE, OUTPUT, PLAIN, Call, Layer, Mode, Prediction, Term, Weights, term_of

if TYPE_CHECKING:
    from .probes import Case, Probe
    from .spec import InputSpec

__all__ = [
    "AS_GIVEN",
    "INFERENCE",
    "OUTPUT",
    "PLAIN",
    "Array",
    "Backend",
    "BackendInfo",
    "Call",
    "Evaluated",
    "Layer",
    "Leaves",
    "Mode",
    "Model",
    "Ops",
    "Prediction",
    "Rule",
    "Rules",
    "Scores",
    "Step",
    "Tensor",
    "Term",
    "Weights",
    "bilinear_matrix",
    "cpu_count",
    "describe",
    "get",
    "owner",
    "registered",
    "set_threads",
    "term_of",
    "wanted_threads",
]


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
    """A framework. The class is importable without it; its methods import the framework when called.

    What is abstract is required, here and in :class:`Model` and :class:`Ops`. The rest is optional: it works as it is,
    or raises SettingError, which tells users that the backend goes without.
    """

    name: ClassVar[str]
    framework: ClassVar[str]
    """The framework's top-level module: a network belongs to the backend whose framework its classes come from."""
    requires: ClassVar[tuple[str, ...]]
    """Modules that must be importable."""
    install: ClassVar[str]
    """The command that installs what is missing."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")
    """What its networks can compute in."""

    @classmethod
    def installed(cls) -> bool:
        """Whether everything it needs can be imported, without importing it."""
        return all(importlib.util.find_spec(module) is not None for module in cls.requires)

    def start(self, threads: int | None) -> None:
        """Import the framework; ``threads`` is the number the user asked for, None when nobody did."""
        importlib.import_module(self.framework)
        if threads is not None:
            self.set_threads(threads)

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the framework's packages; needs no :meth:`start`, and should import nothing."""

    def devices(self) -> tuple[str, ...]:
        """Devices present, "cpu" first; needs no :meth:`start`."""
        return ("cpu",)

    def threads(self) -> int:
        """Threads that one operator may use on the CPU; 1 where nobody can tell."""
        return 1

    def set_threads(self, count: int) -> None:
        """Let one operator use so many threads, where the framework can be told."""
        return

    def models(self) -> list[str]:
        """Names that :meth:`load` takes; needs no :meth:`start`, and should import nothing. None where a backend brings
        no networks, for which :func:`vizkit.wrap` is left."""
        return []

    def load(self, name: str, weights: str, device: str, dtype: str) -> Model:
        """See :func:`vizkit.load`. Raises UnknownNameError for a name that is not among :meth:`models`."""
        raise unknown("model", name, self.models(), f"The backend {self.name!r} brings none; see vizkit.wrap.")

    @abstractmethod
    def wrap(
        self, native: Any, spec: InputSpec, name: str | None, dtype: str | None = None, call: Call = PLAIN
    ) -> Model:
        """See :func:`vizkit.wrap`; ``dtype`` is None or one of :attr:`dtypes`.

        Raises SettingError for a dtype that needs other parameters than the network has, and for a call that the
        backend cannot make: every one but :data:`PLAIN` is optional.
        """

    def probe(self, case: Case, device: str, dtype: str) -> Probe:
        """A small network for :func:`vizkit.doctor`, and the framework's own ways to its gradient; the kinds of parts
        are those of :class:`vizkit.contract.probes.Part`.

        Raises SettingError in a backend that brings none.
        """
        raise SettingError(f"The backend {self.name!r} brings no probes, so its gradients cannot be examined.")


_started: dict[str, Backend] = {}
_wanted_threads: list[int] = []
PREFERRED = "torch"
"""The backend that is taken where several are installed and none is named."""


def announce() -> None:
    """Import the packages of all registered backends, not their frameworks: one may have to prepare its framework's
    import, which a user may call before vizkit does."""
    for entry in entry_points(group="vizkit.backends"):
        with suppress(ImportError):  # which :func:`registered` tells, once it is asked for
            importlib.import_module(entry.module)


@lru_cache(maxsize=1)
def _entries(_places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Of the group, by name. Reading them takes as long as hundreds of packages are installed, and every network asks:
    they are read again where a place of packages is another or has changed."""
    return tuple(sorted(entry_points(group="vizkit.backends"), key=lambda entry: entry.name))


def registered() -> dict[str, type[Backend]]:
    """Backend classes by name, from the entry points of installed packages; no framework is imported."""
    places = tuple((place, os.stat(place).st_mtime_ns if os.path.exists(place) else 0) for place in sys.path)
    return {entry.name: entry.load() for entry in _entries(places)}


def find(name: str | None = None) -> Backend:
    """A backend by name, not started; for None as :func:`get` chooses.

    Raises as :func:`get`.
    """
    known = registered()
    if name is None:
        installed = [key for key, backend in known.items() if backend.installed()]
        if not installed:
            lines = "\n  ".join(backend.install for backend in known.values())
            raise BackendMissingError(f"No backend is installed. Install one:\n  {lines}")
        name = PREFERRED if PREFERRED in installed else installed[0]
    check_known("backend", name, known)
    if name in _started:
        return _started[name]
    if not known[name].installed():
        missing = [module for module in known[name].requires if importlib.util.find_spec(module) is None]
        raise BackendMissingError(
            f"The backend {name!r} needs {' and '.join(missing)}, which this Python does not have. "
            f"Install it with: {known[name].install}"
        )
    return known[name]()


def get(name: str | None = None) -> Backend:
    """A started backend. ``None`` takes the one installed; of several PyTorch, else the first of the alphabet.

    Raises UnknownNameError for a name nobody registered, BackendMissingError when its framework is not installed.
    """
    backend = find(name)
    if backend.name not in _started:
        _start(backend)
    return _started[backend.name]


def _start(backend: Backend) -> None:
    """Import a framework without disturbing those already there: importing MXNet takes PyTorch down to one thread."""
    others = [
        known() for known in registered().values() if known.framework in sys.modules and known.name != backend.name
    ]
    threads = [other.threads() for other in others]
    fresh = backend.framework not in sys.modules
    wanted = wanted_threads()
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


def gpu_driver() -> bool:
    """Whether this machine may have a GPU: on Linux, whether a driver shows one. Without, no framework sees any, and
    none needs to be imported to be asked."""
    shown = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
    return sys.platform != "linux" or any(map(os.path.exists, shown))


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
    if isinstance(native, type):
        raise SettingError(
            f"vizkit.wrap got the class {native.__name__} itself. Give an instance, a network that was built: "
            f"{native.__name__}()."
        )
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


def wanted_threads() -> int | None:
    """What :func:`set_threads` was last told, None where nobody has."""
    return _wanted_threads[-1] if _wanted_threads else None


def describe() -> list[BackendInfo]:
    """Every registered backend: installed or not, versions, devices, and the line that installs it."""
    out = []
    for name, known in registered().items():
        there = known() if known.installed() else None
        told = ({}, ()) if there is None else (there.versions(), there.devices())
        out.append(BackendInfo(name, known.framework, there is not None, *told, known.install))
    return out
