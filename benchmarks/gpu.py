"""Speed and digits on a GPU, in one command of some minutes.

    python -m benchmarks.gpu --json benchmarks/results/gpu.json

Contestants take turns, each call ends with the device at rest, and all multiply float32 as float32 (peers' TF32 is
switched off). Digits are compared with float64 on the CPU, and the same call is made several times to see whether its
bits are the same.
"""

from __future__ import annotations

import difflib
import inspect
import json
import statistics
import sys
import time
import traceback
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torchvision
import typer

import vizkit
from benchmarks import gpu_cases as cases
from benchmarks.timing import apart
from vizkit.objectives import unit

OUT = Path(__file__).parent / "results" / "gpu.json"
WARM = 4
"""Calls before those that count: vizkit records a step at the third."""
TARGETS: dict[tuple[str, int], list[tuple[str, str, dict[str, float]]]] = {
    ("saliency", 1): [("vizkit, arrays", "captum", {"googlenet": 2.0, "resnet152": 1.5})],
    ("saliency", 32): [
        ("vizkit, ready", "by hand", {"googlenet": 1 / 1.1, "resnet152": 1 / 1.1}),
        ("vizkit, files", "by hand, files", {"googlenet": 1 / 1.5, "resnet152": 1 / 1.5}),
    ],
    ("gradcam", 1): [("vizkit, ready", "captum", {"googlenet": 1.3, "resnet152": 1.3})],
    ("gradcam", 32): [("vizkit, ready", "captum", {"googlenet": 1.3, "resnet152": 1.3})],
    ("integrated_gradients", 1): [("vizkit, ready", "captum", {"googlenet": 1.0, "resnet152": 1.0})],
    ("smoothgrad", 1): [("vizkit, ready", "captum", {"googlenet": 1.0, "resnet152": 1.0})],
    ("scorecam", 1): [("vizkit, ready", "milliseconds", {"googlenet": 200.0, "resnet152": 1500.0})],
    ("dream", 1): [("vizkit, ready", "by hand", {"googlenet": 3.0})],
    ("render", 1): [("a steady step", "milliseconds", {"googlenet": 2.0})],
}
"""Ours, theirs, and how many times as fast ours is to be; or at most how many milliseconds."""
DIGITS = (
    *("saliency", "gradient_x_input", "integrated_gradients", "smoothgrad", "squaregrad", "vargrad", "gradient_shap"),
    *("guided_backprop", "deconvnet", "gradcam", "gradcam_plus_plus", "xgradcam", "hirescam", "layercam", "eigencam"),
    *("scorecam", "ablationcam", "smooth_gradcam_plus_plus", "guided_gradcam", "full_gradient", "occlusion", "rise"),
    *("lime", "kernel_shap"),
)
LOOPS: dict[str, Any] = {
    "dream": lambda model: vizkit.dream(model, "features.9", [3, 5], stages=2, steps=6, size=48).step_activation,
    "render": lambda model: vizkit.render(model, unit("features.9", [3, 5]), steps=24).values,
    "deepdream": lambda model: (
        vizkit.deepdream(model, vizkit.images.sample(), "features.9", size=96, steps=6, octaves=2).values
    ),
    "invert": lambda model: vizkit.invert(model, vizkit.images.sample(), "features.2", steps=12).values,
}


def timed(trial: cases.Trial, rounds: int, quick: bool, device: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each contestant: median, lowest and highest of its rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in trial.contestants}
    warm, rounds = (1, 1) if quick else (WARM if trial.rounds is None else 1, trial.rounds or rounds)
    for round_ in range(warm + rounds):
        for name, run in trial.contestants.items():
            rest(device)
            start = time.perf_counter()
            run()
            rest(device)
            if round_ >= warm:
                seconds[name].append(1000 * (time.perf_counter() - start))
    return {
        name: {"ms": statistics.median(taken), "low": min(taken), "high": max(taken)} for name, taken in seconds.items()
    }


