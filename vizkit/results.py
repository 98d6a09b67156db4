"""What techniques return: values as they came out of the network, a figure on demand, and how they were made."""

from __future__ import annotations

import io
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from . import __version__
from .backend import Array, Model
from .errors import SettingError
from .files import replacing
from .images import Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .overlay import Overlay

PROVENANCE = "vizkit"
"""The PNG text chunk, and the ``.npz`` entry, that holds the provenance as JSON."""
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


COMMAND: ContextVar[str | None] = ContextVar("COMMAND", default=None)
"""The command line that is running, without its --out, as the user wrote it; None in a Python session."""


@dataclass(frozen=True)
class Result:
    """Base of all results. ``values`` is never normalised; ``provenance`` says everything that made it."""

    values: Array
    provenance: Mapping[str, Any]

    def figure(self) -> Figure:
        """A matplotlib figure, not registered with pyplot."""
        raise TypeError(f"{type(self).__name__} has no picture of its own.")

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

    def __getitem__(self, which: int | slice) -> Any:
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
        try:
            import pandas
        except ImportError:
            raise SettingError("to_frame() needs pandas: pip install pandas. records() gives plain rows.") from None
        return pandas.DataFrame(rows)

    def arrays(self) -> dict[str, Array]:
        """What :meth:`save` writes into an ``.npz``."""
        return {"values": self.values}

    def comparable(self) -> tuple[str, Array]:
        """What two backends are compared by, and its name."""
        return "values", self.values

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the figure (``.png``, ``.pdf``, ``.svg``) or the raw arrays (``.npz``), with the provenance inside.

        The file appears whole or not at all. Raises SettingError for another suffix or a folder that does not exist.
        """
        target = Path(path)
        if target.suffix == ".npz":
            with replacing(target) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, **self.arrays(), **{PROVENANCE: np.array(json.dumps(self.provenance))})
        else:
            save_figure(self.figure(), target, self.provenance)
        return target

    def _repr_png_(self) -> bytes:
        return figure_bytes(self.figure(), self.provenance)

    def __repr__(self) -> str:
        made = self.provenance
        shape = f"values {self.values.shape} {self.values.dtype}"
        return f"<{made['technique']} of {made['model']} in {made['backend']}: {shape}>"


@dataclass(frozen=True, repr=False)
class Attribution(Result):
    """Maps (N, H, W) over the pixels of N pictures, (N, T) over signals, (N, D, H, W) over volumes; ``batch`` are the
    pictures, ``targets`` the class indices (None for the sum of all logits; numbers beyond the classes are scores of
    :mod:`vizkit.targets`), ``labels`` their names. ``signed`` maps have a meaningful zero and both signs. ``layer`` is
    the layer that the method looked at, where it has one; ``extra`` are further arrays that :meth:`save` keeps."""

    batch: Batch
    targets: tuple[int | None, ...]
    labels: tuple[str, ...]
    signed: bool = False
    layer: str | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)

    def arrays(self) -> dict[str, Array]:
        return {"values": self.values, "pictures": self.batch.pictures, **self.extra}

    def figure(self) -> Figure:
        """A row for each picture: the picture, its map, and the map laid over it. Of volumes slices, of signals
        curves."""
        from . import plotting

        if self.values.ndim != 3:
            return plotting.slices(self) if self.values.ndim == 4 else plotting.curves(self)
        return plotting.attributions([self])

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: str | None = None,
        alpha: float = 0.8,
        threshold: float = 0.0,
        on: str = "network",
    ) -> Any:
        """Draw the overlay of a single picture's map into ``ax``, and return the axes; options as :meth:`overlay` has
        them. Without ``ax``, the axes of :meth:`figure`.

        Raises SettingError for several pictures: take one, ``result[0].plot(ax)``.
        """
        if ax is None or self.values.ndim != 3:
            return super().plot(ax)
        if len(self) != 1:
            raise SettingError(f"These are {len(self)} maps, and these axes take one: result[0].plot(ax).")
        ax.imshow(self.overlay(on=on, alpha=alpha, threshold=threshold, cmap=cmap)[0])
        ax.set_title(f"{self.provenance['technique']}: {self.labels[0]}", fontsize=9)
        ax.set_axis_off()
        return ax

    def overlay(
        self, *, on: str = "network", alpha: float = 0.8, threshold: float = 0.0, cmap: str | None = None
    ) -> Overlay:
        """The maps laid over their photos, pixel by pixel: strong where the map is, the plain photo elsewhere.

        ``out = (1 - a) photo + a colour``, ``a = alpha * s``. The share ``s`` is ``min(|v| / end, 1)`` of signed maps
        and ``min((v - low) / (end - low), 1)`` of others: ``end`` is the 99.5th percentile of ``|v|``, ``low`` the
        map's smallest value.

        Args:
            on: "network", the picture as the network sees it; "original", the photo in its own size, of which the part
                that the network saw carries the map.
            alpha: how much of the photo the strongest places hide, in 0..1.
            threshold: leave places out whose share of ``end`` is below, in 0..1.
            cmap: matplotlib's colour map; None takes "inferno", for signed maps "RdBu_r", white at zero.

        Returns:
            :class:`vizkit.overlay.Overlay` with a picture uint8 (H, W, 3) for each map; ``.save("x.png")`` writes it.

        Raises:
            SettingError, UnknownNameError for a colour map, ImageError where the photo has gone since.

        Example:
            >>> import vizkit
            >>> model = vizkit.load("squeezenet1_1", weights="random:7")
            >>> vizkit.gradcam(model, vizkit.images.sample()).overlay(on="original")[0].shape
            (300, 451, 3)
        """
        from .overlay import overlay

        return overlay(self, on=on, alpha=alpha, threshold=threshold, cmap=cmap)

    def line(self) -> str:
        of = ", ".join(dict.fromkeys(self.labels))
        return f"{super().line()}: {of}" + (f", layer {self.layer}" if self.layer else "")

    def __getitem__(self, which: int | slice) -> Attribution:
        """One picture's result, or some pictures'."""
        some, made = chosen(self, which)
        return replace(
            self,
            values=self.values[some],
            provenance=made,
            batch=self.batch.part(some),
            targets=tuple(self.targets[i] for i in some),
            labels=tuple(self.labels[i] for i in some),
            extra={key: one[some] if len(one) == len(self) else one for key, one in self.extra.items()},
        )


def chosen(result: Result, which: int | slice) -> tuple[list[int], dict[str, Any]]:
    """Places of the pictures asked for, and the provenance of a result of these alone."""
    at = range(len(result))[which]
    some = list(at) if isinstance(at, range) else [at]
    made = dict(result.provenance)
    if "images" in made:
        made["images"] = [made["images"][i] for i in some]
    wanted = made["settings"].get("target")
    if isinstance(wanted, list) and len(wanted) == len(result):
        made["settings"] = {**made["settings"], "target": [wanted[i] for i in some]}
    return some, made


def command() -> dict[str, str]:
    """What provenance says of the command line that is running; nothing in a Python session."""
    line = COMMAND.get()
    return {} if line is None else {"command": line}


def provenance(
    model: Model,
    technique: str,
    settings: Mapping[str, Any],
    batch: Batch | None = None,
    sha256: str | None = None,
    digests: Sequence[str] | None = None,
) -> dict[str, Any]:
    """How a result was made, ready for JSON: model, backend and versions, the weights' SHA-256 and the pictures'
    (``sha256``, ``digests`` where they were taken before), and every setting."""
    made: dict[str, Any] = {
        "technique": technique,
        "model": model.name,
        "backend": model.backend,
        "versions": {
            "vizkit": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            **model.versions,
        },
        "device": model.device,
        "dtype": model.dtype,
        "weights": {"source": model.weights.source, "note": model.weights.note, "sha256": sha256 or model.sha256()},
        "settings": dict(settings),
    }
    made |= command()
    if batch is not None:
        made["images"] = [{"name": n, "sha256": d} for n, d in zip(batch.names, digests or batch.digest(), strict=True)]
    plain: dict[str, Any] = json.loads(json.dumps(made, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The provenance inside a PNG or ``.npz`` that :meth:`Result.save` wrote; SettingError where there is none."""
    source = Path(path)
    text: str | None = None
    if source.suffix == ".npz":
        with np.load(source) as arrays:
            text = str(arrays[PROVENANCE]) if PROVENANCE in arrays else None
    else:
        with Image.open(source) as opened:
            text = opened.info.get(PROVENANCE)
    if text is None:
        raise SettingError(f"{source} holds no provenance; vizkit did not write it, or it was converted since.")
    found: dict[str, Any] = json.loads(text)
    return found


def _metadata(suffix: str, made: Mapping[str, Any]) -> dict[str, str]:
    text = json.dumps(made)
    if suffix == ".png":
        return {PROVENANCE: text, "Software": f"vizkit {__version__}"}
    return {"Keywords": text} if suffix == ".pdf" else {"Description": text}


def save_figure(figure: Figure, target: Path, made: Mapping[str, Any], dpi: int = 150) -> None:
    """Write a figure with its provenance inside, whole or not at all."""
    if target.suffix not in FIGURE_SUFFIXES:
        raise SettingError(f"Cannot save {str(target)!r}: the suffix must be .npz or {', '.join(FIGURE_SUFFIXES)}.")
    with replacing(target) as temporary:
        figure.savefig(temporary, format=target.suffix[1:], dpi=dpi, metadata=_metadata(target.suffix, made))


def figure_bytes(figure: Figure, made: Mapping[str, Any], dpi: int = 110) -> bytes:
    """A figure as PNG bytes with its provenance inside."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata=_metadata(".png", made))
    return stream.getvalue()
