"""What techniques return: values as they came out of the network, a figure on demand, and how they were made."""

from __future__ import annotations

import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    from matplotlib.figure import Figure

PROVENANCE = "vizkit"
"""The PNG text chunk, and the ``.npz`` entry, that holds the provenance as JSON."""
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Result:
    """Base of all results. ``values`` is never normalised; ``provenance`` says everything that made it."""

    values: Array
    provenance: Mapping[str, Any]

    def plot(self) -> Figure:
        """A matplotlib figure, not registered with pyplot."""
        raise TypeError(f"{type(self).__name__} has no picture of its own.")

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
            save_figure(self.plot(), target, self.provenance)
        return target

    def _repr_png_(self) -> bytes:
        return figure_bytes(self.plot(), self.provenance)

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

    def plot(self) -> Figure:
        """The published three panels for each picture: the picture, its map in gray, its map in jet. Of volumes slices,
        of signals curves."""
        from . import plotting

        if self.values.ndim != 3:
            return plotting.slices(self) if self.values.ndim == 4 else plotting.curves(self)
        return plotting.saliency([self])


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
