"""Maps laid over photos, as pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.backend import Array
from ..contract.errors import SettingError
from ..support.files import replacing
from .files import write_png

COLOURS = "inferno"
"""Matplotlib's colour map of maps without a sign."""


@dataclass(frozen=True)
class Overlay:
    """Photos with their maps, uint8 (H, W, 3) each; ``pictures[i]`` is as large as its photo. ``len``, indexing and
    iteration are over them; a notebook shows the first."""

    pictures: tuple[Array, ...]
    names: tuple[str, ...]
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> Array:
        return self.pictures[i]

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write each picture, pixel by pixel, as PNG with the provenance inside: to ``path``, or where there are
        several to ``path`` with a number before the suffix. Raises SettingError for another suffix."""
        target = Path(path)
        if target.suffix != ".png":
            raise SettingError(f"Cannot save {str(target)!r}: an overlay is written as .png.")
        several = len(self.pictures) > 1
        paths = [target.with_stem(f"{target.stem}-{i + 1}") if several else target for i in range(len(self))]
        for one, picture in zip(paths, self.pictures, strict=True):
            with replacing(one) as temporary:
                write_png(picture, temporary, self.provenance)
        return paths

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        write_png(self.pictures[0], stream, self.provenance)
        return stream.getvalue()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{one.shape[1]} x {one.shape[0]}" for one in self.pictures[:3])
        return f"<overlay of {self.provenance['technique']} on {len(self)} pictures: {sizes}>"
