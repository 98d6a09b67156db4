"""Networks of timm, by ``timm/NAME``, where it is installed."""

from __future__ import annotations

import importlib
import math
from typing import Any

from torch import nn

from vizkit.contract.backend import Weights
from vizkit.contract.errors import BackendMissingError, WeightsError, unknown
from vizkit.contract.spec import InputSpec, imagenet_labels, make_spec
from vizkit.zoo import weights as zoo

from .modules import floats

PREFIX = "timm/"
HUB = "hf-hub:"
"""Begins names that timm fetches from Hugging Face's hub."""


def named(name: str) -> Any:
    """The library, and that it has this network. Raises BackendMissingError, UnknownNameError."""
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise BackendMissingError(
            f"{name!r} is a network of timm, which this Python does not have. Install it with: pip install "
            "'vizkit[timm]'"
        ) from None
    own = name.removeprefix(PREFIX)
    if not own.startswith(HUB) and not timm.is_model(own):
        raise unknown("network of timm", own, timm.list_models(), "`timm.list_models()` lists all.")
    return timm


def build(name: str, weights: str) -> tuple[nn.Module, zoo.Parameters, InputSpec]:
    """A network with the number of classes that its weights have, the weights, and what it expects as input: size,
    normalisation and crop as timm has them; pictures are fitted bilinearly, whatever timm says.

    Raises WeightsError for weights that cannot be had or do not fit.
    """
    timm, own = named(name), name.removeprefix(PREFIX)
    seed, published = zoo.seed_of(weights), weights == "imagenet"
    network = _made(timm, own, pretrained=published)
    shapes = {name: tuple(value.shape) for name, value in floats(network).items()}
    if published:
        arrays = {key: network.state_dict()[key].detach().float().numpy() for key in shapes}
        found = zoo.Parameters(arrays, Weights("imagenet", note="timm's weights"))
    elif seed is not None:
        found = zoo.draw(shapes, seed)
    else:
        found, every = zoo.headed(zoo.from_file(name, weights, names=shapes), shapes)
        if found.classes is not None:
            network, shapes = _made(timm, own, pretrained=False, num_classes=found.classes), dict(every)
        found = zoo.reduced(found, [key for key in network.state_dict() if key not in shapes])
    zoo.check(found, shapes, name)
    told = timm.data.resolve_model_data_config(network)
    side = told["input_size"][1:]
    classes: Any = network.num_classes
    labels = imagenet_labels() if classes == zoo.PUBLISHED else None
    resize = math.floor(min(side) / float(told.get("crop_pct", 1.0)))
    return network, found, make_spec(tuple(side), tuple(told["mean"]), tuple(told["std"]), labels, resize)


def _made(timm: Any, own: str, **options: Any) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(own, **options)
    except Exception as error:  # of the network, of a hub, of a file: timm's own and its libraries'
        if not options["pretrained"] and not own.startswith(HUB):
            raise
        raise WeightsError(
            f"timm could not fetch the weights of {own!r} ({type(error).__name__}: {str(error).splitlines()[0]}). Give "
            "a file, or weights='random:7'."
        ) from None
    return network
