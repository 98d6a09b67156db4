"""The tables of README and of the documentation, from files that commands here wrote. Nothing in them is typed by hand.

python -m benchmarks.readme methods     # run the oracle tests and the localisation study, then write the table
python -m benchmarks.readme methods M…  # study these methods alone, and add them
python -m benchmarks.readme write       # only write both anew from the committed results
python -m benchmarks.readme pictures W  # draw README's pictures with SqueezeNet 1.0 weights from the file W
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import folders_paper
from benchmarks import readme_speed as speed
from vizkit.techniques.controls import CONTROLS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
DOCS = ROOT / "vizkit" / "docs" / "pages"
PAGES = (README, DOCS / "benchmarks.md", DOCS / "guide" / "million.md", ROOT / "benchmarks" / "SPEED.md")
SAMPLES = 60
SEED = 2026
SHOWN = 20
"""Methods in README's table of scores."""
app = typer.Typer(add_completion=False)


def localisation(samples: int = SAMPLES, only: Sequence[str] = ()) -> dict[str, Any]:
    """Every attribution method on ``shapes``, or these ``only``, in every installed backend: three metrics against the
    objects' masks."""
    import vizkit
    from vizkit.reports.explain import methods
    from vizkit.zoo import shapes

    found: dict[str, Any] = {}
    given = shapes.sample(samples, seed=SEED)
    for info in vizkit.backends():
        if info.installed:
            model = vizkit.load("shapes", backend=info.name)
            names = list(only or methods([model]))
            metrics = ["pointing_game", "relevance_mass", "relevance_rank"]
            ranking = vizkit.evaluate.rank(model, given, names, metrics=metrics)
            rows = ranking.values.tolist()
            found[info.name] = dict(zip(ranking.methods, rows, strict=True))
    return {"samples": samples, "seed": SEED, "tolerance": shapes.TOLERANCE, "scores": found}


ORACLES = (
    "test_attention_*.py",
    "test_attribution_*.py",
    "test_cams_*.py",
    "test_coalitions.py",
    "test_extremal.py",
    "test_layers_neurons*.py",
    "test_lrp.py",
    "test_perturbation.py",
    "test_relevance_peers.py",
    "test_sobol_hsic.py",
    "test_techniques.py",
)
"""Tests that hand on by how much a method is off."""


def oracles() -> list[dict[str, Any]]:
    """Deviations from the oracles, from a run of the tests that check them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "oracles.json"
        tests = sorted(str(path) for name in ORACLES for path in (ROOT / "tests").glob(f"*/{name}"))
        command = [sys.executable, "-m", "pytest", "-n", "0", *tests, "--oracles", str(path)]
        subprocess.run(command, cwd=ROOT, check=True)
        found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def methods_table(results: dict[str, Any]) -> str:
    """One row a method: oracles with the largest deviation in each backend, and the localisation scores."""
    deviations: dict[tuple[str, str], dict[str, float]] = {}
    for entry in results["oracles"]:
        kind = "max" if "max" in entry else "l2"
        key = (entry["method"], entry["backend"])
        label = entry["oracle"] + ("" if kind == "max" else " (L2)")
        value = float(entry.get("max", entry.get("l2", 0.0)))
        found = deviations.setdefault(key, {})
        found[label] = max(value, found.get(label, 0.0))
    scores = results["localisation"]["scores"]
    first = next(iter(scores))
    rows = []
    for name in _ranked(scores[first]):
        cells = [_oracles(deviations.get((name, backend), {})) for backend in ("torch", "gluon")]
        numbers = [" / ".join(f"{scores[backend][name][k]:.2f}" for backend in scores) for k in range(3)]
        rows.append((f"`{name}`", *cells, *numbers))
    return speed.table(("method", "PyTorch against", "Gluon against", "pointing game", "mass", "rank"), rows)


def _ranked(scores: dict[str, list[float]]) -> list[str]:
    """Methods, the best first, and after them the controls."""
    best = sorted(scores, key=lambda name: -sum(scores[name]))
    return [name for name in best if name not in CONTROLS] + [name for name in best if name in CONTROLS]


def scores_table(results: dict[str, Any]) -> str:
    """One row a method with its localisation scores alone: the best :data:`SHOWN`, and the controls."""
    scores = results["localisation"]["scores"]
    rows = []
    ranked = _ranked(next(iter(scores.values())))
    for name in [*ranked[:SHOWN], *(one for one in ranked[SHOWN:] if one in CONTROLS)]:
        numbers = [" / ".join(f"{found[name][k]:.2f}" for found in scores.values()) for k in range(3)]
        control = "*control:* " if name in CONTROLS else ""
        rows.append((f"{control}`{name}`", *numbers))
    return speed.table(("method", "pointing game", "relevance mass", "relevance rank"), rows)


def _oracles(found: dict[str, float]) -> str:
    return "<br>".join(f"{label}: {value:.0e}" for label, value in sorted(found.items())) or "–"


def shapes_sentence(training: dict[str, Any]) -> str:
    """What the bundled network reached when it was trained."""
    held = training["held_out"]
    worst = min(held["per_class"], key=held["per_class"].get)
    return (
        f"{held['accuracy']:.2%} of {held['samples']} held-out pictures are named rightly ({worst} least, "
        f"{held['per_class'][worst]:.1%}), after {training['seconds'] / 60:.0f} minutes of training; "
        f"{training['parameters']} parameters."
    )


def dreams_sentence(report: dict[str, Any]) -> str:
    """What pictures reached, ours and others', and what a step costs."""
    found = report["activation"]["contestants"]
    means = {who: row["mean"] for who, row in found.items()}
    first = means["vizkit torch"]
    units = sum(len(listed) for listed in report["activation"]["units"].values())
    ours = ", ".join(
        f"{mean:.0f} in {who.split()[1].replace('torch', 'PyTorch').replace('gluon', 'Gluon')}"
        for who, mean in means.items()
        if who.startswith("vizkit")
    )
    lines = [
        f"Mean activation of {units} fixed units of two layers of SqueezeNet 1.0 with ImageNet weights, pictures as "
        f"a screen shows them, enlarged to 224 pixels; {report['activation']['steps']} steps, one seed: vizkit "
        f"{ours}; Lucent {means['lucent']:.0f} (PyTorch's is {first / means['lucent']:.2f} x that); the published "
        f"recipe {means['published recipe']:.0f} ({first / means['published recipe']:.2f} x)."
    ]
    for row in report.get("time", {"rows": []})["rows"]:
        if row["who"] == "vizkit":
            low, high = row["ratio_quartiles"]
            lines.append(
                f"A step on {row['layer']} in {row['backend']} takes {row['ms_per_step']:.0f} ms for {row['batch']} "
                f"pictures, {row['ratio']:.2f} ({low:.2f} to {high:.2f}) x a loop written by hand "
                f"({report['time']['threads']} thread, plain networks)."
            )
    return " ".join(lines)


