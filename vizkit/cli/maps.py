"""Commands on attribution maps: many methods in one figure, and how good each of them is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..contract.errors import SettingError
from . import options
from .app import app
from .options import BackendNames, Device, Dtype, Fit, InputRange, LayerName, Out, Photos, Seed, Threads, WeightsName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..contract.backend import Model
    from ..inputs.images import ImageInput
    from ..zoo.shapes import Samples

Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="An attribution method, or `all`; give it once for each."),
]
DEFAULT_METHODS = ["saliency", "integrated_gradients", "gradcam"]


def _methods(given: list[str] | None, models: Sequence[Model]) -> list[str]:
    from ..reports.explain import NEEDS, controls, methods

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


@app.command()
def explain(
    photo: Photos = None,
    method: Methods = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Class index, label, or all; a row of the figure for each."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="A name from `vizkit models`.")] = "vgg19",
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    layer: LayerName = None,
    overlay: Annotated[bool, typer.Option("--overlay/--bare", help="Over the gray photo, or bare.")] = True,
    scale: Annotated[str, typer.Option("--scale", help="each map to its own end, or common to a method.")] = "each",
    cmap: Annotated[str, typer.Option("--cmap", help="Colour map of maps without signs.")] = "inferno",
    input_range: InputRange = None,
    fit: Fit = None,
    seed: Seed = 0,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Samples at once; default: fit 1 GiB.")] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    save_npz: Annotated[Path | None, typer.Option("--save-npz", help="Keep the raw values, too.")] = None,
    out: Out = None,
) -> None:
    """Many methods in one figure: at most six side by side, targets and backends as rows, controls apart."""
    from ..reports.explain import explain as technique

    work = options.Work(photo, None, out, f"explain-{model}")
    if save_npz is not None and work.folder is not None:
        raise SettingError(f"--save-npz {save_npz}: in a folder each photo has a file of its own; give --out x.npz.")
    models = options.load(model, backend, weights, device, dtype, threads)
    chosen = _methods(method, models)

    def run(some: list[Any], _: Any) -> list[Any]:
        found = technique(
            models,
            some,
            chosen,
            list(target) if target else None,
            layer=layer,
            overlay=overlay,
            scale=scale,
            cmap=cmap,
            seed=seed,
            batch_size=batch_size,
            input_range=input_range or "imagenet",
            fit=fit or "crop",
        )
        if save_npz is not None:
            typer.echo(f"wrote {found.save(save_npz)}")
        if found.values.shape[1] > 1:
            _agreement(found)
        return [found]

    work.write(run, lambda found: found[0].figure())


def _agreement(found: Any) -> None:
    """What each method's maps differ by between the first model and the others."""
    import numpy as np

    first = found.results[0][0]
    for m in range(1, found.values.shape[1]):
        name = found.results[0][m][0].provenance["backend"]
        for k, result in enumerate(first):
            a, b = (np.asarray(found.values[:, i, k], dtype=np.float64) for i in (0, m))
            share = np.linalg.norm(a - b) / (np.linalg.norm(a) or 1.0)
            typer.echo(
                f"{name} against {result.provenance['backend']}: {result.provenance['technique']}: "
                f"relative L2 {share:.2e}"
            )


@app.command()
def evaluate(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTO|FOLDER]...", help="Images or folders of them; samples of shapes when none."),
    ] = None,
    method: Methods = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", help="A metric; default: the usual table.")] = None,
    samples: Annotated[int, typer.Option("--samples", help="Pictures of shapes, when no photo is given.")] = 60,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Default: shapes, or vgg19 with photos.")] = None,
    backend: BackendNames = None,
    weights: WeightsName = "imagenet",
    target: Annotated[str | None, typer.Option("--target", "-t", help="Class index or label; default: top-1.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Rank methods by quality metrics, always beside a random map and an edge filter."""
    from .. import evaluate as judge

    given = _given(photos, samples, seed)
    name = model or ("vgg19" if photos else "shapes")
    for one in options.load(name, backend, weights, device, dtype, threads):
        found = judge.rank(one, given, _methods(method, [one]), metrics=metric or None, target=target, seed=seed)
        typer.echo(f"{one.name} in {one.backend}")
        typer.echo(found.table())
        if out is not None:
            path = out.with_stem(f"{out.stem}-{one.backend}") if backend and len(backend) > 1 else out
            typer.echo(f"wrote {found.save(path)}")


def _given(photos: list[Path] | None, samples: int, seed: int) -> ImageInput | Samples:
    if not photos:
        from ..zoo import shapes

        return shapes.sample(samples, seed=seed)
    return options.photos([str(path) for path in photos])
