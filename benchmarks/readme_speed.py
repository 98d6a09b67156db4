"""The tables of speed, from the committed results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.agreement import ALIKE

NETWORKS = ("vgg19", "resnet152", "googlenet")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *before: str) -> str:
    """A table in Markdown, below what is said of it."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([*before, *([""] if before else []), f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def floor_table(report: dict[str, Any]) -> str:
    """One row a measurement of ``benchmarks.floor``."""
    versions = ", ".join(f"{k} {v}" for found in report["versions"].values() for k, v in found.items())
    said = (
        f"{report['processor']}, {report['threads']} thread, {versions}; medians of {report['rounds']} rounds, ratio "
        "to the floor round by round with quartiles."
    )
    rows = [
        (*(row[name] for name in ("backend", "model", "what", "who")), f"{row['median_ms']:.0f}", _spread(row, "ratio"))
        for row in report["rows"]
    ]
    return table(("backend", "network", "what", "who", "ms", "ratio"), rows, said)


def _spread(row: dict[str, Any], name: str) -> str:
    """A median with its quartiles."""
    low, high = row[f"{name}_quartiles"]
    return f"{row[name]:.2f} ({low:.2f} to {high:.2f})"


def relevance_table(report: dict[str, Any]) -> str:
    """Every rule of ``benchmarks.relevance``, times as long as saliency of the same pictures."""
    rows = report["rows"]
    versions = ", ".join(f"{k} {v}" for found in report["versions"].values() for k, v in found.items())
    rounds = " or ".join(map(str, sorted({row["rounds"] for row in rows})))
    loads, names = [row["load"] for row in rows], {"cpu": "processor time", "wall": "wall time"}
    clocks = " and ".join(sorted({names[row["clock"]] for row in rows}))
    said = (
        f"{report['processor']}, {report['threads']} thread, {clocks}, load {min(loads):.1f} to {max(loads):.1f}, "
        f"{versions}; 224 pixels, random weights, float32; medians of {rounds} rounds, times as long as saliency."
    )
    networks = list(dict.fromkeys((row["model"], row["batch"]) for row in rows))
    cells = {(row["backend"], row["who"], row["model"], row["batch"]): f"{row['ratio']:.2f}" for row in rows}
    keys = [key for key in dict.fromkeys((row["backend"], row["who"]) for row in rows) if key[1] != "saliency"]
    shown = [(*key, *(cells.get((*key, *network), "") for network in networks)) for key in keys]
    heads = [name if batch == 1 else f"{name}, {batch} pictures" for name, batch in networks]
    return table(("backend", "what", *heads), shown, said)


def suite_table(report: dict[str, Any]) -> str:
    """:func:`case_table`, and where they were measured, what is kept in memory and what starting costs."""
    extra = report["extra"]
    return "\n\n".join([case_table(report), *([_peaks(extra), _starts(extra)] if extra else [])])


def case_table(report: dict[str, Any]) -> str:
    """Every case of ``benchmarks.suite`` at batch 1: how far vizkit is ahead of the others."""
    rows = [row for row in report["rows"] if row["batch"] == 1 and row["who"] != "vizkit"]
    threads = sorted({row["threads"] for row in rows})
    clocks = {"cpu": "processor time", "wall": "wall time"}
    said = ", ".join(sorted({clocks[row["clock"]] for row in rows}))
    loads = [row["load"] for row in rows]
    about = (
        f"{report['processor']}, {' or '.join(map(str, threads))} thread, {said}, load {min(loads):.1f} to "
        f"{max(loads):.1f}; batch 1, 224 pixels, random weights, freed memory kept for everyone "
        "(`vizkit.keep_memory`); medians of pairs, with quartiles. Above 1 vizkit is faster."
    )
    cells = {(row["backend"], row["case"], row["who"], row["model"]): _ahead(row) for row in rows}
    keys = sorted({key[:3] for key in cells})
    shown = [(*key, *(cells.get((*key, name), "") for name in NETWORKS)) for key in keys]
    return table(("backend", "what", "against", "VGG19", "ResNet152", "GoogLeNet"), shown, about)


def _ahead(row: dict[str, Any]) -> str:
    """Times as fast, with quartiles where there was more than a round."""
    return _spread(row, "vizkit_ahead") if row["rounds"] > 1 else f"{row['vizkit_ahead']:.2f}, one round"


