"""The command line: the same names, options and defaults as in Python."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

import typer

from ..errors import MapWarning, SpeedWarning, VizkitError, WeightsWarning
from ..memory import keep_memory
from . import compare, data, demo, doctor, dreams, homework, lists, maps, network, pictures, weights
from .app import app

ORDER = [
    "demo",
    "saliency",
    "gradcam",
    "explain",
    "filters",
    "features",
    "dream",
    "deepdream",
    "gallery",
    "invert",
    "predict",
    "evaluate",
    "compare",
    "homework",
    "layers",
    "diagram",
    "receptive",
    "unit",
    "health",
    "embed",
    "models",
    "convert",
    "weights",
    "backends",
    "doctor",
]
app.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))

__all__ = [
    "app",
    "compare",
    "data",
    "demo",
    "doctor",
    "dreams",
    "homework",
    "lists",
    "main",
    "maps",
    "network",
    "pictures",
    "weights",
]


def _say(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of vizkit's own is for its reader; others look as they always do."""
    if issubclass(category, (MapWarning, SpeedWarning, WeightsWarning)):
        typer.echo(f"vizkit: warning: {message}", err=True)
    else:
        typer.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one message on the error stream and exit code 2."""
    with warnings.catch_warnings():
        warnings.showwarning = _say
        keep_memory()
        try:
            app(args=None if arguments is None else list(arguments))
        except (VizkitError, OSError) as error:
            typer.echo(f"vizkit: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            typer.echo("vizkit: stopped; nothing half-written was left behind.", err=True)
            sys.exit(130)
