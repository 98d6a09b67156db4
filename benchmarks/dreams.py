"""Feature visualisation beside Lucent and the published recipe: what it reaches, and what a step costs.

    python -m benchmarks.dreams --weights squeezenet1_0.safetensors --out dreams.json

With Lucent's defaults (128 pixels, Fourier, decorrelated colours, Adam at 0.05, 512 steps, pad-jitter-scale-rotate-
jitter, enlarged to 224 for the network), SqueezeNet's mean activation over 16 fixed units of two layers. Every final
picture is judged alike: as it is, clipped to 0..1, at 224 pixels, in PyTorch. ``--folder`` keeps the pictures; those
that are there are not made again. A step is timed against a loop written by hand in the same framework, turn by turn.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import vizkit
from benchmarks.dreams_by_hand import LOOPS
from benchmarks.timing import child, paired, spread, write
from vizkit import objectives, transforms
from vizkit.parametrisations import Fourier
from vizkit.techniques.dreams.optimise import optimiser
from vizkit.techniques.dreams.render import render

NETWORK = "squeezenet1_0"
LAYERS = ("features.7", "features.12")
UNITS = 8
SIZE, SEEN, LR = 128, 224, 0.05
WHO = ("lucent", "vizkit torch", "vizkit gluon", "published recipe")


def units(model: Any, layer: str) -> tuple[int, ...]:
    """Fixed units of a layer, drawn once."""
    count = model.layers[layer].shape[1]
    return tuple(int(one) for one in np.sort(np.random.default_rng(2017).choice(count, UNITS, replace=False)))


def by_lucent(model: Any, layer: str, steps: int) -> Any:
    """Lucent's defaults; one batch, an objective for each of its pictures."""
    import torch
    from lucent.optvis import objectives as theirs
    from lucent.optvis import param
    from lucent.optvis import render as rendering

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002, what Lucent draws from
    wanted = units(model, layer)
    objective = sum(theirs.channel(layer.replace(".", "_"), one, batch=k) for k, one in enumerate(wanted))
    pictures = rendering.render_vis(
        model.native,
        objective,
        lambda: param.image(SIZE, batch=len(wanted)),
        thresholds=(steps,),
        progress=False,
        show_image=False,
    )
    return np.transpose(pictures[-1], (0, 3, 1, 2))


def by_vizkit(model: Any, layer: str, steps: int) -> Any:
    """The same settings here, which are the defaults."""
    wanted = objectives.unit(layer, units(model, layer))
    return render(model, wanted, input_size=SEEN, steps=steps).values


def by_recipe(model: Any, layer: str, steps: int) -> Any:
    """The published recipe with its own schedule of 46 x 20 steps; ``steps`` is not its business."""
    return vizkit.dream(model, layer, units(model, layer)).values


def judge(model: Any, layer: str, pictures: Any, clip: bool = True) -> list[float]:
    """Each picture's mean over its unit's map, at 224 pixels, without transforms. ``model`` is PyTorch's."""
    import torch.nn.functional as F

    values = np.clip(pictures, 0, 1) if clip else pictures
    given = model.ops.asarray(vizkit.images.normalise(values, model.spec))
    x = F.interpolate(given, size=(SEEN, SEEN), mode="bilinear", align_corners=False)
    maps = model.ops.numpy(model.forward(x, (layer,))[layer])
    return [float(maps[k, one].mean()) for k, one in enumerate(units(model, layer))]


MAKERS: dict[str, Callable[[Any, str, int], Any]] = {
    "lucent": by_lucent, "vizkit torch": by_vizkit, "vizkit gluon": by_vizkit, "published recipe": by_recipe,
}  # fmt: skip


def make(who: str, weights: Path, folder: Path, steps: int, threads: int) -> None:
    """Write a contestant's pictures of both layers."""
    vizkit.set_threads(threads)
    backend = "gluon" if who.endswith("gluon") else "torch"
    model = vizkit.load(NETWORK, backend=backend, weights=str(weights))
    for layer in LAYERS:
        file = stored(folder, who, layer, steps)
        if not file.exists():
            np.save(file, MAKERS[who](model, layer, steps))


def stored(folder: Path, who: str, layer: str, steps: int) -> Path:
    """Where pictures of a contestant lie."""
    return folder / f"{who.replace(' ', '-')}-{layer}-{steps}.npy"


def activations(weights: Path, folder: Path, steps: int, who: list[str]) -> dict[str, Any]:
    """Every contestant's activations and their ratios."""
    judging = vizkit.load(NETWORK, backend="torch", weights=str(weights))
    found: dict[str, Any] = {}
    for one in who:
        pictures = {layer: np.load(stored(folder, one, layer, steps)) for layer in LAYERS}
        reached = {layer: judge(judging, layer, made) for layer, made in pictures.items()}
        unclipped = {layer: judge(judging, layer, made, clip=False) for layer, made in pictures.items()}
        found[one] = {
            "activation": reached,
            "mean": float(np.mean(list(reached.values()))),
            "mean_of_layers": {layer: float(np.mean(values)) for layer, values in reached.items()},
            "mean_unclipped": float(np.mean(list(unclipped.values()))),
        }
    for ours in (one for one in who if one.startswith("vizkit")):
        for other in ("lucent", "published recipe"):
            if other in found:
                each = [
                    a / b if b else None
                    for layer in LAYERS
                    for a, b in zip(found[ours]["activation"][layer], found[other]["activation"][layer], strict=True)
                ]
                found[ours][f"ratio_to_{other.replace(' ', '_')}"] = found[ours]["mean"] / found[other]["mean"]
                found[ours][f"ratios_of_units_to_{other.replace(' ', '_')}"] = each
    return {"units": {layer: units(judging, layer) for layer in LAYERS}, "contestants": found}


