"""What was measured of folders, and what it says about a million photos: text for the pages, from committed results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.readme_speed import table

GPU = Path(__file__).parent / "results" / "gpu.json"
PHOTOS = 1_281_167
"""Of ImageNet's training set."""
SHARD = 256
"""Pictures of a part in a list as long as that."""
WORKERS = (1, 8, 64)
LINK = 125e6
"""Bytes a second of a network of one gigabit, by which a cluster's workers get photos and send parts."""
CORES = 16
"""That read photos beside a GPU."""


def measured(report: Mapping[str, Any]) -> str:
    """What was measured here, a line each; nothing about what was not."""
    said = {
        "listing": _listing, "decoding": _decoding, "loader": _loader, "workers": _workers, "cluster": _cluster,
        "growth": _growth,
    }  # fmt: skip
    lines = [
        f"- {say(report[name]['rows'])} (load {report[name]['load']:.1f})"
        for name, say in said.items()
        if name in report
    ]
    cores = next(one["cores"] for one in report.values() if isinstance(one, dict))
    return "\n".join([f"On {cores} cores, {report['processor']}:", "", *lines])


def _listing(rows: Sequence[Mapping[str, Any]]) -> str:
    (row,) = rows
    return (
        f"{row['count']:,} empty files were listed in {row['find']['own_cpu']:.1f} s of processor time and looked at "
        f"for changes in {row['fingerprint']['own_cpu']:.1f} s more; the list keeps {row['kept_MiB']:.0f} MiB"
    )


def _decoding(rows: Sequence[Mapping[str, Any]]) -> str:
    each = {(tuple(row["size"]), row["draft"]): 1000 * row["each"] for row in rows}
    large = max(size for size, _ in each)
    usual = min(size for size, _ in each)
    return (
        f"a photo of {usual[0]} x {usual[1]} pixels is read and fitted in {each[usual, None]:.1f} ms, one of "
        f"{large[0]} x {large[1]} in {each[large, None]:.0f} ms, and with `draft=512` in {each[large, 512]:.0f} ms"
    )


def _loader(rows: Sequence[Mapping[str, Any]]) -> str:
    seconds = {(row["who"], row["round"]): row["seconds"] for row in rows}
    rounds = sorted({row["round"] for row in rows})
    others = sorted({row["who"] for row in rows} - {"vizkit"})
    ratios = {who: statistics.median(seconds[who, k] / seconds["vizkit", k] for k in rounds) for who in others}
    waiting = statistics.median(row["waiting"] for row in rows if "waiting" in row)
    said = " and ".join(f"{ratio:.2f} x that of a plain loop ({who})" for who, ratio in ratios.items())
    return (
        f"pictures a second through SqueezeNet: {said}, median of {len(rounds)} turns; the network waited {waiting:.1%}"
    )


def _workers(rows: Sequence[Mapping[str, Any]]) -> str:
    by: dict[Any, list[float]] = {}
    for row in rows:
        by.setdefault(row["workers"], []).append(row["count"] / row["seconds"])
    said = ", ".join(f"{_name(many)} {statistics.median(rates):.2f}" for many, rates in by.items())
    equal = "equal bit for bit" if all(row["same"] for row in rows) else "NOT EQUAL"
    return f"health of SqueezeNet in float64, pictures a second with start: {said}; all values {equal}"


def _name(workers: int | None) -> str:
    return "no workers" if workers is None else f"{workers} worker{'s' * (workers > 1)}"


def _cluster(rows: Sequence[Mapping[str, Any]]) -> str:
    killed = sum(row["killed"] for row in rows)
    equal = "equal bit for bit to those without" if all(row["same"] for row in rows) else "NOT EQUAL"
    return (
        f"the same on a local Dask cluster of two workers, one killed in the middle of {killed} of {len(rows)} runs: "
        f"{equal}"
    )


def _growth(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for many in dict.fromkeys(row["workers"] for row in rows):
        few, lots = (row for row in rows if row["workers"] == many)
        cost = [(row["own_cpu"] + row["children_cpu"]) / row["count"] for row in (few, lots)]
        parts.append(
            f"with {_name(many)} {lots['count']:,} pictures take {cost[1] / cost[0]:.2f} x the processor time of "
            f"{few['count']:,} for each, and {lots['peak_MiB'] / few['peak_MiB']:.2f} x the memory of this process"
        )
    return "; ".join(parts)


def million(report: Mapping[str, Any]) -> str:
    """What ImageNet's photos take with several workers, each on one core like that which was measured, and on a GPU."""
    size = next(row["bytes"] for row in report["decoding"]["rows"] if row["draft"] is None)
    listing = report["listing"]["rows"][0]
    lists = PHOTOS * (listing["find"]["own_cpu"] + listing["fingerprint"]["own_cpu"]) / listing["count"]
    start = report["sharing"]["rows"][0]["start"]
    rows = []
    for job in report["rates"]["rows"]:
        limits = _limits(job, size)
        times = [lists + start + PHOTOS / min(n / job["each"], *limits.values()) for n in WORKERS]
        first = min(limits, key=lambda name: limits[name])
        stop = f"{int(limits[first] * job['each']):,}: {first}"
        rows.append((job["what"], f"{1 / job['each']:.2f}", *map(_long, times), stop))
    head = (
        "ResNet-50",
        "photos a second and worker",
        *(f"{n} worker{'s' * (n > 1)}" for n in WORKERS),
        "stops scaling at",
    )
    return "\n\n".join([table(head, rows), _gpu(report)])


def _limits(job: Mapping[str, Any], size: float) -> dict[str, float]:
    """Photos a second that a run cannot pass, by what stops it."""
    wire = size + 1e6 * job["part_MB"] / SHARD
    return {
        "the parent takes up no more parts": SHARD / max(job["part_cpu"], 1e-3),
        "a gigabit's line is full": LINK / wire,
    }


def _gpu(report: Mapping[str, Any]) -> str:
    """A GPU of which Grad-CAM of a larger network was measured, which is a forward pass and part of a backward one."""
    measured = json.loads(GPU.read_text(encoding="utf-8"))
    row = next(
        row for row in measured["rows"]
        if (row["case"], row["network"], row["pictures"]) == ("gradcam", "resnet152", 32)
    )  # fmt: skip
    network = 32 / (row["who"]["vizkit, ready"]["ms"] / 1000)
    each = next(row["each"] for row in report["decoding"]["rows"] if row["draft"] is None)
    reading = CORES / each
    slower = "the network" if network < reading else "reading the photos"
    return (
        f"On a GPU: an {measured['device']} (the processors of an H100, with more memory) does Grad-CAM of ResNet-152, "
        f"a forward pass and a part of a backward one, for {network:,.0f} photos a second; {CORES} cores like these "
        f"read {reading:,.0f}. So top patches or an embedding of all photos by that network take at most "
        f"{_long(PHOTOS / min(network, reading))}, and {slower} is what it waits for. The sums of `health` are made on "
        "the processor, which it would wait for instead: give it `--layer`."
    )


def _long(seconds: float) -> str:
    took = timedelta(seconds=seconds)
    if took.days >= 2:
        return f"{seconds / 86400:.1f} days"
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"
