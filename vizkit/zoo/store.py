"""The frameworks' own stores of ImageNet weights: addresses, caches and hashes, over :mod:`vizkit.zoo.download`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..contract.errors import WeightsError
from ..support.progress import bytes_bar
from . import download, weights
from .architecture import parameter_shapes
from .catalog import CATALOG


def obtain(
    model: str, wanted: str, imagenet: Callable[[str], weights.Parameters], stride: str | None = None
) -> weights.Parameters:
    """Parameters of a canonical model: ``wanted`` is "imagenet", which ``imagenet`` answers, "torchvision" or "gluon"
    for one of the stores, or as in :func:`vizkit.zoo.weights.obtain`. All stores have the weights that come with
    vizkit's own network."""
    stores = {"imagenet": imagenet, "torchvision": torchvision_weights, "gluon": gluon_weights}
    if CATALOG[model].bundled:
        stores = dict.fromkeys(stores, weights.bundled)
    return weights.obtain(model, wanted, parameter_shapes(model), stores, stride)[0]


def torch_file(model: str, name: str) -> weights.Parameters:
    """A file of torchvision's store, from PyTorch's cache or the network, its hash checked against its name."""
    digest = re.search(r"-([0-9a-f]{8,})\.\w+$", name)
    with bytes_bar(name) as advance:
        path = download.fetch(
            download.torch_repository() + name,
            download.torch_cache() / name,
            sha256_prefix=digest[1] if digest else None,
            progress=advance,
        )
    found = weights.from_file(model, path)
    return replace(found, origin=replace(found.origin, source="imagenet"))


def torchvision_weights(model: str) -> weights.Parameters:
    """torchvision's ImageNet weights of a canonical model."""
    found = torch_file(model, CATALOG[model].torch_file)
    return replace(found, origin=replace(found.origin, note="torchvision's weights"))


def gluon_weights(model: str) -> weights.Parameters:
    """MXNet's ImageNet weights of a canonical model that Gluon's zoo has, from MXNet's cache or the network."""
    entry = CATALOG[model]
    if not entry.gluon_name:
        raise WeightsError(f"Gluon's model zoo has no {model}, so no weights of it; take weights='torchvision'.")
    return gluon_file(model, entry.gluon_name, entry.gluon_sha1)


def gluon_or_torchvision(model: str) -> weights.Parameters:
    """Gluon's own weights, or torchvision's where the zoo has none or its store does not answer; the note says so."""
    if not CATALOG[model].gluon_name:
        found = torchvision_weights(model)
        return replace(found, origin=replace(found.origin, note="torchvision's weights: Gluon's zoo has none"))
    try:
        return gluon_weights(model)
    except WeightsError as first:
        try:
            found = torchvision_weights(model)
        except WeightsError as second:
            raise WeightsError(f"{first}\n\ntorchvision's weights, which would serve too:\n{second}") from None
        note = f"torchvision's weights: MXNet's store did not answer ({str(first).splitlines()[0]})"
        return replace(found, origin=replace(found.origin, note=note))


def gluon_file(model: str, zoo_name: str, sha1: str) -> weights.Parameters:
    """A file of MXNet's store, which names it after the network and the first digits of its SHA-1."""
    name = f"{zoo_name}-{sha1[:8]}"
    with bytes_bar(name) as advance:
        path = download.fetch_zipped(
            f"{download.mxnet_repository()}gluon/models/{name}.zip",
            download.mxnet_cache() / f"{name}.params",
            sha1=sha1,
            progress=advance,
        )
    found = weights.from_file(model, path)
    return replace(found, origin=replace(found.origin, source="imagenet", note="Gluon zoo's weights"))
