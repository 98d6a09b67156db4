"""From what the user asked for (``imagenet``, ``random:SEED`` or a file) to parameters by canonical name, checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from ..contract.backend import Array, Weights
from ..contract.errors import SettingError, WeightsError
from ..contract.spec import InputSpec
from . import formats, naming
from . import metadata as saying
from .architecture import is_bottleneck, parameter_shapes
from .catalog import CATALOG, spec_of

Shapes = Mapping[str, tuple[int, ...]]
RESIDUAL_GAIN = 0.25
STRIDES = {"1x1": True, "3x3": False}
COUNTER = "num_batches_tracked"
WRAPPERS = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "encoder.", "student.", "_model.")
"""What training code puts before the names of a network's parameters."""
MOST_WRAPPERS = 4
PUBLISHED = 1000
"""Classes of the published networks."""
AUXILIARY = ("aux1.", "aux2.")


@dataclass(frozen=True)
class Parameters:
    """Arrays by canonical name, where they came from, and what travels with them: ``properties``, of which
    ``stride_in_1x1`` says that a bottleneck strides in its first 1x1 convolution (ResNet v1) and not in the 3x3, and
    ``transform_input`` that GoogLeNet rescales its input itself; and ``spec``, the input, where the file describes it.
    ``left_out`` names what else the file held, ``folded`` counts biases that were taken into batch norms, and
    ``first_source`` is what a converted file was made from, "" where nobody said."""

    arrays: dict[str, Array]
    origin: Weights
    properties: dict[str, bool] = field(default_factory=dict)
    spec: InputSpec | None = None
    left_out: tuple[str, ...] = ()
    folded: int = 0
    first_source: str = ""
    classes: int | None = None
    """How many, where the file's last layer has another number of them than the published network's."""

    def has(self, name: str) -> bool:
        """Whether a property is set; absent means no."""
        return self.properties.get(name, False)

    def input(self, model: str) -> InputSpec:
        """What the network expects: as the file describes it, else as it was published; without labels where it has
        another number of classes."""
        spec = self.spec or spec_of(model)
        return spec if self.classes in (None, len(spec.labels or ())) else replace(spec, labels=None)


def stride_of(model: str, properties: Mapping[str, bool]) -> str | None:
    """Where a bottleneck ResNet strides, "1x1" or "3x3"; None for other networks."""
    if not is_bottleneck(model):
        return None
    return "1x1" if properties.get("stride_in_1x1", False) else "3x3"


def seed_of(weights: str) -> int | None:
    """The seed of ``random:SEED``, None for anything else. Raises SettingError for a seed that is no number."""
    if weights.partition(":")[0] != "random":
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


def from_file(
    model: str, path: str | Path, stride: str | None = None, names: Collection[str] | None = None
) -> Parameters:
    """Read a weights file of any of the three formats; see :func:`interpret`. ``names`` are those of the network's
    parameters; None takes a canonical network's. What wraps them, as in ``module.features.0.weight``, is taken off."""
    found = formats.read(Path(path))
    wanted = parameter_shapes(model) if names is None and model in CATALOG else names or ()
    return interpret(model, replace(found, params=unwrapped(found.params, wanted)), stride)


def unwrapped(arrays: dict[str, Array], names: Collection[str]) -> dict[str, Array]:
    """Arrays whose names all begin with one or several of :data:`WRAPPERS`, without them, where that gives all of
    ``names``; what stands beside them, a loss's own weights, is left out. Else the arrays as they are."""
    waiting = [arrays]
    for _ in range(MOST_WRAPPERS):
        if any(set(names) <= one.keys() for one in waiting):
            break
        waiting = [
            {name.removeprefix(outer): value for name, value in one.items() if name.startswith(outer)}
            for one in waiting
            for outer in WRAPPERS
            if any(name.startswith(outer) for name in one)
        ]
    return next((one for one in waiting if names and set(names) <= one.keys()), arrays)


def headed(found: Parameters, shapes: Shapes) -> tuple[Parameters, Shapes]:
    """Parameters that say how many ``classes`` they tell apart, where that are others than the published thousand, and
    the network's shapes then."""
    heads = [name for name, shape in shapes.items() if shape and shape[0] == PUBLISHED]
    counts = {found.arrays[name].shape[0] for name in heads if name in found.arrays and found.arrays[name].ndim}
    if len(counts) != 1 or counts == {PUBLISHED}:
        return found, shapes
    classes = counts.pop()
    return replace(found, classes=classes), resized(shapes, classes)


def resized(shapes: Shapes, classes: int | None) -> dict[str, tuple[int, ...]]:
    """The shapes of a network whose last layer has so many classes."""
    changed = {name: (classes, *shape[1:]) for name, shape in shapes.items() if shape and shape[0] == PUBLISHED}
    return dict(shapes) if classes is None else {**shapes, **changed}  # type: ignore[dict-item]


