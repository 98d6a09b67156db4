"""What the explorer's page and its server say to each other.

Every address lies below ``/TOKEN/``. Common parameters: ``picture``, the id of a picture; ``layer`` and ``unit``; ``y``
and ``x``, a place of the unit's map; ``b``, a backend's name, the first when it is left out; ``other``, a second one to
compare with; ``edits``, a JSON list of ``{"layer", "unit", "mode": "off" | "add", "amount"}``: "off" makes the unit's
map zero, "add" adds ``amount`` times the map's largest absolute value to each of its places.

==================  ==================================================================================================
``api/session``     JSON: the network, its diagram, layers, methods and controls, and the first pictures
``api/pictures``    JSON ``{"pictures": [{"id", "name", "mask"}], "next": number | null}`` from ``from``, ``count`` of
                    them. POST: an image file's bytes, its name percent-encoded in ``X-Name``; gives one such picture
``api/picture``     the picture as the network sees it, as PNG
``api/predictions`` JSON ``{"backends": [{"name", "rows": [{"index", "label", "probability", "logit"}]}]}``, ``top``
                    rows for each
``api/labels``      JSON ``[{"index", "label"}]``, at most 30 whose label holds ``q``
``api/maps``        frame ``order`` int32 (C,), ``strength`` float32 (C,) in that order, and of ``count`` units of it
                    from ``from``: ``thumbs`` uint8 (n, h, w), each from its ``low`` to its ``high``, sides of at most
                    ``size``. ``sort`` is "strength" (mean absolute value, without edits) or "number". With ``other``
                    also ``other_thumbs`` in the first's scale, and ``difference`` (n,), max |a - b| over max |a|
``api/map``         frame ``map`` float32 (h, w), the exact values; with ``other`` also ``other``, and ``difference``
``api/unit``        JSON ``{"field": {"theoretical": [top, left, bottom, right], "size", "stride", "whole"},
                    "parameters": {"kind", "layer", "channel", "kernel", "bias", "count"} | null, "line"}``; the box is
                    not clipped to the picture
``api/weights``     frame ``kernel`` float32 (C, kh, kw): the filter that the unit is the result of
``api/effective``   frame ``field`` float32 (H, W), 0..1: the effective receptive field on this picture
``api/sum``         frame of :mod:`vizkit.explore.sums`: how the value at a place comes about
``api/jobs``        POST ``{"kind": "explain", "picture", "target", "methods", "b", "edits"}``,
                    ``{"kind": "dream", "layer", "unit", "steps", "size", "seed", "b"}`` or
                    ``{"kind": "patches", "layer", "unit", "k", "b"}``; gives ``{"job"}``
``api/jobs/JOB``    server-sent events: ``step {done, of, text}``, ``result {n, title, ...}``, ``error {error}``,
                    ``end {}``. DELETE stops the job, as closing the stream does
``api/jobs/JOB/N``  frame: explain ``map`` float32 (H, W), header ``method``, ``family``, ``line``, ``signed``,
                    ``seconds``, ``provenance``, ``scores``: null, or by metric ``{"value", "better": "higher",
                    "controls": {name: value}}``; dream ``picture`` uint8 (H, W, 3), header ``step``, ``activation``;
                    patches ``patches`` uint8 (k, h, w, 3), header ``names``, ``activations``, ``boxes``
``api/save``        PNG with its provenance inside of ``view``, what stands behind # in the page's address
``api/line``        JSON ``{"line"}``: the Python that makes it
==================  ==================================================================================================

A *frame* is an uint32, little-endian, the length of a JSON header; the header, padded with spaces so that what follows
begins at a multiple of 8; then arrays, little-endian, each at a multiple of 8 from where they begin. The header's
"arrays" say of each ``{"dtype", "shape", "offset"}``. An error is JSON ``{"error": sentence}`` with its status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from ..contract.backend import Array
from ..contract.edits import Edit
from ..contract.errors import SettingError

MOST_EDITS = 64
KINDS = ("float32", "uint8", "int32")
"""What arrays of a frame may hold."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """A frame of a header and arrays; those of another kind than :data:`KINDS` become float32.

    Example:
        >>> import numpy as np
        >>> unpack(pack({"unit": 3}, {"map": np.eye(2)}))[1]["map"].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    said: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, array in arrays.items():
        kind = str(array.dtype) if str(array.dtype) in KINDS else "float32"
        raw = np.ascontiguousarray(array, np.dtype(kind).newbyteorder("<")).tobytes()
        said[name] = {"dtype": kind, "shape": list(array.shape), "offset": at}
        raw += b"\0" * (-len(raw) % 8)
        parts.append(raw)
        at += len(raw)
    text = json.dumps({**header, "arrays": said}, allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])


def unpack(frame: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header and the arrays of a frame."""
    length = int.from_bytes(frame[:4], "little")
    header: dict[str, Any] = json.loads(frame[4 : 4 + length])
    arrays = {}
    for name, one in header.pop("arrays").items():
        kind = np.dtype(one["dtype"]).newbyteorder("<")
        count = int(np.prod(one["shape"], dtype=np.int64))
        arrays[name] = np.frombuffer(frame, kind, count, 4 + length + one["offset"]).reshape(one["shape"])
    return header, arrays


@dataclass(frozen=True)
class View:
    """What a request, or the page's address, asks for; its values are text, as they came."""

    given: Mapping[str, str]

    @classmethod
    def of(cls, text: str) -> View:
        """The view that an address shows: what stands behind its #."""
        return cls(dict(parse_qsl(text.lstrip("#"))))

    def without(self, name: str) -> View:
        """The same view, but for one thing."""
        return View({key: value for key, value in self.given.items() if key != name})

    def text(self, name: str, default: str | None = None) -> str:
        """A word. Raises SettingError where it is missing and has no default."""
        found = self.given.get(name) or default
        if found is None:
            raise SettingError(f"The request lacks {name}=.")
        return found

    def number(self, name: str, default: int | None = None, most: int = 1 << 20) -> int:
        """A whole number from 0 to ``most``. Raises SettingError for anything else."""
        text = self.text(name, None if default is None else str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
            raise SettingError(f"{name}={text[:40]!r}: expected a whole number from 0 to {most}.")
        return int(text)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What is switched off or added. Raises SettingError for what is none."""
        text = self.given.get("edits")
        return edits(json_of(text, "edits")) if text else ()


def json_of(text: str | bytes, what: str) -> Any:
    """What JSON holds. Raises SettingError for what is none, however deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise SettingError(f"{what} is no JSON.") from None


def edits(given: Any) -> tuple[Edit, ...]:
    """Edits as the page writes them. Raises SettingError."""
    if not isinstance(given, list) or len(given) > MOST_EDITS:
        raise SettingError(f"edits is a list of at most {MOST_EDITS}.")
    found = []
    for one in given:
        try:
            off = {"off": True, "add": False}[one["mode"]]
            found.append(Edit(str(one["layer"]), int(one["unit"]), None if off else float(one["amount"])))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise SettingError(
                'An edit is {"layer": name, "unit": number, "mode": "off"}, or "add" with an "amount".'
            ) from None
    return tuple(found)
