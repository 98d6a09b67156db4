"""Commands that list what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .app import app
from .options import BackendNames, WeightsName


@app.command()
def models(backend: BackendNames = None) -> None:
    """Names of all networks, those with canonical layer names in every backend first."""
    from .. import api
    from ..zoo.catalog import CATALOG

    for name in backend or [found.name for found in api.backends() if found.installed]:
        known = api.models(name)
        shared = [one for one in known if one in CATALOG]
        typer.echo(f"{name}: {' '.join(shared)}")
        typer.echo(f"  under {name}'s own layer names: {' '.join(one for one in known if one not in CATALOG)}")


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="A name from `vizkit models`.")] = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "random:0",
) -> None:
    """Every observable layer of a network: name, kind, and output shape for one image."""
    for one in options.load(model, backend, weights, "cpu", "float32", None):
        typer.echo(f"{one.name} in {one.backend}: {len(one.layers)} layers")
        width = max(len(name) for name in one.layers)
        for layer in one.layers.values():
            typer.echo(f"  {layer.name:<{width}}  {layer.kind:<18}  {' x '.join(map(str, layer.shape))}")


@app.command()
def backends() -> None:
    """Which backends are installed, with versions and devices, and how to install the others."""
    from .. import api

    for found in api.backends():
        if found.installed:
            versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
            typer.echo(f"{found.name}: {versions}; devices {', '.join(found.devices)}")
        else:
            typer.echo(f"{found.name}: not installed; {found.install}")
