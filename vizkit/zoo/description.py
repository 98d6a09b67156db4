"""What a weights file holds, and which model it is likely to be of."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.errors import WeightsError
from ..contract.terms import digest
from ..support import columns
from . import formats, naming, weights
from .architecture import parameter_shapes
from .catalog import CATALOG
from .download.digest import file_hash

LIKELY = 0.5
"""The share of parameters, of those in the file or in the model, that must agree before a model is named."""
FORMATS = {
    "safetensors": ".safetensors",
    "pth": ".pth (zip layout)",
    "pth-legacy": ".pth (legacy layout)",
    "params": ".params",
}

STRIDES = {"1x1": "in the first 1x1 convolution of a block (ResNet v1)", "3x3": "in the 3x3 of a block (ResNet v1.5)"}
TRANSFORMS = {True: "rescaled by the network (transform_input)", False: "as it is given (no transform_input)"}


@dataclass(frozen=True)
class Description:
    """A weights file: its ``format``, size in bytes, SHA-256, each tensor's shape and type by name, and metadata.

    ``model`` is the canonical model whose parameters agree most, None where none does; ``misfit`` then says what does
    not agree, "" where all do. Where all do, ``parameters_sha256`` is the digest that results give as the weights', the
    same in every format, and ``stride`` ("1x1" or "3x3") and ``transform_input`` are as in
    :class:`vizkit.zoo.Conversion`, None where the model has no such thing.
    """

    path: Path
    format: str
    size: int
    sha256: str
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    metadata: dict[str, str]
    model: str | None
    misfit: str = ""
    parameters_sha256: str | None = None
    stride: str | None = None
    transform_input: bool | None = None

    @property
    def count(self) -> int:
        """Numbers in all tensors."""
        return sum(map(math.prod, self.shapes.values()))

    def table(self, width: int | None = None) -> str:
        """All of it as text, for people; what is longer than ``width`` in several lines."""
        types = ", ".join(sorted(set(self.types.values())))
        said = sorted(self.metadata.items())
        facts = {
            "format": FORMATS[self.format],
            "size": f"{self.size:,} bytes",
            "SHA-256": self.sha256,
            "parameters": f"{self.count:,} in {len(self.shapes)} tensors ({types})",
            "model": self._likely(),
            "weights": self.parameters_sha256 and f"{self.parameters_sha256} (the SHA-256 in results)",
            "stride": self.stride and STRIDES[self.stride],
            "input": None if self.transform_input is None else TRANSFORMS[self.transform_input],
        }
        stated = [f"  {key:<10}  {text}" for key, text in facts.items() if text]
        lines = [
            str(self.path),
            *(line for one in stated for line in columns.folded(one, width, " " * 14).splitlines()),
        ]
        lines += [f"  {'says' if not i else '':<10}  {key}: {text[:90]}" for i, (key, text) in enumerate(said)]
        lines.append("")
        rows = [
            (f"  {name}", self.types[name], " x ".join(map(str, shape)) or "one number")
            for name, shape in self.shapes.items()
        ]
        lines += columns.laid(rows, width=width) if rows else []
        # A file decides neither on lines nor on colours of the terminal.
        return "\n".join(line if line.isprintable() else ascii(line)[1:-1] for line in lines)

    def _likely(self) -> str:
        if self.model is None:
            return "none of the canonical ones"
        return f"{self.model}, but not quite. {self.misfit}" if self.misfit else f"{self.model}, every parameter fits"


def describe(path: str | os.PathLike[str]) -> Description:
    """What the weights file ``path`` holds; it need not be of a model that vizkit knows.

    Raises WeightsError for a file that cannot be read.

    >>> print(describe("vgg19-dcbb9e9d.pth").table())  # doctest: +SKIP
    """
    path = Path(path)
    found = formats.read(path)
    shapes = {name: array.shape for name, array in found.params.items()}
    model = likely(shapes, found.format)
    return Description(
        path,
        found.format,
        path.stat().st_size,
        file_hash(path, "sha256"),
        shapes,
        {name: array.dtype.name for name, array in found.params.items()},
        found.metadata,
        model,
        **({} if model is None else _fit(model, found)),
    )


def likely(shapes: Mapping[str, tuple[int, ...]], format: str) -> str | None:
    """The canonical model of which most parameters are there by name and shape, None where fewer than half are."""
    shares = {model: _share(model, shapes, format) for model in CATALOG}
    best = max(shares, key=lambda model: shares[model])
    return best if shares[best] > LIKELY else None


def _share(model: str, shapes: Mapping[str, tuple[int, ...]], format: str) -> float:
    """Parameters that agree, of those in the file or in the model; those that conversion takes care of do not count."""
    named = naming.canonical(model, shapes) if format == "params" else shapes
    beside = naming.bias_norms(model)
    given = {
        name: shape
        for name, shape in named.items()
        if name not in beside and not name.endswith(weights.COUNTER) and not name.startswith(weights.AUXILIARY)
    }
    expected = parameter_shapes(model)
    agreeing = sum(given.get(name) == shape for name, shape in expected.items())
    return agreeing / len(expected.keys() | given.keys())


def _fit(model: str, file: formats.WeightFile) -> dict[str, Any]:
    """What :class:`Description` says of a file that is likely of ``model``."""
    try:
        found = weights.interpret(model, file)
        weights.check(found, parameter_shapes(model), model)
    except WeightsError as error:
        return {"misfit": str(error)}
    return {
        "parameters_sha256": digest(sorted(found.arrays.items())),
        "stride": weights.stride_of(model, found.properties),
        "transform_input": found.properties.get("transform_input"),
    }