def time_steps(backend: str, weights: Path, rounds: int, steps: int, threads: int) -> list[dict[str, Any]]:
    """Rendering some steps: by hand, here, and in PyTorch by Lucent; seconds are those of one step."""
    vizkit.set_threads(threads)
    model = vizkit.load(NETWORK, backend=backend, weights=str(weights), optimise=False)
    rows = []
    for layer in LAYERS:
        apart = distance(vizkit.load(NETWORK, backend=backend, weights=str(weights), dtype="float64"), layer)
        if apart > 1e-9:
            raise SystemExit(f"{backend}, {layer}: results differ by {apart}; a timing would mean nothing.")
        by_hand = hand(model, layer)
        contestants: dict[str, Callable[[], Any]] = {
            "floor": lambda loop=by_hand: loop(steps),
            "vizkit": lambda layer=layer: by_loop(model, layer, steps),
        }
        if backend == "torch":
            contestants["lucent"] = lambda layer=layer: by_lucent(model, layer, steps)
        for who, timing in paired("floor", contestants, rounds, warmup=1).items():
            rows.append({
                "backend": backend, "layer": layer, "who": who, "batch": UNITS,
                "ms_per_step": 1000 * timing.median / steps, "ratio": timing.ratio,
                "ratio_quartiles": spread(timing.ratios), "relative_L2_to_floor": apart,
            })  # fmt: skip
    return rows


def hand(model: Any, layer: str) -> Callable[[int], Any]:
    """The loop written by hand, from the same noise."""
    start = Fourier(SIZE).start(np.random.default_rng(0), UNITS)["spectrum"]
    return LOOPS[model.backend](model, layer, units(model, layer), start, transforms.STANDARD, SEEN, LR)


def distance(model: Any, layer: str) -> float:
    """Between the pictures of both loops after two steps, in float64: in float32 Adam's first steps, which are all but
    signs, turn with the rounding of gradients that are next to zero."""
    wanted, made = hand(model, layer)(2), by_loop(model, layer, 2)
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted - 0.5))


def by_loop(model: Any, layer: str, steps: int) -> Any:
    """The renderer's loop alone: pictures after ``steps`` steps, without the evidence that follows."""
    from vizkit.techniques.dreams.ascent import Ascent
    from vizkit.techniques.dreams.climbing import shown

    views = (*transforms.STANDARD, transforms.Resize(SEEN))
    ascent = Ascent(model, objectives.unit(layer, units(model, layer)), views, optimiser("adam", model.ops, LR), 0)
    loop = ascent.begin(Fourier(SIZE), UNITS)
    with model.held():
        for _ in range(steps):
            ascent.step(loop, rescued=False)
    loop.trace.read()
    return shown(model, loop)[0]


def main(
    weights: Annotated[Path, typer.Option(help="SqueezeNet 1.0's ImageNet weights.")],
    out: Annotated[Path | None, typer.Option(help="JSON; parts that are not measured now are kept.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keeps pictures (.npy).")] = None,
    part: Annotated[list[str] | None, typer.Option(help="activation, time; both by default.")] = None,
    steps: int = 512,
    rounds: int = 7,
    timed_steps: int = 6,
    threads: int = 1,
    one: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure, print, and write JSON with versions and processor."""
    if one in WHO and folder is not None:
        make(one, weights, folder, steps, threads)
        typer.echo("[]")
        return
    if one:
        typer.echo(json.dumps(time_steps(one, weights, rounds, timed_steps, threads)))
        return
    installed = {info.name: info for info in vizkit.backends() if info.installed}
    report = json.loads(out.read_text()) if out is not None and out.exists() else {}
    common = ["--weights", weights, "--threads", threads, "--steps", steps]
    with tempfile.TemporaryDirectory() as scratch:
        kept = folder or Path(scratch)
        if "activation" in (part or ["activation"]):
            who = [name for name in WHO if name != "vizkit gluon" or "gluon" in installed]
            for name in who:
                child("benchmarks.dreams", "--one", name, "--folder", kept, *common)
            report["activation"] = {"steps": steps, **activations(weights, kept, steps, who)}
            for name, row in report["activation"]["contestants"].items():
                ratios = [f"{key} {value:.3f}" for key, value in row.items() if key.startswith("ratio_to")]
                typer.echo(f"{name:17} {row['mean']:8.3f}  {'  '.join(ratios)}")
    if "time" in (part or ["time"]):
        rows = []
        for backend in installed:
            timing = ["--rounds", rounds, "--timed-steps", timed_steps]
            rows += child("benchmarks.dreams", "--one", backend, *timing, *common)
        report["time"] = {"threads": threads, "rounds": rounds, "steps": timed_steps, "rows": rows}
        for row in rows:
            low, high = row["ratio_quartiles"]
            typer.echo(
                f"{row['backend']:6} {row['layer']:12} {row['who']:7} {row['ms_per_step']:8.1f} ms a step   "
                f"{row['ratio']:.3f} x floor ({low:.3f} to {high:.3f})"
            )
    write(out, report | {"versions": versions(installed)})


def versions(installed: dict[str, Any]) -> dict[str, Any]:
    """Of everything that took part."""
    from importlib.metadata import version

    return {name: info.versions for name, info in installed.items()} | {
        name: version(name) for name in ("vizkit", "torch-lucent", "kornia")
    }


if __name__ == "__main__":
    typer.run(main)
