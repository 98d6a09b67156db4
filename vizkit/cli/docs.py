"""The command that opens the documentation."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import app


@app.command()
def docs(
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the browser, or only say where they are.")
    ] = True,
) -> None:
    """These pages in full: guide, methods, notebooks, reference, benchmarks; on this machine, without a network."""
    from ..docs.build import index

    page = index()
    typer.echo(page.as_uri())
    if show:
        typer.launch(page.as_uri())
