"""Networks of a user's own file, FILE.py:NAME, which the command line takes in the place of a name."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ..contract import backend as contract
from ..contract.backend import Model
from ..contract.errors import SettingError, UnknownNameError

USUAL = "build"
"""What is taken of a file where no name is given."""
ASKED = ("backend", "weights", "device", "dtype")
"""Options that a function may take as arguments of these names."""
FRAMES = 3
"""Lines of the user's own that an error of theirs is told with."""


@dataclass(frozen=True)
class Own:
    """A function, or a Model, in a user's file: as they wrote it, and the ``name`` in it, "" where they gave none."""

    file: str
    name: str

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(self.file).resolve()

    @property
    def stem(self) -> str:
        """What files are named after it."""
        return self.path.stem if self.name in ("", USUAL) else f"{self.path.stem}-{self.name}"

    def __str__(self) -> str:
        return f"{self.file}:{self.name or USUAL}"

    def check(self) -> None:
        """Raise SettingError where there is no such file."""
        if not self.path.is_file():
            raise SettingError(f"There is no file '{self.file}' to take a network of. Check the path; nothing was run.")

    def load(self, backends: Sequence[str | None], asked: Mapping[str, str], sha256: str = "") -> list[Model]:
        """The network in each backend, None for whichever it has, with those of :data:`ASKED` that the user wrote. The
        file runs once, the function once for each; with ``sha256``, if it is still that file.

        Raises SettingError, UnknownNameError or BackendMissingError; what the user's code raises is a SettingError that
        says where.
        """
        self.check()
        for backend in filter(None, backends):
            contract.get(backend)  # before the file imports its framework, which a backend may have to prepare
        data = self.path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if sha256 not in ("", digest):
            raise SettingError(f"'{self.file}' was changed since the work began. Start it again.")
        with self._running():
            module = _run(self.path, data)
        found = self._found(module)
        return [self._made(found, digest, {**asked, **({"backend": one} if one else {})}) for one in backends]

    def _found(self, module: ModuleType) -> Any:
        if hasattr(module, self.name or USUAL):
            return getattr(module, self.name or USUAL)
        every = [(name, one) for name, one in vars(module).items() if not name.startswith("_")]
        own = [name for name, one in every if _callable(one) and one.__module__ == module.__name__]
        there = own + [name for name, one in every if isinstance(one, Model)]
        listed = f"It has {', '.join(there)}." if there else "It has no function of its own, and no Model."
        more = "" if self.name else f", which is taken where no name is given. Say what to take: {self.file}:NAME"
        raise UnknownNameError(f"'{self.file}' has no {self.name or USUAL!r}{more}. {listed}")

    def _made(self, found: Any, digest: str, asked: dict[str, str]) -> Model:
        takes = inspect.signature(found).parameters if _callable(found) else {}
        if "backend" in takes and takes["backend"].default is inspect.Parameter.empty:
            asked.setdefault("backend", contract.find().name)
        if _callable(found):
            with self._running():
                found = found(**{name: value for name, value in asked.items() if name in takes})
        if not isinstance(found, Model):
            what = f"the class {found.__name__}" if inspect.isclass(found) else f"a {type(found).__name__}"
            raise SettingError(
                f"{self} gives {what}, no vizkit Model. Wrap it, vizkit.wrap(net, input_size=..., mean=..., std=...), "
                "and name the Model, or a function that returns it."
            )
        for name, value in asked.items():
            has = found.weights.source if name == "weights" else getattr(found, name)
            if value != has and (name not in takes or name == "backend"):
                raise SettingError(
                    f"--{name} {value}: {self} has {name} of its own ({has}). Leave the option out, or let a function "
                    f"go by it: def {USUAL}({name})."
                )
        path = Path(self.file)
        found.named = str(replace(self, file=path.name if path.is_absolute() else self.file))
        found.file_sha256 = digest
        found.recipe = Recipe(replace(self, file=str(self.path)), {**asked, "backend": found.backend}, digest)
        return found

    @contextmanager
    def _running(self) -> Iterator[None]:
        """The user's code runs: it may import what lies beside it, and its errors are told by its own lines."""
        folder = self.path.parent
        sys.path.insert(0, str(folder))
        try:
            yield
        except (Exception, SystemExit) as error:
            theirs = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).parent == folder]
            lines = traceback.format_list(theirs[-FRAMES:])
            syntax = isinstance(error, SyntaxError)
            lines += traceback.format_exception_only(error) if syntax else [f"{type(error).__name__}: {error}"]
            raise SettingError(f"{self} stopped with an error of its own:\n{''.join(lines).rstrip()}") from error
        finally:
            with suppress(ValueError):
                sys.path.remove(str(folder))


@dataclass(frozen=True)
class Recipe:
    """The recipe of a network of a file, which is run again where the worker is."""

    own: Own
    asked: Mapping[str, str]
    sha256: str

    @property
    def device(self) -> str:
        """The device that was asked for; "" where the file says."""
        return self.asked.get("device", "")

    def __call__(self, device: str | None) -> Model:
        asked = {**self.asked, **({"device": device} if device and self.device else {})}
        (model,) = self.own.load([asked.pop("backend")], asked, self.sha256)
        return model


def of(model: str) -> Own | None:
    """What FILE.py:NAME means, or FILE.py; None for anything else. Nothing but a path that ends in .py is ever run."""
    found = re.fullmatch(r"(.+?\.py)(?::(.*))?", model)
    return None if found is None else Own(found[1], found[2] or "")


def _callable(found: Any) -> bool:
    """Whether it is called for a network: a network can be called, too, and a class is none yet."""
    return inspect.isroutine(found) or isinstance(found, partial)


@lru_cache(maxsize=1)
def _run(path: Path, data: bytes) -> ModuleType:
    """The file as a module; its name, which no other module has, is what its classes are pickled by."""
    module = ModuleType(f"vizkit_file_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(data, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module
