"""The tables of speed, from the committed results."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.agreement import ALIKE

NETWORKS = ("vgg19", "resnet152", "googlenet")


def floor_table(report: dict[str, Any]) -> str:
    """One row a measurement of ``benchmarks.floor``."""
    versions = ", ".join(f"{k} {v}" for found in report["versions"].values() for k, v in found.items())
    lines = [
        f"{report['processor']}, {report['threads']} thread, {versions}; medians of {report['rounds']} rounds, ratio "
        "to the floor round by round with quartiles.",
        "",
        "| backend | network | what | who | ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        low, high = row["ratio_quartiles"]
        lines.append(
            f"| {row['backend']} | {row['model']} | {row['what']} | {row['who']} | {row['median_ms']:.0f} | "
            f"{row['ratio']:.2f} ({low:.2f} to {high:.2f}) |"
        )
    return "\n".join(lines)


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
    lines = [
        f"{report['processor']}, {' or '.join(map(str, threads))} thread, {said}, load {min(loads):.1f} to "
        f"{max(loads):.1f}; batch 1, 224 pixels, random weights, freed memory kept for everyone "
        "(`vizkit.keep_memory`); medians of pairs, with quartiles. Above 1 vizkit is faster.",
        "",
        "| backend | what | against | VGG19 | ResNet152 | GoogLeNet |",
        "|---|---|---|---|---|---|",
    ]
    cells = {(row["backend"], row["case"], row["who"], row["model"]): _ahead(row) for row in rows}
    for key in sorted({key[:3] for key in cells}):
        found = [cells.get((*key, name), "") for name in NETWORKS]
        lines.append(f"| {' | '.join((*key, *found))} |")
    return "\n".join(lines)


def _ahead(row: dict[str, Any]) -> str:
    """Times as fast, with quartiles where there was more than a round."""
    low, high = row["vizkit_ahead_quartiles"]
    spread = f" ({low:.2f} to {high:.2f})" if row["rounds"] > 1 else ", one round"
    return f"{row['vizkit_ahead']:.2f}{spread}"


def gpu_table(report: dict[str, Any]) -> str:
    """Every case of ``benchmarks.gpu``, what was aimed at, and the digits of all methods."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"{report['device']}, {versions}; float32 multiplied as float32 by all; 224 pixels, random weights; medians of "
        f"{report['rounds']} rounds in turn, milliseconds.",
        "",
        "| what | network | pictures | vizkit | others | aim |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        ours = [(who, one["ms"]) for who, one in row["who"].items() if who.startswith(("vizkit", "a steady"))]
        others = [(who, one["ms"]) for who, one in row["who"].items() if (who, one["ms"]) not in ours]
        aims = [f"{one['text']}: {one['found']:.2f}, {'met' if one['met'] else '**missed**'}" for one in row["targets"]]
        cells = [
            "<br>".join(f"{who.removeprefix('vizkit, ')} {taken:.3g}" for who, taken in group) or "–"
            for group in (ours, others)
        ]
        lines.append(
            f"| {row['case']} | {row['network']} | {row['pictures']} | {cells[0]} | {cells[1]} | "
            f"{'<br>'.join(aims) or '–'} |"
        )
    if report["absent"]:
        lines += ["", f"Not installed there: {', '.join(report['absent'])}."]
    if report["skipped"]:
        lines += ["", f"Not in this run: {', '.join(report['skipped'])}."]
    return "\n".join([*lines, "", _digits(report["digits"])])


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
    lines = ["| network | prepared (the default) | plain |", "|---|---|---|"]
    for name in dict.fromkeys(row["model"] for row in report["rows"]):
        cells = []
        for prepared in (True, False):
            (apart,) = (r["relative_L2"] for r in report["rows"] if r["model"] == name and r["prepared"] == prepared)
            same = sum(one < ALIKE for one in apart)
            cells.append(f"{statistics.median(apart):.1e}, {same} of {len(apart)} alike, at most {max(apart):.0e}")
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


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
    lines = [
        f"{report['processor']}, {report['threads']} threads; times as fast as float32, and relative L2 between the "
        f"two (medians; {len(report['rows'][0]['relative_L2'])} crops).",
        "",
        f"| | {' | '.join(heads)} |",
        "|---" * (1 + len(heads)) + "|",
    ]
    cells = {(row["what"], row["model"]): row for row in report["rows"]}
    for what in dict.fromkeys(row["what"] for row in report["rows"]):
        found = [cells.get((what, name)) for name, _ in names]
        shown = [f"{row['ahead']:.1f}, {statistics.median(row['relative_L2']):.1%}" if row else "" for row in found]
        lines.append(f"| `{what}` | {' | '.join(shown)} |")
    return "\n".join(lines)
