"""Every number of a comparison report, computed again from its raw arrays by SciPy, scikit-image and plain NumPy; none
of vizkit's own code takes part."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from skimage.metrics import structural_similarity

Numbers = dict[str, "float | None"]
TOLERANCE = 1e-9


def structural(a: np.ndarray, b: np.ndarray) -> float | None:
    """Mean structural similarity, by scikit-image."""
    span = max(a.max(), b.max()) - min(a.min(), b.min())
    if a.ndim < 2 or min(a.shape[-2:]) < 7 or span == 0:
        return None
    channels = {"channel_axis": 0} if a.ndim == 3 else {}
    return float(structural_similarity(a, b, data_range=span, win_size=7, **channels))


def comparison(a: np.ndarray, b: np.ndarray) -> Numbers:
    """The metrics of one comparison."""
    x, y = a.ravel(), b.ravel()
    varied = np.ptp(x) > 0 and np.ptp(y) > 0
    count = max(1, round(0.05 * x.size))
    tops = [set(sorted(range(v.size), key=lambda i: (-abs(v[i]), i))[:count]) for v in (x, y)] if x.size < 30 else None
    if tops is None:
        tops = [set(np.lexsort((np.arange(v.size), -np.abs(v)))[:count].tolist()) for v in (x, y)]
    return {
        "largest_absolute": float(np.max(np.abs(x - y))),
        "largest_relative": float(np.max(np.abs(x - y)) / np.max(np.abs(y))) if y.any() else None,
        "relative_l2": math.sqrt(math.fsum((x - y) ** 2)) / math.sqrt(math.fsum(y**2)) if y.any() else None,
        "cosine": float(np.sum(x * y) / math.sqrt(np.sum(x * x) * np.sum(y * y))) if x.any() and y.any() else None,
        "pearson": float(stats.pearsonr(x, y).statistic) if varied else None,
        "spearman": float(stats.spearmanr(x, y).statistic) if varied else None,
        "ssim": structural(a, b),
        "top_intersection": len(tops[0] & tops[1]) / count,
    }


def predictions(a: np.ndarray, b: np.ndarray) -> Numbers:
    """Agreement of two vectors of logits."""
    first, second = (sorted(range(v.size), key=lambda i: (-v[i], i))[:5] for v in (a, b))
    return {"top1": float(first[0] == second[0]), "top5": len(set(first) & set(second)) / 5}


def differing(stated: Numbers, found: Numbers) -> list[str]:
    """Names of the numbers that differ by more than :data:`TOLERANCE`, relative to the larger of 1 and the number; for
    small differences relative to the number itself."""
    out = [] if set(stated) == set(found) else [f"{set(stated) ^ set(found)}"]
    for name in set(stated) & set(found):
        one, other = stated[name], found[name]
        if one is None or other is None:
            same = one is other or (not other and not one)
        elif name.startswith(("largest", "relative")):
            same = math.isclose(one, other, rel_tol=1e-7, abs_tol=1e-300)
        else:
            same = abs(one - other) <= TOLERANCE
        if not same:
            out.append(f"{name}: stated {one}, found {other}")
    return out


def check(folder: Path) -> dict[str, int]:
    """Compute everything again; returns how many numbers of each kind were found right. Raises AssertionError."""
    report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    cells = folder / "cells"
    counts = {"comparisons": 0, "measurements": 0, "rows": 0}
    for row in report["comparisons"]:
        with np.load(cells / row["a"]["file"]) as left, np.load(cells / row["b"]["file"]) as right:
            a, b = (np.array(one[row["array"]], dtype=np.float64) for one in (left, right))
        found = comparison(a, b) | (predictions(a, b) if row["array"] == "logits" else {})
        wrong = differing(row["numbers"], found)
        assert not wrong, (row["array"], row["a"], row["b"], wrong)
        counts["comparisons"] += len(found)
    for one in report["cells"]:
        with np.load(cells / one["file"]) as arrays:
            seconds = sorted(arrays["seconds"].tolist())
            stored: dict[str, Any] = {key: int(arrays[key]) for key in one["numbers"] if key.endswith("_bytes")}
            made = json.loads(str(arrays["vizkit"]))
            top = int(np.argmax(arrays["logits"]))
        stored |= {
            "seconds_median": float(np.median(seconds)),
            "seconds_first_quartile": float(stats.scoreatpercentile(seconds, 25)),
            "seconds_third_quartile": float(stats.scoreatpercentile(seconds, 75)),
            "runs": len(seconds),
        }
        wrong = differing(one["numbers"], stored)
        assert not wrong, (one["file"], wrong)
        assert one["top1"]["index"] == top
        assert one["weights_sha256"] == made["weights"]["sha256"]
        counts["measurements"] += len(stored)
    counts["rows"] = table(folder, report)
    derived(report)
    return counts


def table(folder: Path, report: dict[str, Any]) -> int:
    """The CSV says what the JSON says, one number a row."""
    expected = {}
    for row in report["comparisons"]:
        sides = [row[side][key] for side in "ab" for key in ("model", "weights", "backend", "dtype")]
        for name, value in row["numbers"].items():
            expected[(row["relation"], row["technique"], row["image"], row["array"], *sides, name)] = value
    for one in report["cells"]:
        side = [one[key] for key in ("model", "weights", "backend", "dtype")]
        for name, value in one["numbers"].items():
            expected[("cell", one["technique"], one["image"], "", *side, "", "", "", "", name)] = value
    with (folder / "results.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    assert len(rows) == len(expected)
    for *key, value in rows:
        stated = expected[tuple(key)]
        assert (value == "" and stated is None) or float(value) == stated, key
    return len(rows)


def derived(report: dict[str, Any]) -> None:
    """First diverging layers, errors against the judge and the largest difference follow from the comparisons."""
    shares = {(r["relation"], r["a"]["file"], r["b"]["file"], r["array"]): r["numbers"] for r in report["comparisons"]}
    tolerance = report["study"]["tolerance"]
    errors = {(a, name): n["relative_l2"] for (kind, a, _, name), n in shares.items() if kind == "reference"}
    backends = [n["relative_l2"] for (kind, *_), n in shares.items() if kind == "backends"]
    assert report["worst_relative_l2_of_backends"] == (max(backends) if backends else None)
    for one in report["divergences"]:
        files = (one["a"]["file"], one["b"]["file"])
        layers = [
            (name, n["relative_l2"])
            for (kind, a, b, name), n in shares.items()
            if kind == "backends" and (a, b) == files and name.startswith("layers/")
        ]
        first = [name for name, share in layers if share > tolerance]
        assert one["first"] == (first[0].removeprefix("layers/") if first else None)
        assert one["worst_relative_l2"] == max(share for _, share in layers)
        shown = f"layers/{one['first'] or one['worst']}"
        for side in "ab":
            assert one["errors"][one[side]["backend"]] == errors.get((one[side]["file"], shown))
    for one in report["verdicts"]:
        key = ("backends", one["a"]["file"], one["b"]["file"], "values")
        assert one["relative_l2"] == shares[key]["relative_l2"]
        for side in "ab":
            assert one["errors"][one[side]["backend"]] == errors.get((one[side]["file"], "values"))
