"""What a weights file says of itself beside its tensors, as text by key: the network, its input, and its properties.

``model`` the canonical name; ``input_size`` (one side or [height, width]), ``resize``, ``mean``, ``std`` and
``labels`` in JSON, as of :class:`vizkit.contract.spec.InputSpec`; ``stride_in_1x1`` and ``transform_input``, ``true``
or ``false``; ``source``, what the weights came from first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract.errors import VizkitError, WeightsError
from ..contract.spec import InputSpec, imagenet_labels, make_spec
from .architecture import is_bottleneck
from .catalog import spec_of

LARGEST = 1024
"""Of any number that describes an input: a file cannot ask for a pass over a picture that fills the memory."""
SPEC = ("input_size", "resize", "mean", "std", "labels")


@dataclass(frozen=True)
class Said:
    """What a file says: None or empty where it does not."""

    spec: InputSpec | None = None
    properties: dict[str, bool] = field(default_factory=dict)
    source: str = ""


def properties_of(model: str) -> tuple[str, ...]:
    """The properties that travel with the weights of a canonical model."""
    if is_bottleneck(model):
        return ("stride_in_1x1",)
    return ("transform_input",) if model == "googlenet" else ()


def encode(model: str, spec: InputSpec, properties: Mapping[str, bool], source: str) -> dict[str, str]:
    """The metadata of a file that vizkit writes. Labels are left out where they are ImageNet's."""
    height, width = spec.size
    out = {"model": model, "input_size": json.dumps(height if height == width else [height, width])}
    out |= {"resize": json.dumps(spec.resize), "mean": json.dumps(spec.mean), "std": json.dumps(spec.std)}
    if spec.labels is not None and spec.labels != imagenet_labels():
        out["labels"] = json.dumps(spec.labels, ensure_ascii=False)
    out |= {name: str(properties.get(name, False)).lower() for name in properties_of(model)}
    return out | {"source": source}


def decode(model: str, metadata: Mapping[str, str], path: Path) -> Said:
    """What a file says, for a canonical model. Raises WeightsError where that cannot be, or is of another model."""
    if metadata.get("model", model) != model:
        raise WeightsError(f"{path} holds weights of {metadata['model']}, not of {model}.")
    properties = {}
    for name in properties_of(model):
        if name in metadata:
            if metadata[name] not in ("true", "false"):
                raise WeightsError(f"{path} says {name}={metadata[name]!r}; expected true or false.")
            properties[name] = metadata[name] == "true"
    return Said(_spec(model, metadata, path), properties, metadata.get("source", ""))


def _spec(model: str, metadata: Mapping[str, str], path: Path) -> InputSpec | None:
    said = {key: metadata[key] for key in SPEC if key in metadata}
    if not said:
        return None
    usual = spec_of(model)
    try:
        found: dict[str, Any] = {key: json.loads(text) for key, text in said.items()}
        size = found.get("input_size", usual.size)
        height, width = (size, size) if isinstance(size, int) else size
        resize = found.get("resize", usual.resize if (height, width) == usual.size else None)
        mean, std = tuple(found.get("mean", usual.mean)), tuple(found.get("std", usual.std))
        if not all(isinstance(one, (int, float)) and abs(one) <= LARGEST for one in (height, width, *mean, *std)):
            raise ValueError(f"numbers of at most {LARGEST} are expected")
        if resize is not None and not (isinstance(resize, int) and 1 <= resize <= LARGEST):
            raise ValueError(f"resize must be 1 to {LARGEST}")
        return make_spec((int(height), int(width)), mean, std, found.get("labels", usual.labels), resize)
    except (ValueError, TypeError, RecursionError, VizkitError) as error:
        shown = ", ".join(f"{key}={text[:60]}" for key, text in said.items())
        raise WeightsError(f"{path} says {shown} of its network's input, which cannot be: {error}.") from None