def gpu_table(report: dict[str, Any]) -> str:
    """Every case of ``benchmarks.gpu``, what was aimed at, and the digits of all methods."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    said = (
        f"{report['device']}, {versions}; float32 multiplied as float32 by all; 224 pixels, random weights; medians of "
        f"{report['rounds']} rounds in turn, milliseconds."
    )
    rows = []
    for row in report["rows"]:
        ours = [(who, one["ms"]) for who, one in row["who"].items() if who.startswith(("vizkit", "a steady"))]
        others = [(who, one["ms"]) for who, one in row["who"].items() if (who, one["ms"]) not in ours]
        aims = [f"{one['text']}: {one['found']:.2f}, {'met' if one['met'] else '**missed**'}" for one in row["targets"]]
        cells = [
            "<br>".join(f"{who.removeprefix('vizkit, ')} {taken:.3g}" for who, taken in group) or "–"
            for group in (ours, others)
        ]
        rows.append((row["case"], row["network"], row["pictures"], *cells, "<br>".join(aims) or "–"))
    parts = [table(("what", "network", "pictures", "vizkit", "others", "aim"), rows, said)]
    for what, name in (("Not installed there", "absent"), ("Not in this run", "skipped")):
        parts += [f"{what}: {', '.join(report[name])}."] if report[name] else []
    return "\n\n".join([*parts, _digits(report["digits"])])


def _digits(rows: list[dict[str, Any]]) -> str:
    """How far each dtype is from float64 on the CPU, and whether a call repeats its bits."""
    parts = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = sorted((row["apart"], row["method"]) for row in rows if row["dtype"] == dtype)
        middle = statistics.median(apart for apart, _ in own)
        parts.append(f"{dtype} {middle:.0e} (at most {own[-1][0]:.0e}, `{own[-1][1]}`)")
    other = sorted({f"`{row['method']}` in {row['dtype']}" for row in rows if not row["same_bits"]})
    bits = "The same call gave the same bits, for all." if not other else f"Other bits: {', '.join(other)}."
    count = len({row["method"] for row in rows})
    return (
        f"{count} techniques on `shapes` against float64 on the CPU, relative L2, medians: {'; '.join(parts)}. {bits}"
    )


def agreement_table(report: dict[str, Any]) -> str:
    """Both backends' saliency in float32, prepared and plain."""
    rows = []
    for name in dict.fromkeys(row["model"] for row in report["rows"]):
        cells = []
        for prepared in (True, False):
            (apart,) = (r["relative_L2"] for r in report["rows"] if r["model"] == name and r["prepared"] == prepared)
            same = sum(one < ALIKE for one in apart)
            cells.append(f"{statistics.median(apart):.1e}, {same} of {len(apart)} alike, at most {max(apart):.0e}")
        rows.append((name, *cells))
    return table(("network", "prepared (the default)", "plain"), rows)


def _peaks(rows: list[dict[str, Any]]) -> str:
    """Peak memory of SmoothGrad by its samples."""
    found = [row for row in rows if row["what"] == "memory" and row["of"] == "smoothgrad" and row["who"] == "vizkit"]
    said = [f"{row['peak_MiB']:.0f} MiB with {row['at']} samples in {row['backend']}" for row in found]
    return f"Peak memory of a process that runs SmoothGrad on GoogLeNet: {', '.join(said)}."


def _starts(rows: list[dict[str, Any]]) -> str:
    """What starting costs."""
    said = [f"`{row['of']}` {row['median_ms'] / 1000:.1f} s" for row in rows if row["what"] == "startup"]
    return f"Starting Python for: {', '.join(said)}."


def precision_table(report: dict[str, Any]) -> str:
    """How much faster bfloat16 is, and how far off, by technique and network."""
    names = dict.fromkeys((row["model"], row["weights"]) for row in report["rows"])
    heads = [f"{name}, {'random' if weights.startswith('random') else weights} weights" for name, weights in names]
    said = (
        f"{report['processor']}, {report['threads']} threads; times as fast as float32, and relative L2 between the "
        f"two (medians; {len(report['rows'][0]['relative_L2'])} crops)."
    )
    rows = []
    cells = {(row["what"], row["model"]): row for row in report["rows"]}
    for what in dict.fromkeys(row["what"] for row in report["rows"]):
        found = [cells.get((what, name)) for name, _ in names]
        shown = [f"{row['ahead']:.1f}, {statistics.median(row['relative_L2']):.1%}" if row else "" for row in found]
        rows.append((f"`{what}`", *shown))
    return table(("", *heads), rows, said).replace("|  |", "| |", 1)
