"""Images made ready for a network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..contract.backend import Array

AS_GIVEN = "as given"
"""The range of arrays that are used as they are."""


@dataclass(frozen=True)
class Batch:
    """Images made ready for one network: ``tensor`` float32 (N, C, H, W), normalised; ``pictures`` uint8 (N, H, W, 3),
    what the network sees; ``names`` for titles and provenance; ``input_range`` as :func:`prepare` was told. Every
    technique takes a Batch for an image, so a tensor of one's own can be explained: ``replace(batch, tensor=...)``."""

    tensor: Array
    pictures: Array
    names: tuple[str, ...]
    input_range: str = "imagenet"
    sources: tuple[Any, ...] = ()
    """The photos as they were given, and how they were fitted; nothing of what was ready."""
    fit: str = "crop"
    resize: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> list[str]:
        """SHA-256 of each prepared picture's pixels, or of the values of what is used as it was given."""
        read = self.tensor if self.input_range == AS_GIVEN else self.pictures
        return [hashlib.sha256(np.ascontiguousarray(one).data).hexdigest() for one in read]

    def repeated(self, count: int) -> Batch:
        """A single picture so many times."""
        return self.part(np.zeros(count, int))

    def part(self, which: Sequence[int] | Array) -> Batch:
        """The pictures at these places."""
        at = list(which)
        names, sources = (tuple(one[i] for i in at) if one else () for one in (self.names, self.sources))
        return replace(self, tensor=self.tensor[at], pictures=self.pictures[at], names=names, sources=sources)


ImageInput = str | os.PathLike[str] | Image.Image | Array | Batch | Iterable[Any]
"""What every technique takes: a path of a file or a folder, a Pillow image, a uint8 array, an array or a tensor of any
framework that is ready, a list, generator or loader of them, or a Batch made before; see :func:`prepare`."""
