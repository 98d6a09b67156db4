"""The command that opens a network in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ..contract.errors import SettingError
from .network import Model
from .options import BackendNames, Call, Device, Dtype, Threads, WeightsName, command, opened


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
