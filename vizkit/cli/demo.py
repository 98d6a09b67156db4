"""The command that shows everything on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .options import Call, Seed, Threads, WeightsName, command, opened, tell


@command(networks=False)
def demo(
    call: Call,
    photo: Annotated[
        str | None, Argument(metavar="[PHOTO]", help="An image file; samples of shapes when none is given.")
    ] = None,
    model: Annotated[str | None, Option("--model", "-m", help="Default: shapes, or vgg19 for a photo.")] = None,
    backend: Annotated[
        list[str] | None, Option("--backend", "-b", help="One of `vizkit backends`; repeat. Default: all installed.")
    ] = None,
    weights: WeightsName = "imagenet",
    seed: Seed = 0,
    threads: Threads = None,
    out: Annotated[Path, Option("--out", "-o", help="The folder: new, empty, or an earlier demo's.")] = Path(
        "vizkit-demo"
    ),
) -> None:
    """Everything on one page, with no download: a folder of pictures and a self-contained index.html."""
    from ..reports.demo import make
    from ..zoo import loading as api

    if threads is not None:
        api.set_threads(threads)
    opened(make(photo, **call.settings(make), tell=tell))
