"""The command that examines this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Option

from .app import app
from .options import Dtype, Seed, Threads


@app.command()
def doctor(
    backend: Annotated[
        list[str] | None, Option("--backend", "-b", help="One of `vizkit backends`; repeat. Default: all installed.")
    ] = None,
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