def rendered(text: str) -> str:
    """A page with each of its tables as the committed results say."""
    tables = {
        "methods": (methods_table, RESULTS / "methods.json"),
        "scores": (scores_table, RESULTS / "methods.json"),
        "floor": (speed.floor_table, RESULTS / "floor.json"),
        "suite": (speed.suite_table, RESULTS / "suite.json"),
        "gpu": (speed.gpu_table, RESULTS / "gpu.json"),
        "relevance": (speed.relevance_table, RESULTS / "relevance.json"),
        "precision": (speed.precision_table, RESULTS / "precision.json"),
        "agreement": (speed.agreement_table, RESULTS / "agreement.json"),
        "dreams": (dreams_sentence, RESULTS / "dreams.json"),
        "folders": (folders_paper.measured, RESULTS / "folders.json"),
        "million": (folders_paper.million, RESULTS / "folders.json"),
        "shapes": (shapes_sentence, ROOT / "vizkit" / "zoo" / "data" / "shapes-training.json"),
    }
    for name, (table, path) in tables.items():
        if path.exists() and f"<!-- {name} -->" in text:
            body = table(json.loads(path.read_text(encoding="utf-8")))
            before, rest = text.split(f"<!-- {name} -->", 1)
            after = rest.split(f"<!-- /{name} -->", 1)[1]
            text = f"{before}<!-- {name} -->\n{body}\n<!-- /{name} -->{after}"
    return text


@app.command()
def write() -> None:
    """Write all tables anew from the committed results."""
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")


def traces(model: Any, layer: str, unit: int) -> tuple[dict[str, Any], Any]:
    """A unit's activation at every step of the published recipe, and of renderings that grow through the same sizes.

    Each picture is measured as it is, without transforms; each trace is drawn over its largest value.
    """
    import numpy as np

    import vizkit
    from vizkit import plotting
    from vizkit.techniques.dreams.evidence import measure
    from vizkit.transforms import Scale

    recipe = vizkit.dream(model, layer, unit, stages=24)
    steps = len(recipe.step_activation) // len(recipe.sizes)
    rms = vizkit.objectives.unit(layer, unit, reduce="rms")
    shown = [("published recipe", recipe.step_activation[:, 0])]
    made = [dict(recipe.provenance)]
    for label, views in (("render", ()), ("render, Scale(0.85, 1.15)", (Scale(0.85, 1.15),))):
        trace: list[float] = []
        grown = vizkit.render(
            model,
            rms,
            steps=steps * len(recipe.sizes),
            sizes=recipe.sizes,
            transforms=views,
            every=1,
            on_frame=lambda _, frame, trace=trace: trace.append(
                measure(model, rms, [frame.transpose(0, 3, 1, 2) / 255])[0][0]
            ),
        )
        shown.append((label, np.array(trace)))
        made.append(dict(grown.provenance))
    figure = plotting.new(8.0, 2.8)
    axes = figure.subplots()
    for label, values in shown:
        starts = np.arange(steps, len(values), steps)
        lost = float(np.median(1 - values[starts] / values[starts - 1]))
        axes.plot(values / values.max(), lw=1, label=f"{label}: {lost:.0%} lost at a stage (median)")
    axes.set_xlabel(
        f"step; {steps} at each of {len(recipe.sizes)} sizes, {recipe.sizes[0]} to {recipe.sizes[-1]} pixels"
    )
    axes.set_ylabel("activation / largest")
    axes.set_title(f"{model.name}, {layer}, unit {unit}")
    axes.legend(frameon=False, fontsize=8)
    return {"results": made}, figure


