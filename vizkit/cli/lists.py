"""Commands that list what there is."""

from __future__ import annotations

import typer

from .app import app
from .options import BackendNames


@app.command()
def models(backend: BackendNames = None) -> None:
    """Names of all networks, those with canonical layer names in every backend first."""
    from ..zoo import loading as api
    from ..zoo.catalog import CATALOG

    for name in backend or [found.name for found in api.backends() if found.installed]:
        known = api.models(name)
        shared = [one for one in known if one in CATALOG]
        typer.echo(f"{name}: {' '.join(shared)}")
        typer.echo(f"  under {name}'s own layer names: {' '.join(one for one in known if one not in CATALOG)}")


@app.command()
def backends() -> None:
    """Which backends are installed, with versions and devices, and how to install the others."""
    from ..zoo import loading as api

    for found in api.backends():
        if found.installed:
            versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
            typer.echo(f"{found.name}: {versions}; devices {', '.join(found.devices)}")
        else:
            typer.echo(f"{found.name}: not installed; {found.install}")