def rest(device: str) -> None:
    """Wait until the device has nothing to do."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def measure(case: str, name: str, pictures: int, rounds: int, quick: bool, device: str) -> dict[str, Any]:
    """One row of the report."""
    make, _ = cases.CASES[case]
    given = cases.Setting(name, device, pictures, quick)
    trial = make(given)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    next(iter(trial.contestants.values()))()
    peak = 0 if device == "cpu" else torch.cuda.max_memory_allocated(device) >> 20
    who = timed(trial, rounds, quick, device)
    if case == "render":
        steady = max(0.0, who["vizkit, long"]["ms"] - who["vizkit, ready"]["ms"]) / trial.work
        who["a steady step"] = dict.fromkeys(("ms", "low", "high"), steady)
    targets = [judged(who, *one, name) for one in TARGETS.get((case, pictures), [])]
    return {
        "case": case, "network": name, "pictures": pictures, "who": who, "peak_mib": peak,
        "targets": [one for one in targets if one], "absent": trial.absent,
    }  # fmt: skip


def judged(who: dict[str, Any], ours: str, theirs: str, wanted: dict[str, float], name: str) -> dict[str, Any] | None:
    """Whether a target was met; None where there is none, or nobody to compare with."""
    if name not in wanted or ours not in who or (theirs != "milliseconds" and theirs not in who):
        return None
    if theirs == "milliseconds":
        found, text = who[ours]["ms"], f"{ours}: at most {wanted[name]:g} ms"
        return {"text": text, "wanted": wanted[name], "found": found, "met": found <= wanted[name]}
    found, text = who[theirs]["ms"] / who[ours]["ms"], f"{ours}: {wanted[name]:.2g} x {theirs}"
    return {"text": text, "wanted": wanted[name], "found": found, "met": found >= wanted[name]}


def digits(device: str, quick: bool) -> list[dict[str, Any]]:
    """Of every method on ``shapes``: how far from float64 on the CPU, and whether the same call gives the same bits."""
    exact = vizkit.load("shapes", backend="torch", dtype="float64")
    dtypes = ("float64", "float32") if device == "cpu" else ("float64", "float32", "tf32")
    models = {one: vizkit.load("shapes", backend="torch", device=device, dtype=one) for one in dtypes}
    quarters = np.kron([[0, 1], [2, 3]], np.ones((48, 48), dtype=int))
    found = []
    runs: dict[str, Any] = {name: _method(name, quarters) for name in DIGITS} | LOOPS
    for name, run in runs.items():
        wanted = run(exact)
        for dtype, model in models.items():
            every = [run(model) for _ in range(2 if quick else 4)]
            found.append({
                "method": name, "dtype": dtype, "apart": apart(every[-1], wanted),
                "same_bits": all(np.array_equal(every[0], one) for one in every),
            })  # fmt: skip
    return found


def _method(name: str, segments: Any) -> Any:
    method = getattr(vizkit, name)
    known = inspect.signature(method).parameters
    options = {"samples": 14, "segments": segments}
    given = {key: value for key, value in options.items() if key in known}
    return lambda model: method(model, vizkit.images.sample(), **given).values


def chosen(given: list[str], known: Any, what: str) -> list[str]:
    """What was asked for, or all."""
    for one in given:
        if one not in known:
            near = difflib.get_close_matches(one, known, 3)
            hint = f"Did you mean {', '.join(near)}?" if near else f"Known are {', '.join(known)}."
            raise typer.BadParameter(f"there is no {what} {one!r}. {hint}")
    return given or list(known)


def main(
    json_path: Annotated[Path, typer.Option("--json")] = OUT,
    networks: Annotated[list[str], typer.Option()] = [],  # noqa: B006
    only: Annotated[list[str], typer.Option("--cases")] = [],  # noqa: B006
    rounds: int = 7,
    device: str = "cuda",
    quick: bool = False,
    minutes: float = 4.0,
) -> None:
    """Measure, print, and write the report."""
    if device != "cpu" and not torch.cuda.is_available():
        typer.echo(f"PyTorch sees no GPU, so --device {device} cannot be measured.", err=True)
        raise SystemExit(2)
    warnings.filterwarnings("ignore")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    started = time.monotonic()
    report: dict[str, Any] = {
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(device), "versions": versions(device),
        "rounds": rounds, "rows": [], "digits": [], "absent": [], "failed": {}, "skipped": [],
    }  # fmt: skip

    def write() -> None:
        report["absent"] = sorted({one for row in report["rows"] for one in row["absent"]})
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    wanted = chosen(only, [*cases.CASES, "digits"], "case")
    for name in networks or ["googlenet", "resnet152"]:
        for case in wanted:
            for pictures in cases.CASES.get(case, (None, ()))[1]:
                if case in ("dream", "render") and name == "resnet152":
                    continue
                label = f"{case} of {pictures} on {name}"
                if time.monotonic() - started > 60 * minutes:
                    report["skipped"].append(label)
                    continue
                try:
                    row = measure(case, name, 2 if quick and pictures > 1 else pictures, rounds, quick, device)
                    report["rows"].append(row)
                    show(row)
                    write()  # now, so that a run that is cut off has lost one case
                except Exception:
                    report["failed"][label] = traceback.format_exc()
                    print(report["failed"][label], file=sys.stderr)
    if "digits" in wanted:
        try:
            report["digits"] = digits(device, quick)
        except Exception:
            report["failed"]["digits"] = traceback.format_exc()
    for one in report["digits"]:
        bits = "same bits" if one["same_bits"] else "OTHER BITS"
        print(f"{one['method']}, {one['dtype']}: {one['apart']:.1e}, {bits}")
    write()
    raise SystemExit(1 if report["failed"] else 0)


def versions(device: str) -> dict[str, str]:
    """Of all that is timed."""
    found = {"vizkit": vizkit.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
    for package in ("captum", "grad-cam"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found if device == "cpu" else found | {"cudnn": str(torch.backends.cudnn.version())}


def show(row: dict[str, Any]) -> None:
    """One row, in words."""
    times = ", ".join(f"{who} {one['ms']:.2f}" for who, one in row["who"].items())
    print(f"{row['case']} of {row['pictures']} on {row['network']}: {times} ms; peak {row['peak_mib']} MiB", flush=True)
    for one in row["targets"]:
        print(f"  {one['text']}: {one['found']:.2f}, {'met' if one['met'] else 'MISSED'}", flush=True)


if __name__ == "__main__":
    typer.run(main)
