"""Canonical layer names (torchvision's) against the structural paths of Gluon's model zoo.

A path ending in ``:input`` means what enters that block: Gluon's ``Dense(activation="relu")`` holds the ReLU as a child
block ``act``, so the value before it is observable there.
"""

from __future__ import annotations

RESNET_BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
BASIC_RESNETS = ("resnet18", "resnet34")
VGG_FEATURES = {"vgg16": 31, "vgg19": 37}
SQUEEZENET_FIRES = {"squeezenet1_0": (3, 4, 5, 7, 8, 9, 10, 12), "squeezenet1_1": (3, 4, 6, 7, 9, 10, 11, 12)}
PARAMETER_OF_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}


def gluon_paths(model: str) -> dict[str, str]:
    """Canonical layer name to structural path in Gluon's zoo network, for the models that the zoo has.

    >>> gluon_paths("vgg19")["classifier.4"]
    'features.39'
    """
    if model in VGG_FEATURES:
        return _vgg(VGG_FEATURES[model])
    if model in RESNET_BLOCKS:
        return _resnet(RESNET_BLOCKS[model], basic=model in BASIC_RESNETS)
    if model in SQUEEZENET_FIRES:
        return _squeezenet(SQUEEZENET_FIRES[model])
    raise KeyError(f"{model}: no paths are given here; a network of the catalog that Gluon has needs them.")


def _vgg(count: int) -> dict[str, str]:
    paths = {f"features.{i}": f"features.{i}" for i in range(count)}
    paths["features"] = f"features.{count - 1}"
    for dense, at in ((0, count), (3, count + 2)):
        paths[f"classifier.{dense}"] = f"features.{at}.act:input"
        paths[f"classifier.{dense + 1}"] = f"features.{at}"
        paths[f"classifier.{dense + 2}"] = f"features.{at + 1}"
    return paths | {"classifier.6": "output", "classifier": "output"}


def _resnet(blocks: tuple[int, ...], basic: bool) -> dict[str, str]:
    paths = {"conv1": "features.0", "bn1": "features.1", "relu": "features.2", "maxpool": "features.3"}
    parts = (("conv1", 0), ("bn1", 1), ("conv2", 3), ("bn2", 4)) + (() if basic else (("conv3", 6), ("bn3", 7)))
    for stage, count in enumerate(blocks):
        paths[f"layer{stage + 1}"] = f"features.{stage + 4}"
        for i in range(count):
            block, path = f"layer{stage + 1}.{i}", f"features.{stage + 4}.{i}"
            paths[block] = path
            paths |= {f"{block}.{name}": f"{path}.body.{at}" for name, at in parts}
            if i == 0 and not (basic and stage == 0):
                paths[f"{block}.downsample"] = f"{path}.downsample"
                paths |= {f"{block}.downsample.{at}": f"{path}.downsample.{at}" for at in (0, 1)}
    return paths | {"avgpool": "features.8", "fc": "output"}


def _squeezenet(fires: tuple[int, ...]) -> dict[str, str]:
    paths = {f"features.{i}": f"features.{i}" for i in range(13)}
    paths["features"] = "features.12"
    for i in fires:
        for name, path in (("squeeze", "0"), ("expand1x1", "1.0"), ("expand3x3", "1.1")):
            paths[f"features.{i}.{name}"] = f"features.{i}.{path}.0"
            paths[f"features.{i}.{name}_activation"] = f"features.{i}.{path}.1"
    paths |= {"classifier.0": "features.13", "classifier": "output.2"}
    paths |= {f"classifier.{i + 1}": f"output.{i}" for i in range(3)}
    return paths
