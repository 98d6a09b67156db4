"""The command that opens the documentation."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from .app import app


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
