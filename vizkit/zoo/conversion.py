"""A canonical model's weights from one format to another, exactly, without any framework."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from ..contract.errors import SettingError, WeightsWarning, check_known
from . import formats, metadata, naming, store
from .architecture import is_bottleneck, parameter_shapes
from .catalog import CATALOG, spec_of
from .weights import STRIDES, stride_of


@dataclass(frozen=True)
class Conversion:
    """What was converted: ``count`` numbers in ``tensors`` tensors of ``model``, from ``source`` to ``target``, a file.

    ``stride`` is where a bottleneck ResNet strides, "1x1" (v1) or "3x3" (v1.5), None for other networks;
    ``transform_input`` that GoogLeNet rescales its input; ``folded`` how many biases went into batch norms;
    ``left_out`` what else the source held, by name; ``warning`` what another program would compute wrongly from the
    file, or "".
    """

    model: str
    source: str
    target: Path
    count: int
    tensors: int
    stride: str | None
    transform_input: bool
    folded: int
    left_out: tuple[str, ...]
    warning: str


def convert(
    model: str, source: str | os.PathLike[str], target: str | os.PathLike[str], *, stride: str | None = None
) -> Conversion:
    """Write the weights of ``model`` in the format that the suffix of ``target`` names.

    ``model``: one of the canonical names. ``source``: a file of any format, "imagenet" or "torchvision" (torchvision's
    store), "gluon" (MXNet's store), or "random:SEED". ``target``: ``.safetensors`` (canonical names), ``.pth`` (the
    same names, for torchvision) or ``.params`` (the names of Gluon's zoo; GoogLeNet's, which the zoo has not, are those
    of vizkit's own). ``stride``: "1x1" or "3x3", where a bottleneck ResNet strides, for a source that does not say;
    random weights are v1.5 unless told.

    Values are copied bit for bit, half precision as the float32 that holds it. Only what torchvision's ResNet has no
    place for changes: the bias ``b`` of a 1x1 convolution in Gluon's ResNet v1 goes into the batch norm that follows,
    ``mean' = mean - b``, held in float64 where float32 would round it; back in ``.params``, ``mean'`` is two float32
    numbers, a mean and a bias. Counters of training batches and GoogLeNet's auxiliary heads are left out.

    The stride's place, GoogLeNet's ``transform_input`` and the input spec travel as metadata: in the header of
    ``.safetensors``, in the record ``vizkit.json`` of a ``.pth``, behind the names in ``.params``. vizkit reads them
    from all three. torchvision and MXNet load the tensors and know nothing of the metadata; where they would compute
    something else, a WeightsWarning says so, and what to do.

    The file appears whole or not at all; nothing is written unless every parameter is there in its shape.

    Raises UnknownNameError for a model without canonical names, WeightsError for weights that cannot be had, read or
    written, or do not fit, SettingError for a ``stride`` that is none.

    >>> done = convert("squeezenet1_0", "random:7", "squeezenet.params")  # doctest: +SKIP
    >>> done.count, done.tensors  # doctest: +SKIP
    (1248424, 52)
    """
    check_known("model with canonical names", model, CATALOG)
    if stride is not None and stride not in STRIDES:
        raise SettingError(f"stride={stride!r}: expected '1x1' (ResNet v1) or '3x3' (v1.5).")
    if stride is not None and not is_bottleneck(model):
        raise SettingError(f"stride={stride!r}: {model} has no bottlenecks, so its strides have one place only.")
    target = Path(target)
    formats.check_suffix(target)
    found = store.obtain(model, os.fspath(source), store.torchvision_weights, stride)
    properties = dict(found.properties)
    if stride is not None:
        properties["stride_in_1x1"] = STRIDES[stride]
    arrays = {name: found.arrays[name] for name in parameter_shapes(model)}
    if target.suffix == ".params":
        arrays = naming.gluon(model, naming.unfold(model, arrays))
    first = Path(found.origin.file).name if found.origin.file else found.origin.source
    text = metadata.encode(model, found.spec or spec_of(model), properties, found.first_source or first)
    formats.write(target, arrays, text)
    done = Conversion(
        model,
        found.origin.source + (f" ({found.origin.note})" if found.origin.note else ""),
        target,
        sum(array.size for array in found.arrays.values()),
        len(found.arrays),
        stride_of(model, properties),
        properties.get("transform_input", False),
        found.folded,
        found.left_out,
        _warning(model, target.suffix, properties),
    )
    if done.warning:
        warnings.warn(done.warning, WeightsWarning, stacklevel=2)
    return done


def _warning(model: str, suffix: str, properties: dict[str, bool]) -> str:
    """What torchvision or Gluon's zoo would silently compute wrongly, and what to do there."""
    early = stride_of(model, properties)
    if suffix == ".pth" and early == "1x1":
        return (
            f"These are ResNet v1 weights: they stride in the first 1x1 convolution of a block. torchvision's {model} "
            "loads this file and strides in the 3x3, which gives other, wrong, answers. vizkit.load puts the stride "
            "right by itself. In torchvision, swap it before use: for block in net.modules(): if isinstance(block, "
            "torchvision.models.resnet.Bottleneck): block.conv1.stride, block.conv2.stride = block.conv2.stride, "
            "block.conv1.stride"
        )
    if suffix == ".params" and early == "3x3":
        return (
            "These are ResNet v1.5 weights: they stride in the 3x3 convolution of a block. Gluon's "
            f"{CATALOG[model].gluon_name} loads this file and strides in the first 1x1, which gives other, wrong, "
            "answers. vizkit.load puts the stride right by itself."
        )
    if suffix == ".pth" and properties.get("transform_input"):
        return (
            "These weights expect GoogLeNet to rescale its input. vizkit.load does so by itself; in torchvision build "
            "googlenet(weights=None, aux_logits=False, init_weights=False, transform_input=True)."
        )
    return ""
