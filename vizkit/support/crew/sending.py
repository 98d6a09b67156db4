"""What goes to the workers, as bytes, tasks and how to build the networks; and who takes it there."""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...contract import backend as contract
from ...contract.backend import Model
from ...contract.errors import SettingError


class Hands(ABC):
    """Those who work: processes of this machine, or a cluster."""

    size: int

    @abstractmethod
    def submit(self, function: bytes, task: bytes) -> Future[bytes]:
        """Have one task done."""

    def forget(self, tasks: Sequence[Future[bytes]]) -> None:  # noqa: B027
        """Nobody waits for these any more."""

    def check(self) -> None:  # noqa: B027
        """Raise SettingError where nobody is left who could work."""

    def gave_up(self, error: BaseException) -> bool:
        """Whether the error says that a task's workers died as often as they may; else the crew counts."""
        return False

    def renew(self) -> None:  # noqa: B027
        """Replace the workers after one has died, where nobody else does."""

    @abstractmethod
    def close(self) -> None:
        """End all workers at once, whatever they do."""


class Unsendable(SettingError):
    """Something that cannot be sent to another process."""


def dumps(what: Any, name: str) -> bytes:
    """Pickled bytes; by cloudpickle where that is installed, which takes functions and classes of a script, too.

    Raises :class:`Unsendable`, which calls it ``name``.
    """
    pickler: Any = pickle
    with suppress(ImportError):
        pickler = importlib.import_module("cloudpickle")
    try:
        return bytes(pickler.dumps(what, protocol=pickle.HIGHEST_PROTOCOL))
    except Unsendable:
        raise
    except Exception as error:  # whatever the object's own way of being pickled raises
        plain = " (or: pip install cloudpickle, which sends lambdas and classes of a script)"
        more = plain if pickler is pickle else ""
        raise Unsendable(
            f"{name} cannot be sent to workers: {type(error).__name__}: {error}. Define its class, or function, at the "
            f"top of a module that the workers can import{more}, or go without workers."
        ) from None


def loads(data: bytes, name: str) -> Any:
    """What :func:`dumps` took. Raises :class:`Unsendable` where this process lacks a module that it needs."""
    try:
        return pickle.load(io.BytesIO(data))
    except (ImportError, AttributeError) as error:
        raise Unsendable(
            f"{name} cannot be read by a worker: {type(error).__name__}: {error}. Let the workers have the same "
            "modules and versions as this process, or define it in a module that they can import."
        ) from None


DIGEST = 32
ANY_GPU = "cuda"
"""The device of who does not mind which."""


def asked_for(model: Model) -> str:
    """The device that the user asked for, which may leave open which GPU; "" where the recipe does not say."""
    return str(getattr(model.recipe, "device", ""))


@dataclass(frozen=True)
class Sent:
    """How a worker makes the same network: the recipe as bytes, what its user set since, and what has to be equal."""

    name: str
    backend: str
    device: str
    recipe: bytes
    sha256: str
    set: dict[str, Any]

    @classmethod
    def of(cls, model: Model) -> Sent:
        """Raises :class:`Unsendable` for a network that nobody knows how to build."""
        if model.recipe is None:
            raise Unsendable(
                f"Nothing says how a worker can build {model.name}. Load it by vizkit.load or vizkit.wrap, or set "
                "model.recipe to a function of a module: recipe(device) gives the model on that device, or on its own "
                "for None."
            )
        recipe = dumps(model.recipe, f"The network {model.name}")
        own = {name: getattr(model, name) for name in ("name", "named", "spec", "weights", "optimise")}
        own["layout"] = dict(model.layout)  # the mapping itself may be one that cannot be pickled
        return cls(model.name, model.backend, asked_for(model), recipe, model.sha256(), own)

    def build(self, device: str | None) -> Model:
        """The network, on ``device`` or its own. Raises SettingError where its weights are others than the sender's."""
        contract.get(self.backend)
        model: Model = loads(self.recipe, f"The network {self.name}")(device)
        for name, value in self.set.items():
            setattr(model, name, value)
        if model.sha256() != self.sha256:
            raise SettingError(
                f"A worker builds {self.name} with other weights (SHA-256 {model.sha256()[:12]}…) than those here "
                f"({self.sha256[:12]}…): they were changed since it was loaded. Save them and load that file, make the "
                "change by model.with_parameters, or go without workers."
            )
        return model


def packed(models: Sequence[Model]) -> bytes:
    """All that a worker needs to build these networks, after :data:`DIGEST` bytes by which it knows whether it has."""
    data = pickle.dumps([Sent.of(model) for model in models])
    return hashlib.sha256(data).digest() + data
