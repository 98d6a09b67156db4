"""Commands on attribution maps: many methods in one figure, and how good each of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from .. import evaluate as judge
from ..contract.backend import Model
from ..contract.errors import SettingError
from ..inputs.images import ImageInput
from ..reports.explain import NEEDS, controls, methods
from ..reports.explain import explain as technique
from ..support import columns
from ..zoo import shapes
from ..zoo.shapes import Samples
from . import options, photos
from .options import CREW, Call, Fit, InputRange, LayerName, Out, Photos, Seed, command

Methods = Annotated[
    list[str] | None, Option("--method", help="An attribution method, or `all`; give it once for each.")
]
DEFAULT_METHODS = ["saliency", "integrated_gradients", "gradcam"]


def _methods(given: list[str] | None, models: Sequence[Model]) -> list[str]:
    if not given:
        return DEFAULT_METHODS
    if given != ["all"]:
        return given
    found, every = list(methods(models)), methods()
    for need, (has, lack) in NEEDS.items():
        left_out = [name for name, one in every.items() if name not in found and hasattr(one, need)]
        if left_out:
            names = " and ".join(sorted({model.name for model in models if not has(model)}))
            typer.echo(f"left out {', '.join(left_out)}: {names} {lack}.", err=True)
    return [*found, *controls()]


def _list(wanted: bool) -> None:
    if wanted:
        from ..reports.families import table

        typer.echo(table(columns.terminal()))
        raise typer.Exit


@command("vgg19", more=CREW)
def explain(
    call: Call,
    photo: Photos = None,
    method: Methods = None,
    target: Annotated[
        list[str] | None, Option("--target", "-t", help="Class index, label, or all; a row of the figure for each.")
    ] = None,
    layer: LayerName = None,
    overlay: Annotated[bool, Option("--overlay/--bare", help="Over the gray photo, or bare.")] = True,
    scale: Annotated[str, Option(help="each map to its own end, or common to a method.")] = "each",
    cmap: Annotated[str, Option(help="Colour map of maps without signs.")] = "inferno",
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    batch_size: Annotated[int | None, Option(help="Samples at once; default: as many as fit.")] = None,
    save_npz: Annotated[Path | None, Option(help="Keep the raw values, too.")] = None,
    out: Out = None,
    list_: Annotated[
        bool, Option("--list", help="All methods by family, and when to believe each.", is_eager=True, callback=_list)
    ] = False,
) -> None:
    """Many methods in one figure: at most six side by side, targets and backends as rows, controls apart."""
    work = photos.Work(photo, None, out, f"explain-{call.name}")
    if save_npz is not None and work.folder is not None:
        raise SettingError(f"--save-npz {save_npz}: in a folder each photo has a file of its own; give --out x.npz.")
    models = call.load()
    chosen = _methods(method, models)

    settings = {"methods": chosen, "targets": list(target) if target else None, **call.settings(technique)}
    if work.folder is None:
        found = _explained(models, work.photos, None, settings)
        if save_npz is not None:
            typer.echo(f"wrote {found[0].save(save_npz)}")
        work.write(models, lambda *_: found, _figure, _agreement)
        return
    apart = {name: value for name, value in settings.items() if name not in CREW}
    work.write(models, partial(_explained, settings=apart), _figure, _agreement, **call.crew)


def _explained(models: Sequence[Model], some: list[Any], _: Any, settings: Mapping[str, Any]) -> list[Any]:
    return [technique(models, some, **settings)]


def _figure(found: Sequence[Any]) -> Any:
    return found[0].figure()


def _agreement(results: Sequence[Any]) -> list[str]:
    """What each method's maps differ by between the first model and the others."""
    from ..reports.page import difference

    found, lines = results[0], []
    for k, first in enumerate(found.results[0][0]):
        named = [(row[k].provenance["backend"], found.values[:, m, k]) for m, row in enumerate(found.results[0])]
        for one in difference(first.provenance["technique"], named):
            lines.append(f"{one.against}: {one.what}: relative L2 {columns.deviation(one.l2)}")
    return lines


@command(more=CREW)
def evaluate(
    call: Call,
    photos: Annotated[
        list[Path] | None,
        Argument(metavar="[PHOTO|FOLDER]...", help="Images or folders of them; samples of shapes when none."),
    ] = None,
    method: Methods = None,
    metric: Annotated[list[str] | None, Option(help="A metric; default: the usual table.")] = None,
    samples: Annotated[int, Option(help="Pictures of shapes, when no photo is given.")] = 60,
    model: Annotated[str | None, Option("--model", "-m", help="Default: shapes, or vgg19 with photos.")] = None,
    target: Annotated[str | None, Option("--target", "-t", help="Class index or label; default: top-1.")] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            help="PNG, PDF or SVG; CSV or TXT for the table; NPZ with the raw values. Of two backends a file each.",
        ),
    ] = None,
) -> None:
    """Rank methods by quality metrics, always beside a random map and an edge filter."""
    given = _given(photos, samples, seed)
    call.given["model"] = model or ("vgg19" if photos else "shapes")
    networks = call.load()
    for one in networks:
        wanted = {"metrics": metric or None, "target": target, "seed": seed, **call.crew}
        found = judge.rank(one, given, _methods(method, [one]), **wanted)
        typer.echo(f"{one.name} in {one.backend}")
        typer.echo(found.table(columns.terminal()))
        if out is not None:
            typer.echo(f"wrote {found.save(options.apart(out, one.backend, len(networks)))}")


def _given(photo: list[Path] | None, samples: int, seed: int) -> ImageInput | Samples:
    if not photo:
        return shapes.sample(samples, seed=seed)
    return photos.given([str(path) for path in photo])
