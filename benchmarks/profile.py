"""Where a pass's time goes: what oneDNN says its kernels took, beside the time of the whole call.

    python -m benchmarks.profile --threads 2 --out benchmarks/results/profile.json

Kernels that every contestant runs bound what any of them can reach. Each contestant has a process of its own, and the
pass that was disturbed least, the fastest, counts; of a whole dream there is one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import vizkit
from benchmarks import suite_cases
from benchmarks.suite import MODELS, versions
from benchmarks.timing import WARM, environment, processor

PLAN = {
    ("torch", "saliency"): (MODELS, ("vizkit", "captum")),
    ("torch", "gradcam"): (MODELS, ("vizkit", "captum", "pytorch-grad-cam")),
    ("torch", "feature_maps"): (("resnet152",), ("vizkit", "forward")),
    ("torch", "dream"): (("googlenet",), ("vizkit", "blog")),
    ("gluon", "saliency"): (MODELS, ("vizkit", "homework")),
}
"""Networks and contestants of each backend and case."""
NAMES = ("backend", "case", "model", "who", "threads")
"""What a row is known by: an earlier one of the same is replaced, others stay."""
PASSES = 15
MARK = "-- pass"
KINDS = {
    "convolution": "convolution",
    "deconvolution": "convolution",
    "reorder": "reorder",
    "inner_product": "dense",
    "matmul": "dense",
}
"""oneDNN's names, and ours; all others are "other"."""
SHAPE = re.compile(r"mb(\d+)_(?:g(\d+))?ic(\d+)oc(\d+)_ih\d+oh(\d+)kh(\d+).*_iw\d+ow(\d+)kw(\d+)")
"""How oneDNN writes a convolution."""
OPERATIONS = "operations"


def passes(task: dict[str, Any]) -> None:
    """What a child does: the contestant's calls, each announced, and their times at the end."""
    at = suite_cases.setting(task["backend"], task["model"], 1)
    call = suite_cases.CASES[task["case"]](at).contestants[task["who"]]
    warm, count = (0, 1) if task["case"] in suite_cases.HEAVY else (WARM, PASSES)
    taken = []
    for number in range(warm + count):
        typer.echo(MARK if number >= warm else "")
        sys.stdout.flush()
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    typer.echo(json.dumps(taken[warm:]))


def child(task: dict[str, Any], threads: int) -> list[str]:
    """The lines that it printed, and oneDNN's between them."""
    logs = dict.fromkeys(("ONEDNN_VERBOSE", "DNNL_VERBOSE", "MKLDNN_VERBOSE"), "1")
    command = [sys.executable, "-m", "benchmarks.profile", "--threads", str(threads), "--task", json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment(threads) | logs, check=True)
    return done.stdout.splitlines()


def kernels(lines: list[str]) -> list[dict[str, float]]:
    """Milliseconds of each pass by kind, and the convolutions' operations."""
    found: list[dict[str, float]] = []
    for line in lines:
        if line == MARK:
            found.append(dict.fromkeys((*KINDS.values(), "other", OPERATIONS), 0.0))
        words = line.split(",")
        if found and "verbose" in words[0] and "exec" in words:
            found[-1][KINDS.get(words[words.index("exec") + 2], "other")] += float(words[-1])
            shape = SHAPE.search(line)
            if shape is not None:
                mb, g, ic, oc, oh, kh, ow, kw = (int(one or 1) for one in shape.groups())
                found[-1][OPERATIONS] += 2 * mb * ic * oc * oh * ow * kh * kw / g
    return found


def measure(task: dict[str, Any], threads: int) -> dict[str, Any]:
    """One row."""
    lines = child(task, threads)
    taken = json.loads(lines[-1])
    least = taken.index(min(taken))
    parts = kernels(lines)[least]
    done = parts.pop(OPERATIONS)
    return {
        **task, "threads": threads, "ms": taken[least], "kernels_ms": parts,
        "rest_ms": taken[least] - sum(parts.values()), "convolutions_GFLOPs": 1e-6 * done / parts["convolution"],
    }  # fmt: skip


def main(
    threads: int = 2,
    out: Path | None = None,
    models: Annotated[list[str] | None, typer.Option()] = None,
    cases: Annotated[list[str] | None, typer.Option()] = None,
    backends: Annotated[list[str] | None, typer.Option()] = None,
    task: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure, print, and write JSON."""
    vizkit.set_threads(threads)
    if task:
        vizkit.keep_memory()
        passes(json.loads(task))
        return
    rows = []
    for (backend, case), (networks, contestants) in PLAN.items():
        if case not in (cases or [case]) or backend not in (backends or [backend]):
            continue
        for model in networks:
            for who in contestants if model in (models or [model]) else ():
                rows.append(measure({"backend": backend, "case": case, "model": model, "who": who}, threads))
                typer.echo(json.dumps(rows[-1]))
    if out is not None:
        fresh = [[row[name] for name in NAMES] for row in rows]
        earlier = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
        rows = [row for row in earlier if [row[name] for name in NAMES] not in fresh] + rows
        report = {"processor": processor(), "versions": versions(), "rows": rows}
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
