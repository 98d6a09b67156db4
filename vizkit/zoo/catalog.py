"""The networks that carry canonical names (torchvision's) in every backend, and where their weights are published."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract.spec import InputSpec, imagenet_labels
from . import shapes


@dataclass(frozen=True)
class Entry:
    """``torch_file`` in torchvision's store ends in the first digits of its SHA-256. ``gluon_name`` is the network's
    name in Gluon's model zoo, with the SHA-1 of its ``.params``; both empty where the zoo has no such network.
    ``bundled`` is a weights file that comes with vizkit, of a network that no store has."""

    torch_file: str = ""
    gluon_name: str = ""
    gluon_sha1: str = ""
    bundled: str = ""


CATALOG: dict[str, Entry] = {
    "vgg16": Entry("vgg16-397923af.pth", "vgg16", "e660d4569ccb679ec68f1fd3cce07a387252a90a"),
    "vgg19": Entry("vgg19-dcbb9e9d.pth", "vgg19", "ad2f660d101905472b83590b59708b71ea22b2e5"),
    "resnet18": Entry("resnet18-f37072fd.pth", "resnet18_v1", "a0666292f0a30ff61f857b0b66efc0228eb6a54b"),
    "resnet34": Entry("resnet34-b627a593.pth", "resnet34_v1", "48216ba99a8b1005d75c0f3a0c422301a0473233"),
    "resnet50": Entry("resnet50-0676ba61.pth", "resnet50_v1", "0aee57f96768c0a2d5b23a6ec91eb08dfb0a45ce"),
    "resnet101": Entry("resnet101-63fe2227.pth", "resnet101_v1", "d988c13d6159779e907140a638c56f229634cb02"),
    "resnet152": Entry("resnet152-394f9c45.pth", "resnet152_v1", "671c637a14387ab9e2654eafd0d493d86b1c8579"),
    "googlenet": Entry("googlenet-1378be20.pth"),
    "squeezenet1_0": Entry("squeezenet1_0-b66bff10.pth", "squeezenet1.0", "264ba4970a0cc87a4f15c96e25246a1307caf523"),
    "squeezenet1_1": Entry("squeezenet1_1-b8a52dc0.pth", "squeezenet1.1", "33ba0f93753c83d86e1eb397f38a667eaf2e9376"),
    "shapes": Entry(bundled="shapes.safetensors"),
}


def spec_of(model: str) -> InputSpec:
    """The input of a canonical network trained as published."""
    if model == "shapes":
        return InputSpec((shapes.INPUT_SIZE,) * 2, shapes.INPUT_SIZE, shapes.MEAN, shapes.STD, shapes.CLASSES)
    return imagenet_spec()


def imagenet_spec() -> InputSpec:
    """224 x 224 RGB, shorter side to 256 first, ImageNet's mean and standard deviation, 1000 labels."""
    return InputSpec((224, 224), 256, labels=imagenet_labels())
