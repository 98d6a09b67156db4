"""vizkit: CNN visualisation, written once and proved equal on MXNet Gluon and PyTorch."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import evaluate
from . import techniques as _techniques
from .contract import errors
from .contract.backend import announce as _announce
from .contract.edits import Edit, edited
from .contract.errors import VizkitError
from .explore.run import explore
from .inputs import folders, images, targets
from .reports.compare import compare
from .reports.doctor import doctor
from .reports.explain import explain
from .results.base import drawn_by as _drawn_by
from .support import version as _version
from .support.addresses import ADDRESSES as _ADDRESSES
from .support.addresses import keep as _keep_addresses
from .support.memory import keep_memory
from .techniques import *  # noqa: F403
from .techniques.dreams import objectives, parametrisations, regularisers, transforms
from .zoo.loading import backends, load, models, set_threads, wrap

__version__ = _version.VERSION

_announce()
_drawn_by("vizkit.draw")
_keep_addresses()

if not _TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """A public module that nobody has imported yet."""
        if name in _ADDRESSES:
            return _import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Edit",
    "VizkitError",
    "backends",
    "compare",
    "doctor",
    "edited",
    "errors",
    "evaluate",
    "explain",
    "explore",
    "folders",
    "images",
    "keep_memory",
    "load",
    "models",
    "objectives",
    "parametrisations",
    "regularisers",
    "set_threads",
    "targets",
    "transforms",
    "wrap",
]
__all__ += _techniques.__all__
