"""The parameters of the canonical networks, by name and shape, without any framework: what a file is checked against.

Names and order are those of torchvision's ``state_dict``; its counters ``num_batches_tracked`` and GoogLeNet's
auxiliary heads, which play no part in inference, are left out.
"""

from __future__ import annotations

from functools import lru_cache

from . import shapes
from .names import BASIC_RESNETS, RESNET_BLOCKS, SQUEEZENET_FIRES, VGG_FEATURES

Shapes = dict[str, tuple[int, ...]]
CLASSES = 1000
VGG_CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
FIRST_SQUEEZENET = {"squeezenet1_0": (96, 7), "squeezenet1_1": (64, 3)}
FIRE_WIDTHS = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
INCEPTIONS: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], int]] = {
    "inception3a": (192, 64, (96, 128), (16, 32), 32),
    "inception3b": (256, 128, (128, 192), (32, 96), 64),
    "inception4a": (480, 192, (96, 208), (16, 48), 64),
    "inception4b": (512, 160, (112, 224), (24, 64), 64),
    "inception4c": (512, 128, (128, 256), (24, 64), 64),
    "inception4d": (512, 112, (144, 288), (32, 64), 64),
    "inception4e": (528, 256, (160, 320), (32, 128), 128),
    "inception5a": (832, 256, (160, 320), (32, 128), 128),
    "inception5b": (832, 384, (192, 384), (48, 128), 128),
}
"""Input channels, and the channels of the four branches: 1x1; 1x1 and 3x3; 1x1 and 3x3; 1x1 after the pool."""


@lru_cache(maxsize=16)
def _parameters(model: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    out: Shapes = {}
    if model in VGG_FEATURES:
        _vgg(out, VGG_CONVOLUTIONS[model])
    elif model in RESNET_BLOCKS:
        _resnet(out, RESNET_BLOCKS[model], basic=model in BASIC_RESNETS)
    elif model in SQUEEZENET_FIRES:
        _squeezenet(out, *FIRST_SQUEEZENET[model], SQUEEZENET_FIRES[model])
    elif model == "googlenet":
        _googlenet(out)
    elif model == "shapes":
        out = shapes.parameter_shapes()
    else:
        raise KeyError(f"{model}: no parameters are described here; a network of the catalog needs them.")
    return tuple(out.items())


def parameter_shapes(model: str) -> Shapes:
    """Shapes of all parameters and stored statistics of a canonical model, in torchvision's order.

    Raises KeyError for a model outside the catalog.

    >>> parameter_shapes("resnet50")["layer1.0.conv1.weight"]
    (64, 64, 1, 1)
    """
    return dict(_parameters(model))


def is_bottleneck(model: str) -> bool:
    """Whether it is a ResNet of 1x1, 3x3 and 1x1 convolutions, whose stride may lie in the first or the second."""
    return model in RESNET_BLOCKS and model not in BASIC_RESNETS


def _affine(out: Shapes, name: str, outputs: int, inputs: int, size: int | None = None) -> None:
    """A convolution of ``size`` x ``size``, or a dense layer, with a bias."""
    out[f"{name}.weight"] = (outputs, inputs) if size is None else (outputs, inputs, size, size)
    out[f"{name}.bias"] = (outputs,)


def _normalised(out: Shapes, conv: str, norm: str, outputs: int, inputs: int, size: int) -> None:
    """A convolution without a bias and its batch norm."""
    out[f"{conv}.weight"] = (outputs, inputs, size, size)
    for kind in ("weight", "bias", "running_mean", "running_var"):
        out[f"{norm}.{kind}"] = (outputs,)


def _vgg(out: Shapes, convolutions: tuple[int, ...]) -> None:
    at, inputs = 0, 3
    for stage, count in enumerate(convolutions):
        for _ in range(count):
            outputs = min(64 << stage, 512)
            _affine(out, f"features.{at}", outputs, inputs, 3)
            at, inputs = at + 2, outputs
        at += 1
    for name, outputs, inputs in ((0, 4096, 512 * 7 * 7), (3, 4096, 4096), (6, CLASSES, 4096)):
        _affine(out, f"classifier.{name}", outputs, inputs)


def _resnet(out: Shapes, blocks: tuple[int, ...], basic: bool) -> None:
    _normalised(out, "conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        outputs = width if basic else 4 * width
        for i in range(count):
            block = f"layer{stage + 1}.{i}"
            steps = [(width, inputs, 3), (width, width, 3)]
            if not basic:
                steps = [(width, inputs, 1), (width, width, 3), (outputs, width, 1)]
            for at, step in enumerate(steps, 1):
                _normalised(out, f"{block}.conv{at}", f"{block}.bn{at}", *step)
            if i == 0 and inputs != outputs:
                _normalised(out, f"{block}.downsample.0", f"{block}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    _affine(out, "fc", CLASSES, inputs)


def _squeezenet(out: Shapes, first: int, size: int, fires: tuple[int, ...]) -> None:
    _affine(out, "features.0", first, 3, size)
    inputs = first
    for at, (squeeze, expand) in zip(fires, FIRE_WIDTHS, strict=True):
        _affine(out, f"features.{at}.squeeze", squeeze, inputs, 1)
        _affine(out, f"features.{at}.expand1x1", expand, squeeze, 1)
        _affine(out, f"features.{at}.expand3x3", expand, squeeze, 3)
        inputs = 2 * expand
    _affine(out, "classifier.1", CLASSES, inputs, 1)


def _googlenet(out: Shapes) -> None:
    def basic(name: str, outputs: int, inputs: int, size: int) -> None:
        _normalised(out, f"{name}.conv", f"{name}.bn", outputs, inputs, size)

    for name, outputs, inputs, size in (("conv1", 64, 3, 7), ("conv2", 64, 64, 1), ("conv3", 192, 64, 3)):
        basic(name, outputs, inputs, size)
    for name, (source, one, two, three, pool) in INCEPTIONS.items():
        basic(f"{name}.branch1", one, source, 1)
        for branch, (narrow, wide) in (("branch2", two), ("branch3", three)):
            basic(f"{name}.{branch}.0", narrow, source, 1)
            basic(f"{name}.{branch}.1", wide, narrow, 3)
        basic(f"{name}.branch4.1", pool, source, 1)
    _affine(out, "fc", CLASSES, 1024)