def hero(maps: Any) -> Any:
    """A photo, its overlay in each framework, and what the maps differ by."""
    import numpy as np

    from vizkit import plotting

    first, second = maps
    gap = np.abs(first.values[0] - second.values[0]) / first.values[0].max()
    figure = plotting.new(11.4, 3.45)
    photo, one, two, last = figure.subplots(1, 4)
    plotting.panel(photo, first.batch.pictures[0], "photo\n")
    for axes, result, name in ((one, first, "PyTorch"), (two, second, "MXNet Gluon")):
        plotting.panel(axes, result.overlay()[0], f"Grad-CAM, {name}\n{result.labels[0]}")
    plotting.panel(last, gap, f"difference: at most {gap.max():.0e}\nof the largest value", cmap="viridis")
    return figure


EXPLORED = "picture=0&layer=features.0&unit=8&y=44&x=29&b=torch&tab=unit&theme=light&lang=en"
"""The explorer's view in README."""


def explorer(models: Any, file: Path) -> None:
    """The explorer's page as a browser shows it, with what it shows in the file."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo
    from playwright.sync_api import sync_playwright

    import vizkit
    from vizkit import results

    made = results.provenance(models[0], "explore", {"view": EXPLORED, "backends": [one.backend for one in models]})
    with vizkit.explore(models, browser=False) as running, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1320, "height": 860})
        page.goto(f"{running.url}#{EXPLORED}")
        page.wait_for_selector("text=The framework computed", timeout=60_000)
        page.wait_for_load_state("networkidle")
        drawn = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    said = PngInfo()
    said.add_itxt(results.PROVENANCE, json.dumps(made))
    drawn.save(file, optimize=True, pnginfo=said)


@app.command()
def pictures(weights: Path) -> None:
    """Draw README's pictures: SqueezeNet 1.0 with these weights on the bundled photo, in both backends."""
    import vizkit
    from vizkit import plotting, results
    from vizkit.network.diagram import diagram

    photo = vizkit.images.sample()
    os.chdir(weights.resolve().parent)  # so that the pictures' provenance names the file and no folder of this machine
    models = [vizkit.load("squeezenet1_0", backend=name, weights=weights.name) for name in ("torch", "gluon")]
    maps = [vizkit.gradcam(model, photo, target="Egyptian cat") for model in models]
    folder = ROOT / "benchmarks" / "pictures"
    made = {"results": [dict(one.provenance) for one in maps]}
    results.save_figure(hero(maps), folder / "gradcam.png", made, dpi=84)
    names = ["smoothgrad", "integrated_gradients", "guided_backprop", "gradcam", "layercam", "occlusion"]
    figure = vizkit.explain(models, photo, names, ["Egyptian cat"])
    results.save_figure(figure.figure(), folder / "explain.png", figure.provenance, dpi=84)
    layer = "features.7"
    units = vizkit.top_units(models[0], photo, layer, 10).units
    sheet = vizkit.render(
        models[0], vizkit.objectives.unit(layer, units), steps=256, titles=[f"unit {one}" for one in units]
    )
    results.save_figure(plotting.rendering([sheet], 5), folder / "gallery.png", sheet.provenance, dpi=80)
    made, figure = traces(models[0], layer, units[0])
    results.save_figure(figure, folder / "traces.png", made, dpi=80)
    explorer(models, folder / "explorer.png")
    diagram(vizkit.load("vgg19", weights="random:7")).save(folder / "diagram.png")


@app.command()
def methods(
    only: Annotated[list[str] | None, typer.Argument(help="Study these alone, and run no tests.")] = None,
) -> None:
    """Run the oracle tests and the localisation study; write results and README."""
    path = RESULTS / "methods.json"
    if only:
        found = json.loads(path.read_text(encoding="utf-8"))
        for backend, rows in localisation(only=only)["scores"].items():
            found["localisation"]["scores"][backend] |= rows
    else:
        found = {"oracles": oracles(), "localisation": localisation()}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write()


if __name__ == "__main__":
    app()
