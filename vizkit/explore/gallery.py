"""The pictures that are looked at: bundled ones, those of a folder, and what users bring."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..contract.backend import Array
from ..contract.errors import ImageError
from ..contract.spec import InputSpec
from ..inputs import folders, images
from ..inputs.images import Batch
from ..inputs.reading import read
from ..zoo import shapes

SAMPLES, SEED = 12, 7
"""Of the pictures of shapes: one of each class."""
MOST_UPLOADS, MOST_READY = 24, 8
"""Pictures that users bring, and those of the folder that are kept ready."""
MOST_NAME = 120


@dataclass(frozen=True)
class Picture:
    """A picture ready for the network. ``source`` is the Python that gives it, ``fit`` how it was fitted, ``mask``
    where its object is, if that is known."""

    id: str
    name: str
    batch: Batch
    source: str
    fit: str
    mask: Array | None = None

    @property
    def digest(self) -> str:
        """Of what the network sees."""
        return self.batch.digest()[0]


@dataclass(frozen=True)
class _Listed:
    """A picture that can be made ready again at any time."""

    name: str
    item: Any
    source: str
    fit: str
    mask: Array | None = None


class Gallery:
    """Pictures by id. That of a listed one is its number: nothing that a page says names a file."""

    def __init__(self, spec: InputSpec, given: folders.Pictures | None = None) -> None:
        self._spec = spec
        self._bundled = _bundled(spec)
        self.folder = given
        self._ready = lru_cache(MOST_READY)(lambda number: self._made(str(number), self._listed(number)))
        self._brought: OrderedDict[str, Picture] = OrderedDict()

    def page(self, start: int, count: int) -> tuple[list[dict[str, Any]], int | None]:
        """What is listed from a number on, and the number with which the next page begins."""
        stop = min(start + count, len(self))
        some = ((i, self._listed(i)) for i in range(start, stop))
        found = [{"id": str(i), "name": one.name, "mask": one.mask is not None} for i, one in some]
        return found, stop if stop < len(self) else None

    def __len__(self) -> int:
        return len(self._bundled) + (0 if self.folder is None else len(self.folder))

    def _listed(self, number: int) -> _Listed:
        """The bundled ones come first; a folder's, of which there may be a million, are made as they are asked for."""
        at = number - len(self._bundled)
        if at < 0 or self.folder is None:
            return self._bundled[number]
        item = self.folder.items[at]
        source = f'"{item.name}"' if isinstance(item, Path) else f"pictures[{at}]"
        return _Listed(self.folder.names[at], item, source, "crop")

    def __getitem__(self, key: str) -> Picture:
        """A picture. Raises ImageError for one that is not, or no longer, there, or cannot be read."""
        if key in self._brought:
            self._brought.move_to_end(key)
            return self._brought[key]
        if not (key.isascii() and key.isdigit() and len(key) < 9 and int(key) < len(self)):
            raise ImageError(f"There is no picture {key[:40]!r}; one that was brought is kept while few are newer.")
        return self._ready(int(key))

    def searched(self) -> tuple[folders.Pictures, str]:
        """The pictures among which a unit's best are looked for, the folder's if there is one, and how they fit."""
        if self.folder is not None:
            return self.folder, "crop"
        items, names = [one.item for one in self._bundled], tuple(one.name for one in self._bundled)
        return replace(folders.collect(items), names=names), self._bundled[0].fit

    def bring(self, data: bytes, name: str) -> Picture:
        """A user's picture, from the bytes of an image file. Raises ImageError."""
        shown = "".join(one for one in name if one.isprintable())[:MOST_NAME] or "picture"
        made = self._made("u" + secrets.token_hex(8), _Listed(shown, read(data), repr(shown), "crop"))
        for key, other in self._brought.items():
            if other.digest == made.digest:
                self._brought[key] = replace(made, id=key)
                self._brought.move_to_end(key)
                return self._brought[key]
        self._brought[made.id] = made
        while len(self._brought) > MOST_UPLOADS:
            self._brought.popitem(last=False)
        return made

    def _made(self, key: str, one: _Listed) -> Picture:
        batch = images.prepare(one.item, self._spec, fit=one.fit)
        return Picture(key, one.name, replace(batch, names=(one.name,), sources=()), one.source, one.fit, one.mask)


def _bundled(spec: InputSpec) -> list[_Listed]:
    """Samples of shapes for a network that knows their classes; for every other the photo of a cat."""
    make: Callable[..., str] = "vizkit.zoo.shapes.sample({}, seed={}).images[{}]".format
    if spec.labels == shapes.CLASSES and spec.size == (shapes.INPUT_SIZE, shapes.INPUT_SIZE):
        found = shapes.sample(SAMPLES, SEED)
        return [
            _Listed(
                f"{shapes.CLASSES[found.labels[i]]} {i + 1}", found.images[i], make(SAMPLES, SEED, i), "squash",
                found.masks[i],
            )
            for i in range(SAMPLES)
        ]  # fmt: skip
    return [_Listed("cat.jpg", images.sample(), "vizkit.images.sample()", "crop")]
