"""Commands about what a layer sees in many pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from . import data, options
from .data import FOLDER, ModelArgument
from .options import Call, LayerName, command


@command(more={name: option for name, option in FOLDER.items() if name != "dry_run"})
def atlas(
    call: Call,
    model: ModelArgument,
    images: Annotated[
        list[Path] | None, Argument(metavar="[FOLDER]...", help="Folders of images; none: samples of shapes.")
    ] = None,
    layer: LayerName = None,
    method: Annotated[
        str | None, Option(help="umap, tsne or pca; default: umap where it is installed, else tsne.")
    ] = None,
    grid: Annotated[int, Option(help="Cells along each side.")] = 12,
    per_picture: Annotated[int, Option(help="Positions of each picture.")] = 1,
    least: Annotated[int, Option(help="Activations that a cell needs.")] = 1,
    size: Annotated[int, Option(help="Side of a cell's picture in pixels.")] = 64,
    steps: Annotated[int, Option(help="Of the rendering of each cell.")] = 128,
    samples: data.Samples = 480,
    out: Annotated[Path | None, Option("--out", "-o", help="An HTML file; or PNG, PDF, SVG, NPZ.")] = None,
) -> None:
    """An activation atlas of a layer over a folder of images: one page with a map to zoom into."""
    from ..reports.atlas import write
    from ..techniques import activation_atlas as technique

    found = data.pictures(call, images, samples)
    target, loaded = out or Path(f"atlas-{model}.html"), call.load()
    for one, result in zip(loaded, data.each(call, loaded, technique, found, layer), strict=True):
        data.report(result)
        file = options.apart(target, one.backend, len(loaded))
        if file.suffix == ".html":
            options.opened(write(result, file))
        else:
            options.save([result], file)
