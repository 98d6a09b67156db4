"""Says what became slower than the committed figures by more than the noise.

    python -m benchmarks.suite --rounds 5 --threads 2 --out now.json --cases saliency --cases gradcam
    python -m benchmarks.guard now.json

Ratios are compared, not seconds: vizkit's time over that of the base of its case, taken pair by pair in one run. The
noise of a ratio is the distance of its quartiles, in both runs, but never less than 5 %. Exit code 1 when something is
slower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

COMMITTED = Path(__file__).parent / "results" / "suite.json"
KEY = ("backend", "model", "case", "batch", "who")
WATCHED = ("vizkit", "vizkit plain")
LEAST = 0.05


def ratios(report: dict[str, Any]) -> dict[tuple[Any, ...], tuple[float, float, str]]:
    """Ratio, its noise as a share of it, and its base, of every watched row."""
    found = {}
    for row in report["rows"]:
        if row["who"] in WATCHED and row["who"] != row["base"]:
            low, high = row["ratio_quartiles"]
            noise = max(LEAST, (high - low) / row["ratio"])
            found[tuple(row[name] for name in KEY)] = (row["ratio"], noise, row["base"])
    return found


def slower(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """A line for each ratio that rose by more than the noise of both runs together."""
    old, lines = ratios(before), []
    for key, (ratio, noise, base) in ratios(now).items():
        if key in old and old[key][2] == base:
            was, old_noise, _ = old[key]
            allowed = (noise**2 + old_noise**2) ** 0.5
            if ratio > was * (1 + allowed):
                what = " ".join(map(str, key))
                lines.append(f"{what}: {ratio:.3f} x {base}, was {was:.3f}; noise is {allowed:.0%}")
    return lines


def main(file: Path, committed: Path = COMMITTED) -> None:
    """Compare a report of ``benchmarks.suite`` with the committed one."""
    now, before = (json.loads(path.read_text(encoding="utf-8")) for path in (file, committed))
    common = ratios(now).keys() & ratios(before).keys()
    if not common:
        typer.echo(f"{file} and {committed} have no row in common; nothing was compared.")
        raise typer.Exit(2)
    lines = slower(now, before)
    for line in lines:
        typer.echo(f"slower: {line}")
    typer.echo(f"{len(common)} ratios compared, {len(lines)} slower by more than the noise.")
    raise typer.Exit(1 if lines else 0)


if __name__ == "__main__":
    typer.run(main)
