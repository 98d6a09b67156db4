"""Every technique beside hand-written floors, the homework's and the blog's way, and other packages, in one command.

    python -m benchmarks.suite --rounds 5 --threads 2 --out benchmarks/results/suite.json

Contestants take turns, so that a ratio is one of the same minute; results are checked to be equal before they are
timed. Every backend and network has a process of its own. Rows that are not measured now are kept in the file.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

import vizkit
from benchmarks import suite_cases, suite_growth
from benchmarks.timing import WARM, child, paired, spread, write

MODELS = ("googlenet", "vgg19", "resnet152")
PACKAGES = ("vizkit", "captum", "grad-cam", "torchcam", "torch-lucent", "numpy")


def measure(backend: str, name: str, case: str, batch: int, rounds: int, clock: str) -> list[dict[str, Any]]:
    """Rows of one case."""
    trial = suite_cases.CASES[case](suite_cases.setting(backend, name, batch))
    wrong = {who: far for who, far in trial.apart.items() if far > suite_cases.TOLERANCE[trial.kind]}
    if wrong:
        raise SystemExit(f"{name} in {backend}, {case}: results differ, {wrong}; a timing would mean nothing.")
    rows = []
    found = paired(trial.base, trial.contestants, rounds, warmup=0 if case in suite_cases.HEAVY else WARM, clock=clock)
    ours = found["vizkit"].seconds
    for who, timing in found.items():
        ahead = [theirs / mine for theirs, mine in zip(timing.seconds, ours, strict=True)]
        rows.append({
            "backend": backend, "model": name, "case": case, "batch": batch, "who": who,
            "rounds": rounds, "clock": clock, "load": load_average(),
            "median_ms": 1000 * timing.median, "quartiles_ms": [1000 * one for one in spread(timing.seconds)],
            "base": trial.base, "ratio": timing.ratio, "ratio_quartiles": spread(timing.ratios),
            "vizkit_ahead": statistics.median(ahead), "vizkit_ahead_quartiles": spread(ahead),
            "apart": trial.apart.get(who), "apart_is": trial.kind,
        })  # fmt: skip
    return rows


def show(row: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = row["ratio_quartiles"]
    return (
        f"{row['backend']:6} {row['model']:10} {row['case']:21} {row['batch']} {row['who']:17} "
        f"{row['median_ms']:9.1f} ms "
        f"{row['ratio']:7.3f} x {row['base']} ({low:.3f} to {high:.3f}), vizkit is {row['vizkit_ahead']:.2f} x ahead"
    )


def run(task: dict[str, Any]) -> list[dict[str, Any]]:
    """What a child does."""
    what = task.pop("what")
    if what != "memory":
        vizkit.keep_memory()  # For every contestant: otherwise much of what is timed is the system giving out memory.
    return measure(**task) if what == "case" else getattr(suite_growth, what)(**task)


def load_average() -> float:
    """Of the last minute: other people's work on this machine, before anything here has run."""
    return os.getloadavg()[0]


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    found = {key: value for info in vizkit.backends() if info.installed for key, value in info.versions.items()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main(
    rounds: int = 5,
    threads: int = 2,
    out: Path | None = None,
    models: Annotated[list[str] | None, typer.Option()] = None,
    cases: Annotated[list[str] | None, typer.Option(help="Names of cases; memory, growth, startup.")] = None,
    backends: Annotated[list[str] | None, typer.Option()] = None,
    batch: Annotated[list[int] | None, typer.Option(help="1 and 8.")] = None,
    clock: Annotated[str, typer.Option(help="wall; or cpu, processor time, where the machine is not quiet.")] = "wall",
    task: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure, print a table, and write JSON."""
    vizkit.set_threads(threads)
    if task:
        rows = [row | {"threads": threads} for row in run(json.loads(task))]
        typer.echo(json.dumps(rows))
        return
    report = json.loads(out.read_text()) if out is not None and out.exists() else {"rows": [], "extra": []}
    report["versions"] = versions()
    for one in planned(cases, models, backends, batch, rounds, clock):
        is_case = one["what"] == "case"
        try:
            rows = child("benchmarks.suite", "--threads", threads, "--task", json.dumps(one), threads=threads)
        except subprocess.CalledProcessError:
            typer.echo(f"failed: {one}", err=True)
            rows = []
        for row in rows:
            typer.echo(show(row) if is_case else json.dumps(row))
        key = "rows" if is_case else "extra"
        names = (
            ("backend", "model", "case", "batch", "who") if is_case else ("what", "backend", "model", "of", "at", "who")
        )
        fresh = [[row.get(name) for name in names] for row in rows]
        report[key] = [old for old in report[key] if [old.get(name) for name in names] not in fresh] + rows
        write(out, report)


def planned(cases: Any, models: Any, backends: Any, batch: Any, rounds: int, clock: str) -> list[dict[str, Any]]:
    """The tasks, light ones first."""
    found: list[dict[str, Any]] = []
    for case in cases or (*suite_cases.CASES, *suite_growth.TASKS):
        if case in suite_growth.TASKS:
            found += suite_growth.TASKS[case](rounds)
            continue
        for name in models or MODELS:
            for backend in backends or ("torch", "gluon"):
                for size in batch or ((1, 8) if case in suite_cases.BATCHED else (1,)):
                    least = max(1, rounds // 3) if case in suite_cases.HEAVY else rounds
                    task = {"what": "case", "backend": backend, "name": name, "case": case, "batch": size}
                    found.append({**task, "rounds": least, "clock": clock})
    return found


if __name__ == "__main__":
    typer.run(main)
