"""The command line: the same names, options and defaults as in Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from ..errors import VizkitError
from . import lists, maps, pictures
from .app import app

ORDER = "demo saliency explain filters features dream predict evaluate models layers backends".split()
app.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))

__all__ = ["app", "lists", "main", "maps", "pictures"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one message on the error stream and exit code 2."""
    try:
        app(args=None if arguments is None else list(arguments))
    except VizkitError as error:
        typer.echo(f"vizkit: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"vizkit: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("vizkit: stopped; nothing half-written was left behind.", err=True)
        sys.exit(130)
