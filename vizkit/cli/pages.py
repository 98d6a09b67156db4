"""Commands that write a page of everything: the demo, and the published homework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .options import Backends, Call, Device, Seed, Threads, WeightsName, command, opened, tell


@command(networks=False)
def demo(
    call: Call,
    photo: Annotated[
        str | None, Argument(metavar="[PHOTO]", help="An image file; samples of shapes when none is given.")
    ] = None,
    model: Annotated[str | None, Option("--model", "-m", help="Default: shapes, or vgg19 for a photo.")] = None,
    backend: Backends = None,
    weights: WeightsName = "imagenet",
    seed: Seed = 0,
    threads: Threads = None,
    out: Annotated[Path, Option("--out", "-o", help="The folder: new, empty, or an earlier demo's.")] = Path(
        "vizkit-demo"
    ),
) -> None:
    """Everything on one page, with no download: a folder of pictures and a self-contained index.html."""
    from ..reports.demo import make

    call.set_threads()
    opened(make(photo, **call.settings(make), tell=tell))


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

    call.set_threads()
    page = make(photo, **call.settings(make) | {"weights": weights_of(weights)}, tell=tell)
    if notebook is not None:
        typer.echo(f"wrote {notebook}")
    opened(page)
