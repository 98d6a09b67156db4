"""The command line's root."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

app = typer.Typer(
    name="vizkit",
    help="CNN visualisation, written once and proved equal on MXNet Gluon and PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from ..support.version import VERSION

        typer.echo(f"vizkit {VERSION}")
        raise typer.Exit
