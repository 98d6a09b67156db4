"""Commands that make a page of everything: the demo, the published homework, and the explorer, which is live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..contract.errors import SettingError
from .network import Model
from .options import BackendNames, Backends, Call, Device, Dtype, Seed, Threads, WeightsName, command, opened, tell


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


@command(networks=False)
def explore(
    call: Call,
    model: Model = "shapes",
    images: Annotated[Path | None, Option(help="A folder of pictures to look at, beside the bundled one.")] = None,
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    host: Annotated[str, Option(help="The address to listen at; default: this machine alone.")] = ("127.0.0.1"),
    port: Annotated[int, Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    others: Annotated[
        bool, Option("--yes-others-can-connect", help="Needed for a --host that lets other machines connect.")
    ] = False,
    browser: Annotated[bool, Option("--browser/--no-browser", help="Open the address in the browser.")] = True,
    export: Annotated[Path | None, Option(help="Write a static site of some views into this folder instead.")] = None,
    view: Annotated[
        list[str] | None,
        Option(help="What to export: an address of the explorer, from its #; more than once for more."),
    ] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
) -> None:
    """Look into a network live, in a browser: layers, units, sums, explanations, and units switched off."""
    from ..explore.run import LOCAL
    from ..explore.run import explore as start

    if host not in LOCAL and not others:
        raise SettingError(
            f"--host {host}: others could connect to this machine, bring pictures and have them computed. Add "
            "--yes-others-can-connect if they may."
        )
    if view and export is None:
        raise SettingError("--view says what --export writes: give --export DIR, too.")
    pictures = None if images is None else str(images)
    models = call.load()
    if export is not None:
        from ..explore.export import export as write

        opened(write(models, export, view or (), images=pictures))
        return
    running = start(models, pictures, host=host, port=port, others_can_connect=others, browser=browser)
    with running:
        typer.echo(f"{models[0].name} is open at {running.url}\nStop it with Ctrl-C.")
        try:
            running.wait()
        except KeyboardInterrupt:
            typer.echo("stopped")
