"""The command that reproduces the published homework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .options import Call, Device, Seed, Threads, command, opened, tell


@command(networks=False)
def homework(
    call: Call,
    photo: Annotated[
        str | None, Argument(metavar="[PHOTO]", help="An image file; the bundled photo of a cat if none is given.")
    ] = None,
    backend: Annotated[
        str | None, Option("--backend", "-b", help="gluon or torch. Default: gluon where it is installed.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        Option("--weights", "-w", help="As for other commands, for all networks; or NAME=FILE for one of them."),
    ] = None,
    as_published: Annotated[
        bool, Option("--as-published", help="First what the notebook computed, then the correct result.")
    ] = False,
    language: Annotated[str, Option(help="en, or zh: Traditional Chinese.")] = "en",
    notebook: Annotated[Path | None, Option(help="Also write it as a runnable notebook, FILE.ipynb.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    out: Annotated[Path, Option("--out", "-o", help="The folder: new, empty, or an earlier homework's.")] = Path(
        "vizkit-homework"
    ),
) -> None:
    """The published Gluon notebook, section by section, on one page; then the same with GoogLeNet, and its dream."""
    from ..reports.homework import make, weights_of
    from ..zoo import loading as api

    if threads is not None:
        api.set_threads(threads)
    page = make(photo, **call.settings(make) | {"weights": weights_of(weights)}, tell=tell)
    if notebook is not None:
        typer.echo(f"wrote {notebook}")
    opened(page)
