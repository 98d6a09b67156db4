"""The command line: the same names, options and defaults as in Python."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import typer

from ..contract.errors import MapWarning, SpeedWarning, VizkitError, WeightsWarning
from ..support.command import COMMAND
from ..support.memory import keep_memory
from . import compare, data, dreams, installation, maps, network, pages, pictures  # noqa: F401
from .checks import Checked
from .options import app

ORDER = (
    "demo", "saliency", "gradcam", "explain", "filters", "features", "dream", "deepdream", "gallery", "invert",
    "predict", "evaluate", "compare", "homework", "layers", "diagram", "receptive", "unit", "health", "statistics",
    "embed", "atlas", "explore", "models", "convert", "weights", "backends", "doctor", "docs",
)  # fmt: skip
INTERRUPTED = 130
STOPPED = (
    "vizkit: stopped; no file is half written. Where a command keeps what is finished, in --state or in the folder "
    "that it writes, the same line goes on from there."
)
CHANGE_NOTHING = ("--out", "--workers", "--scheduler")
"""Options that provenance does not name, since they change no result."""
for registered in app.registered_commands:
    registered.cls = Checked
named = {getattr(one.callback, "__name__", ""): one for one in app.registered_commands}
app.registered_commands[:] = [named.pop(name) for name in ORDER if name in named] + list(named.values())

__all__ = ["app", "main"]


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


def _without_out(given: Sequence[str]) -> list[str]:
    """A command line that makes the same wherever its files lie, and whoever does the work: without --out, --workers
    and --scheduler, and of whole paths the names alone, since what is shown to others names no folder of this
    machine."""
    kept: list[str] = []
    rest = iter(given)
    for one in rest:
        if one in ("-o", *CHANGE_NOTHING):
            next(rest, None)
        elif not one.startswith(("-o", *(f"{name}=" for name in CHANGE_NOTHING))):
            before, equals, value = one.rpartition("=")
            kept.append(before + equals + (Path(value).name if Path(value).is_absolute() else value))
    return kept


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one message on the error stream and exit code 2."""
    with warnings.catch_warnings():
        warnings.showwarning = _say
        keep_memory()
        given = sys.argv[1:] if arguments is None else list(arguments)
        running = COMMAND.set(shlex.join(["vizkit", *_without_out(given)]))
        try:
            app(args=given)
        except (VizkitError, OSError) as error:
            typer.echo(f"vizkit: {error}", err=True)
            sys.exit(2)
        except (KeyboardInterrupt, SystemExit) as end:
            if isinstance(end, SystemExit) and end.code != INTERRUPTED:  # which Typer makes of an interrupt, in silence
                raise
            typer.echo(STOPPED, err=True)
            sys.exit(INTERRUPTED)
        finally:
            COMMAND.reset(running)
