"""From what the user asked for (``imagenet``, ``random:SEED`` or a file) to parameters by canonical name, checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from ..backend import Array, Weights
from ..errors import SettingError, WeightsError
from . import formats
from .catalog import CATALOG
from .names import gluon_paths

Shapes = Mapping[str, tuple[int, ...]]
RESIDUAL_GAIN = 0.25
PROPERTIES = ("stride_in_1x1", "v1_biases", "transform_input")


@dataclass(frozen=True)
class Parameters:
    """Arrays by canonical name, where they came from, and the properties that travel with the weights:
    ``stride_in_1x1`` (a bottleneck strides in its first 1x1 convolution, ResNet v1, not in the 3x3), ``v1_biases`` (its
    first and last 1x1 convolutions have a bias) and ``transform_input`` (GoogLeNet rescales its input itself)."""

    arrays: dict[str, Array]
    origin: Weights
    properties: dict[str, bool] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a property is set; absent means no."""
        return self.properties.get(name, False)


def seed_of(weights: str) -> int | None:
    """The seed of ``random:SEED``, None for anything else. Raises SettingError for a seed that is no number."""
    if not weights.startswith("random"):
        return None
    match = re.fullmatch(r"random:(\d+)", weights)
    if not match:
        raise SettingError(f"weights={weights!r}: random weights are written random:SEED, for example random:7.")
    return int(match[1])


def draw(shapes: Shapes, seed: int) -> Parameters:
    """Random, well-conditioned parameters, each drawn in NumPy from its seed and its own name.

    Convolution and dense weights are normal with variance 2 / fan-in (He et al. 2015, arXiv 1502.01852), biases and
    batch norm's shifts and means normal (0, 0.1), its scales uniform in 0.8..1.2, its variances in 0.7..1.4. The scale
    that ends a residual branch is a quarter of that, so that 50 blocks do not double the variance 50 times.
    """
    blocks = {name[: -len(".conv1.weight")] for name in shapes if name.endswith(".conv1.weight")}
    last = {next((f"{block}.bn{i}" for i in (3, 2) if f"{block}.bn{i}.weight" in shapes), "") for block in blocks}
    arrays = {}
    for name, shape in shapes.items():
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        rng = np.random.default_rng([seed, key])
        layer, _, kind = name.rpartition(".")
        if len(shape) > 1:
            value = rng.standard_normal(shape, dtype=np.float32)
            value *= np.float32(np.sqrt(2.0 / np.prod(shape[1:])))
        elif kind in ("weight", "gamma"):
            value = rng.uniform(0.8, 1.2, shape).astype(np.float32) * np.float32(RESIDUAL_GAIN if layer in last else 1)
        elif kind == "running_var":
            value = rng.uniform(0.7, 1.4, shape).astype(np.float32)
        else:
            value = np.float32(0.1) * rng.standard_normal(shape, dtype=np.float32)
        arrays[name] = value
    return Parameters(arrays, Weights(f"random:{seed}"))


def from_file(model: str, path: str | Path) -> Parameters:
    """Read a weights file of any of the three formats under canonical names.

    Raises WeightsError when the file cannot be read or belongs to another model.
    """
    found = formats.read(Path(path))
    meta = dict(found.metadata)
    if meta.get("model") and meta["model"] != model:
        raise WeightsError(f"{path} holds weights of {meta['model']}, not of {model}.")
    properties: dict[str, bool] = {key: meta[key] == "true" for key in PROPERTIES if key in meta}
    arrays = dict(found.params)
    if found.format == "params" and model in CATALOG and CATALOG[model].gluon_name:
        arrays = canonical(model, arrays)
        bottleneck = "layer1.0.conv3.weight" in arrays
        properties = {"stride_in_1x1": bottleneck, "v1_biases": "layer1.0.conv1.bias" in arrays}
    if model == "googlenet":
        auxiliary = [name for name in arrays if name.startswith(("aux1.", "aux2."))]
        # Only torchvision's own file carries the auxiliary heads, and it was trained on inputs rescaled to -1..1.
        properties.setdefault("transform_input", bool(auxiliary))
        arrays = {name: value for name, value in arrays.items() if name not in auxiliary}
    arrays = {name: value for name, value in arrays.items() if not name.endswith("num_batches_tracked")}
    return Parameters(arrays, Weights(str(path), str(Path(path).resolve())), properties)


def bundled(model: str) -> Parameters:
    """The weights that come with vizkit."""
    name = CATALOG[model].bundled
    found = from_file(model, Path(str(files("vizkit.zoo") / "data" / name)))
    return replace(found, origin=Weights("bundled", name))


def canonical(model: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Parameters of Gluon's zoo network under canonical names; a name that is not the zoo's is kept as it is."""
    layers = {path.removesuffix(".act:input"): layer for layer, path in reversed(gluon_paths(model).items())}
    kinds = {"gamma": "weight", "beta": "bias"}
    out = {}
    for name, value in arrays.items():
        path, _, kind = name.rpartition(".")
        out[f"{layers[path]}.{kinds.get(kind, kind)}" if path in layers else name] = value
    return out


def check(found: Parameters, shapes: Shapes, model: str) -> None:
    """Raise WeightsError unless every parameter of the network is there in its shape, and nothing else."""
    where = found.origin.file or found.origin.source
    arrays = found.arrays
    wrong = [
        f"{name}: {tuple(arrays[name].shape)} in the file, {tuple(shape)} in {model}"
        for name, shape in shapes.items()
        if name in arrays and tuple(arrays[name].shape) != tuple(shape)
    ]
    missing = [f"{name} {tuple(shape)} is missing" for name, shape in shapes.items() if name not in arrays]
    extra = [f"{name} {tuple(arrays[name].shape)} has no place in {model}" for name in arrays if name not in shapes]
    faults = wrong + missing + extra
    if faults:
        more = f"\n  … and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise WeightsError(
            f"The weights in {where} do not fit {model}:\n  " + "\n  ".join(faults[:5]) + more + "\n"
            "Give weights of this model, or the model that these weights are of."
        )
    strange = [name for name in shapes if not np.isfinite(arrays[name]).all()]
    if strange:
        raise WeightsError(f"The weights in {where} hold values that are not finite, first in {strange[0]}.")
