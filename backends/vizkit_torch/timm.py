"""Networks of timm, by ``timm/NAME``, where it is installed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import nn

from vizkit.contract.backend import Weights
from vizkit.contract.errors import BackendMissingError, WeightsError, unknown
from vizkit.contract.spec import imagenet_labels, make_spec
from vizkit.support.packages import needed
from vizkit.zoo import weights as zoo

from .modules import floats, obtain

PREFIX = "timm/"
HUB = "hf-hub:"
"""Begins names that timm fetches from Hugging Face's hub."""


def named(name: str) -> Any:
    """The library, and that it has this network. Raises BackendMissingError, UnknownNameError."""
    timm = needed("timm", f"{name!r} is a network of timm", "vizkit[timm]", BackendMissingError)
    own = name.removeprefix(PREFIX)
    if not own.startswith(HUB) and not timm.is_model(own):
        raise unknown("network of timm", own, timm.list_models(), "`timm.list_models()` lists all.")
    return timm


def build(name: str, weights: str) -> tuple[nn.Module, zoo.Parameters]:
    """A network with the number of classes that its weights have, and the weights, with what it expects as input: size,
    normalisation and crop as timm has them; pictures are fitted bilinearly, whatever timm says.

    Raises WeightsError for weights that cannot be had or do not fit.
    """
    timm, own = named(name), name.removeprefix(PREFIX)
    network = _made(timm, own, pretrained=weights == "imagenet")

    def published(_name: str) -> zoo.Parameters:
        arrays = {key: value.detach().float().numpy() for key, value in floats(network).items()}
        return zoo.Parameters(arrays, Weights("imagenet", note="timm's weights"))

    found = obtain(network, name, weights, {"imagenet": published})
    if found.classes is not None:
        network = _made(timm, own, pretrained=False, num_classes=found.classes)
    told = timm.data.resolve_model_data_config(network)
    side = told["input_size"][1:]
    classes: Any = network.num_classes
    labels = imagenet_labels() if classes == zoo.PUBLISHED else None
    resize = math.floor(min(side) / float(told.get("crop_pct", 1.0)))
    spec = make_spec(tuple(side), tuple(told["mean"]), tuple(told["std"]), labels, resize)
    return network, replace(found, spec=spec)


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
