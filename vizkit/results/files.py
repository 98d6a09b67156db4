"""How a result was made, and where its files keep it."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import zipfile
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..contract.backend import Array, Model
from ..contract.errors import SettingError
from ..inputs.images import Batch
from ..support.command import COMMAND
from ..support.files import replacing
from ..support.version import VERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PROVENANCE = "vizkit"
"""The PNG text chunk, and the ``.npz`` entry, that holds the provenance as JSON."""
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
PICTURES = re.compile(r'<pre [^>]*class="provenance" data-file="([^"]*)">([^<]*)</pre>')
"""What a page says of its pictures."""
EFFORT = 4
"""Of a PNG's compression: half of the time of Pillow's 6, for two in a hundred more bytes."""
DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"
"""Of an SVG's metadata."""


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
    """How a result was made, ready for JSON: model, backend and versions, how inputs are prepared, the weights' SHA-256
    and the pictures' (``sha256``, ``digests`` where they were taken before), and every setting."""
    made: dict[str, Any] = {
        "technique": technique,
        "model": model.name,
        "backend": model.backend,
        "versions": {
            "vizkit": VERSION,
            "numpy": np.__version__,
            "python": platform.python_version(),
            **model.versions,
        },
        "device": model.device,
        "dtype": model.dtype,
        "input": model.spec.said,
        "weights": {"source": model.weights.source, "note": model.weights.note, "sha256": sha256 or model.sha256()},
        "settings": dict(settings),
    }
    if model.file_sha256:
        made["model_file"] = {"name": model.named, "sha256": model.file_sha256}
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
    """The provenance inside a PNG, SVG, PDF or ``.npz`` that :meth:`Result.save` wrote, or of each picture of a page,
    by its file; SettingError where there is none, or no file."""
    source = Path(path)
    try:
        found: dict[str, Any] = json.loads(_READERS.get(source.suffix, _of_picture)(source))
    except FileNotFoundError:
        raise SettingError(f"There is no file '{source}' (looked in {source.resolve().parent}).") from None
    except (OSError, LookupError, TypeError, ValueError, EOFError, zipfile.BadZipFile, ElementTree.ParseError):
        raise SettingError(
            f"'{source}' holds no provenance; vizkit did not write it, or it was converted since."
        ) from None
    return found


def _of_picture(source: Path) -> str:
    with Image.open(source) as opened:
        return str(opened.info[PROVENANCE])


def _of_arrays(source: Path) -> str:
    with np.load(source) as arrays:
        return str(arrays[PROVENANCE])


def _of_svg(source: Path) -> str:
    return str(ElementTree.parse(source).findtext(f".//{{{DUBLIN_CORE}}}description"))


def _of_pdf(source: Path) -> str:
    """Matplotlib writes text that is ASCII as it is, with a backslash before what means something in a PDF."""
    text = re.findall(rb"/Keywords \(((?:[^\\()]|\\.)*)\)", source.read_bytes())[0].decode("ascii")
    return re.sub(r"\\(.)", r"\1", text)


def _of_page(source: Path) -> str:
    found = PICTURES.findall(source.read_text(encoding="utf-8"))
    if not found:
        raise LookupError("no picture")
    return json.dumps({unescape(file): json.loads(unescape(text)) for file, text in found})


_READERS = {".html": _of_page, ".npz": _of_arrays, ".svg": _of_svg, ".pdf": _of_pdf}


def _metadata(suffix: str, made: Mapping[str, Any]) -> dict[str, str]:
    text = json.dumps(made)
    if suffix == ".png":
        return {PROVENANCE: text, "Software": f"vizkit {VERSION}"}
    return {"Keywords": text} if suffix == ".pdf" else {"Description": text}


def save_figure(figure: Figure, target: str | Path, made: Mapping[str, Any], dpi: int = 150) -> None:
    """Write a figure with its provenance inside, whole or not at all."""
    target = Path(target)
    if target.suffix not in FIGURE_SUFFIXES:
        raise SettingError(f"Cannot save {str(target)!r}: the suffix must be .npz or {', '.join(FIGURE_SUFFIXES)}.")
    drawn = figure_bytes(figure, made, dpi, target.suffix)  # at once: on a full disk Matplotlib's PDF loses its way
    with replacing(target) as temporary:
        temporary.write_bytes(drawn)


def _draw_png(figure: Figure, stream: io.BytesIO, made: Mapping[str, Any], dpi: int) -> None:
    """What ``figure.savefig`` would write, which draws twice, the first time only to lay the figure out."""
    canvas: Any = figure.canvas
    before = figure.dpi
    figure.dpi = dpi
    try:
        canvas.print_png(stream, metadata=_metadata(".png", made), pil_kwargs={"compress_level": EFFORT})
    finally:
        figure.dpi = before


def write_png(picture: Array, target: Path | IO[bytes], made: Mapping[str, Any]) -> None:
    """A picture uint8 (H, W, 3), pixel by pixel, with its provenance inside."""
    info = PngInfo()
    info.add_text(PROVENANCE, json.dumps(made))
    Image.fromarray(picture).save(target, "PNG", pnginfo=info, compress_level=EFFORT)


def figure_bytes(figure: Figure, made: Mapping[str, Any], dpi: int = 110, suffix: str = ".png") -> bytes:
    """A figure as the bytes of a file with its provenance inside."""
    stream = io.BytesIO()
    if suffix == ".png" and hasattr(figure.canvas, "print_png"):
        _draw_png(figure, stream, made, dpi)
    else:
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=_metadata(suffix, made))
    return stream.getvalue()
