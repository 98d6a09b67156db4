"""Commands on what is installed: names, backends, whether gradients are right here, and the documentation."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Option

from ..zoo import loading as api
from ..zoo.catalog import CATALOG
from .options import BackendNames, Backends, Dtype, Seed, Threads, app


@app.command()
def models(backend: BackendNames = None) -> None:
    """Names of all networks, those with canonical layer names in every backend first."""
    for name in backend or [found.name for found in api.backends() if found.installed]:
        known = api.models(name)
        shared, own = ([one for one in known if (one in CATALOG) == there] for there in (True, False))
        typer.echo(f"{name}: {' '.join(shared)}" if known else f"{name}: no networks of its own; wrap yours")
        if own:
            typer.echo(f"  under {name}'s own layer names: {' '.join(own)}")


@app.command()
def backends() -> None:
    """Which backends are installed, with versions and devices, and how to install the others."""
    for found in api.backends():
        if found.installed:
            versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
            typer.echo(f"{found.name}: {versions}; devices {', '.join(found.devices)}")
        else:
            typer.echo(f"{found.name}: not installed; {found.install}")


@app.command()
def doctor(
    backend: Backends = None,
    device: Annotated[list[str] | None, Option(help="cpu, cuda:0 or several. Default: all that are there.")] = None,
    dtype: Dtype = "float32",
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Annotated[bool, Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Whether gradients are right on this machine, layer type by layer type; exit code 1 where vizkit's own are not."""
    import sys

    from rich.console import Console

    from ..reports.doctor import doctor as examine
    from ..reports.doctor.result import WIDTH, show

    found = examine(backend=backend, device=device, dtype=dtype, seed=seed, threads=threads)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        show(found, Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH))
    raise typer.Exit(0 if found.right else 1)


@app.command()
def docs(
    show: Annotated[bool, Option("--print", help="Print the address of the pages and open nothing.")] = False,
    anew: Annotated[bool, Option("--build", help="In a checkout: build the pages anew first.")] = False,
) -> None:
    """The documentation, offline, in the browser; in a checkout it is built at the first call."""
    import webbrowser

    from ..docs import pages

    address = pages(anew=anew).as_uri()
    if show or not webbrowser.open(address):
        typer.echo(address)
