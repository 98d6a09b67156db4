"""What techniques return: values as they came out of the network, a figure on demand, and how they were made."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from ..contract.backend import Array
from ..contract.errors import SettingError
from ..inputs import images
from ..support.files import write_npz
from ..support.packages import needed
from .files import PROVENANCE, figure_bytes, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_drawing = ""
"""The module that draws results."""


def drawn_by(module: str) -> None:
    """Say which module draws results: a floor above this one, which is imported when there is something to draw."""
    global _drawing
    _drawing = module


def drawing() -> Any:
    """The module that draws results."""
    return import_module(_drawing)


@dataclass(frozen=True)
class Result:
    """Base of all results. ``values`` is never normalised; ``provenance`` says everything that made it."""

    values: Array
    provenance: Mapping[str, Any]
    stored: ClassVar[tuple[str, ...]] = ("values",)
    """Fields that :meth:`save` writes into an ``.npz``."""
    compared: ClassVar[tuple[str, str]] = ("values", "values")
    """What two backends are compared by, in words, and the field. Of an optimised picture it is what was reached: the
    pixels of a chaotic loop part from the first rounding on."""

    def figure(self) -> Figure:
        """A matplotlib figure, not registered with pyplot; :mod:`vizkit.draw` says what it shows. Raises TypeError
        where there is no picture of such results."""
        drawn: Figure = drawing().figure([self])
        return drawn

    def plot(self, ax: Axes | None = None) -> Any:
        """Draw into ``ax``, axes of a figure of your own, and return them; without, the axes of :meth:`figure`, all of
        them in an array where there are several."""
        if ax is None:
            drawn = self.figure().axes
            return drawn[0] if len(drawn) == 1 else np.array(drawn)
        with Image.open(io.BytesIO(figure_bytes(self.figure(), self.provenance))) as picture:
            ax.imshow(np.asarray(picture.convert("RGB")))
        ax.set_axis_off()
        return ax

    def show(self) -> None:
        """Show the picture: in a notebook below the cell, else in the system's viewer."""
        shown = figure_bytes(self.figure(), self.provenance)
        if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
            from IPython.display import display

            display(self)  # type: ignore[no-untyped-call]
            return
        with Image.open(io.BytesIO(shown)) as picture:
            picture.show(self.line())

    def line(self) -> str:
        """One line that says what this is."""
        made = self.provenance
        return f"{made['technique']} of {made['model']} in {made['backend']}, weights {made['weights']['source']}"

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        values = self.values if dtype is None else self.values.astype(dtype, copy=False)
        return values.copy() if copy else values

    def __getitem__(self, which: int | slice | Sequence[int]) -> Any:
        return self.values[which]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def records(self) -> list[dict[str, Any]]:
        """The result as a table, a dictionary a row. Raises SettingError where it is none."""
        raise SettingError(f"A result of {self.provenance['technique']} is no table; numpy.asarray gives its values.")

    def to_frame(self) -> Any:
        """The table as a pandas DataFrame.

        Raises SettingError where the result is no table, or pandas is not installed.
        """
        rows = self.records()
        return needed("pandas", "to_frame() needs pandas", "pandas", SettingError, "take records()").DataFrame(rows)

    def arrays(self) -> dict[str, Array]:
        """What :meth:`save` writes into an ``.npz``."""
        return {name: np.asarray(getattr(self, name)) for name in self.stored}

    def comparable(self) -> tuple[str, Array]:
        """What two backends are compared by, after its name."""
        return self.compared[0], attrgetter(self.compared[1])(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the figure (``.png``, ``.pdf``, ``.svg``) or the raw arrays (``.npz``), with the provenance inside.

        The file appears whole or not at all. Raises SettingError for another suffix or a folder that does not exist.
        """
        target = Path(path)
        if target.suffix == ".npz":
            write_npz(target, self.arrays() | {PROVENANCE: json.dumps(self.provenance)}, compressed=True)
        else:
            save_figure(self.figure(), target, self.provenance)
        return target

    def _repr_png_(self) -> bytes:
        return figure_bytes(self.figure(), self.provenance)

    def __repr__(self) -> str:
        made = self.provenance
        shape = f"values {self.values.shape} {self.values.dtype}"
        return f"<{made['technique']} of {made['model']} in {made['backend']}: {shape}>"


class Pictured(Result):
    """A result whose ``values`` are pictures (N, C, H, W) in 0..1."""

    def pictures(self) -> Array:
        """uint8 (N, H, W, 3), for the eye."""
        return images.picture(self.values)


def places(count: int, which: int | slice | Sequence[int]) -> list[int]:
    """Those of so many pictures that are asked for. Raises SettingError for what is no place."""
    found: Any = np.arange(count)[which] if isinstance(which, slice) else np.atleast_1d(which)
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise SettingError(f"result[{which!r}]: expected a picture's place, a slice, or a list of places.")
    return [range(count)[i] for i in found]


def chosen(result: Result, which: int | slice | Sequence[int]) -> tuple[list[int], dict[str, Any]]:
    """Places of the pictures asked for, and the provenance of a result of these alone."""
    some = places(len(result), which)
    made = dict(result.provenance)
    if "images" in made:
        made["images"] = [made["images"][i] for i in some]
    wanted = made["settings"].get("target")
    if isinstance(wanted, list) and len(wanted) == len(result):
        made["settings"] = {**made["settings"], "target": [wanted[i] for i in some]}
    return some, made
