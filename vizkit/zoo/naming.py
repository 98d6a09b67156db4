"""Parameter names of Gluon's zoo against canonical ones, and the biases that only the zoo's ResNet v1 has.

A ``.params`` file names its parameters by structure (``features.4.0.body.0.weight``) or, before MXNet 1.3, by kind and
number (``stage1_conv0_weight``; the published SqueezeNets are such files), with the network's own prefix where it was
exported with its graph (``resnetv10_stage1_conv0_weight``). All are read; the first is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from ..contract.ops import Array
from .architecture import is_bottleneck, parameter_shapes
from .catalog import CATALOG
from .names import PARAMETER_OF_NORM, gluon_paths

T = TypeVar("T")


def canonical(model: str, given: Mapping[str, T]) -> dict[str, T]:
    """What ``given`` holds by a name of Gluon's, under canonical names; a name that is not Gluon's is kept as it is."""
    dotted = any("." in name for name in given)
    table = _table(model, _paths(model), ".") if dotted else _table(model, _numbered(model), "_")
    prefix = "" if dotted else _prefix(given)
    return {table.get(name.removeprefix(prefix), name): value for name, value in given.items()}


def gluon(model: str, given: Mapping[str, T]) -> dict[str, T]:
    """What ``given`` holds by canonical name, under the names that ``load_parameters`` of Gluon's network expects, in
    the network's order."""
    return {path: given[name] for path, name in _table(model, _paths(model), ".").items() if name in given}


def bias_norms(model: str) -> dict[str, str]:
    """The biases that Gluon's bottlenecks have and torchvision's have not, and the batch norm's mean after each.

    >>> bias_norms("resnet50")["layer1.0.conv1.bias"]
    'layer1.0.bn1.running_mean'
    """
    if not is_bottleneck(model):
        return {}
    means = [name for name in parameter_shapes(model) if name.endswith((".bn1.running_mean", ".bn3.running_mean"))]
    return {name.replace(".bn", ".conv").replace("running_mean", "bias"): name for name in means}


def fold(model: str, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """The biases of :func:`bias_norms` taken into the means, ``mean - bias``, and how many there were.

    A batch norm subtracts its mean from what the convolution gives, bias included, so nothing changes. The difference
    is kept in float64 where float32 would round it.
    """
    out = dict(arrays)
    count = 0
    for bias, mean in bias_norms(model).items():
        if bias in out and mean in out and out[bias].shape == out[mean].shape:
            exact = out[mean].astype(np.float64) - out.pop(bias).astype(np.float64)
            rounded = exact.astype(out[mean].dtype)
            out[mean] = rounded if np.array_equal(rounded, exact) else exact
            count += 1
    return out, count


def is_folded(model: str, arrays: Mapping[str, Array]) -> bool:
    """Whether a mean is of another type than its convolution's weight, as :func:`fold` leaves it."""
    means = ((bias.replace("bias", "weight"), mean) for bias, mean in bias_norms(model).items())
    return any(arrays[weight].dtype != arrays[mean].dtype for weight, mean in means if {weight, mean} <= arrays.keys())


def unfold(model: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """With the biases that Gluon's bottlenecks need: what a mean exceeds its own rounding by, mostly nothing.

    ``mean = rounded - bias`` with both in the type of the convolution's weight, so that two float32 numbers hold 48
    bits of a folded mean.
    """
    out = dict(arrays)
    for bias, mean in bias_norms(model).items():
        exact = out[mean].astype(np.float64)
        kind = out[bias.replace("bias", "weight")].dtype
        out[mean] = exact.astype(kind)
        out[bias] = (out[mean] - exact).astype(kind)
    return out


def _layers(model: str) -> dict[str, str]:
    """Every layer with parameters, in order, and its kind in MXNet's words."""
    shapes = parameter_shapes(model)
    kinds = {}
    for name, shape in shapes.items():
        layer, _, parameter = name.rpartition(".")
        if parameter == "weight":
            norm = f"{layer}.running_mean" in shapes
            kinds[layer] = "batchnorm" if norm else "conv" if len(shape) == 4 else "dense"
    return kinds


def _paths(model: str) -> dict[str, str]:
    """Where each layer with parameters is in Gluon's network; under its own name where the zoo has no such network."""
    paths = gluon_paths(model) if CATALOG[model].gluon_name else {}
    return {layer: paths.get(layer, layer).removesuffix(".act:input") for layer in _layers(model)}


def _numbered(model: str) -> dict[str, str]:
    """The name that each layer had before MXNet 1.3: its kind, counted in the network or in a ResNet's stage."""
    seen: Counter[str] = Counter()
    out = {}
    for layer, kind in _layers(model).items():
        stage = f"stage{layer[5]}_" if layer.startswith("layer") else ""
        out[layer] = f"{stage}{kind}{seen[stage + kind]}"
        seen[stage + kind] += 1
    return out


def _table(model: str, paths: Mapping[str, str], separator: str) -> dict[str, str]:
    """Gluon's name of each parameter, biases that only Gluon has included, to the canonical one."""
    kinds, biases = _layers(model), bias_norms(model)
    out = {}
    for name in parameter_shapes(model):
        layer, _, parameter = name.rpartition(".")
        own = PARAMETER_OF_NORM[parameter] if kinds[layer] == "batchnorm" else parameter
        out[f"{paths[layer]}{separator}{own}"] = name
        if f"{layer}.bias" in biases:
            out[f"{paths[layer]}{separator}bias"] = f"{layer}.bias"
    return out


def _prefix(names: Mapping[str, object]) -> str:
    """The network's own prefix: what stands before the first underscore, where all names share it."""
    heads = {name.partition("_")[0] for name in names}
    return f"{heads.pop()}_" if len(heads) == 1 else ""