def interpret(model: str, found: formats.WeightFile, stride: str | None = None) -> Parameters:
    """What a weights file of any of the three formats holds, under canonical names.

    Left out are counters of training batches and GoogLeNet's auxiliary heads, which play no part in inference.
    ``stride`` ("1x1" or "3x3") says where a bottleneck strides, for a file that does not.

    Raises WeightsError when the file belongs to another model, or leaves open where it strides.
    """
    path = found.path
    arrays = dict(found.params)
    out = tuple(name for name in arrays if name.endswith(COUNTER))
    said = saying.Said()
    folded = 0
    if model in CATALOG:
        said = saying.decode(model, found.metadata, path)
        if found.format == "params":
            arrays = naming.canonical(model, arrays)
        if model == "googlenet":
            out += tuple(name for name in arrays if name.startswith(AUXILIARY) and name not in out)
        if is_bottleneck(model) and "layer1.0.conv3.weight" in arrays:
            biases = naming.bias_norms(model)
            lacking = [name for name in biases if name not in arrays]
            if 0 < len(lacking) < len(biases):
                raise WeightsError(f"{path} lacks {lacking[0]}, and has the like of other blocks. Give the whole file.")
            arrays, folded = naming.fold(model, arrays)
            unclear = found.format == "params" or naming.is_folded(model, arrays)
            said.properties.update(_stride(said.properties, stride, folded, unclear, path))
    if model == "googlenet":
        # Only torchvision's own file carries the auxiliary heads, and it was trained on inputs rescaled to -1..1.
        said.properties.setdefault("transform_input", any(name.startswith(AUXILIARY) for name in out))
    arrays = {name: value for name, value in arrays.items() if name not in out}
    note = f"the state under {found.entry!r}" if found.entry else None
    origin = Weights(str(path), str(path.resolve()), note)
    return Parameters(arrays, origin, said.properties, said.spec, out, folded, said.source)


def _stride(said: Mapping[str, bool], asked: str | None, biases: int, unclear: bool, path: Path) -> dict[str, bool]:
    """Where the bottlenecks of a file stride: as it says, as its biases say, or as the user does.

    A file of Gluon's zoo has the biases of ResNet v1; a ``.pth`` or ``.safetensors`` without a word is torchvision's,
    unless its means are of another type than its weights, as folded ones are.
    """
    known = said.get("stride_in_1x1", True if biases else None)
    if asked is not None:
        if known is not None and known != STRIDES[asked]:
            raise WeightsError(f"{path} strides in its {'first 1x1' if known else '3x3'} convolutions, not {asked}.")
        known = STRIDES[asked]
    if known is None and unclear:
        raise WeightsError(
            f"{path} does not say where its bottlenecks stride: it was saved without the biases of Gluon's ResNet v1 "
            "and without vizkit's metadata. Say it once, `vizkit convert MODEL FILE -o NEW --stride 1x1` (v1) or 3x3 "
            "(v1.5), and give the new file."
        )
    return {} if known is None else {"stride_in_1x1": known}


def obtain(
    model: str,
    wanted: str,
    shapes: Shapes,
    stores: Mapping[str, Callable[[str], Parameters]],
    stride: str | None = None,
    whole: Collection[str] = (),
) -> tuple[Parameters, Shapes]:
    """Parameters of a network, checked, and their shapes, of which those for its classes may be others than the
    ``shapes`` that are given.

    ``wanted``: a word that one of ``stores`` answers, "random:SEED", or a file. ``stride`` is as in :func:`from_file`.
    ``whole`` names whole numbers that are part of the network; what a file says of them is left out.

    Raises WeightsError for weights that cannot be had or do not fit, SettingError for a seed that is none.
    """
    seed = seed_of(wanted)
    if seed is not None:
        found = draw(shapes, seed)
    elif wanted in stores:
        found = stores[wanted](model)
    else:
        found = from_file(model, wanted, stride, shapes)
    found, shapes = headed(found, shapes)
    found = replace(found, arrays={key: value for key, value in found.arrays.items() if key not in whole})
    check(found, shapes, model)
    return found, shapes


def bundled(model: str) -> Parameters:
    """The weights that come with vizkit."""
    name = CATALOG[model].bundled
    found = from_file(model, Path(str(files("vizkit.zoo") / "data" / name)))
    return replace(found, origin=Weights("bundled", name))


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
            "Give weights of this model, or the model that these weights are of; `vizkit weights FILE` says which."
        )
    kinds = [f"{name} as {arrays[name].dtype}" for name in shapes if arrays[name].dtype.kind != "f"]
    if kinds:
        raise WeightsError(f"The weights in {where} hold {kinds[0]}; expected floating-point numbers.")
    strange = [name for name in shapes if not np.isfinite(arrays[name]).all()]
    if strange:
        raise WeightsError(f"The weights in {where} hold values that are not finite, first in {strange[0]}.")
