"""The command that shows everything on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import Seed, Threads, WeightsName


@app.command()
def demo(
    photo: Annotated[
        str | None, typer.Argument(metavar="[PHOTO]", help="An image file; samples of shapes when none is given.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Default: shapes, or vgg19 for a photo.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", "-b", help="One of `vizkit backends`; repeat. Default: all installed."),
    ] = None,
    weights: WeightsName = "imagenet",
    seed: Seed = 0,
    threads: Threads = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder: new, empty, or an earlier demo's.")] = Path(
        "vizkit-demo"
    ),
) -> None:
    """Everything on one page, with no download: a folder of pictures and a self-contained index.html."""
    from ..reports.demo import make
    from ..zoo import loading as api

    if threads is not None:
        api.set_threads(threads)
    page = make(
        photo,
        model=model,
        backend=backend,
        weights=weights,
        out=out,
        seed=seed,
        tell=lambda note: typer.echo(note, err=True),
    )
    typer.echo(f"wrote {page.resolve()}; open it in a browser: {page.resolve().as_uri()}")
