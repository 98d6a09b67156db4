"""The study's numbers as files: ``results.json`` with everything, ``results.csv`` with one number a row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import results
from ...support.version import VERSION
from . import machine, pairs
from .cells import FOLDER, Cell, digest, has_judge, is_file
from .pairs import Row
from .plan import Plan, weights_name
from .run import Failures

JSON, CSV = "results.json", "results.csv"
GENERATOR = f"vizkit compare {VERSION}"
Found = dict[str, Any]
ABOUT = ("relation", "technique", "image", "array")
SIDE = ("model", "weights", "backend", "dtype")
COLUMNS = (*ABOUT, *SIDE, *(f"against_{name}" for name in SIDE), "metric", "value")


def measured(cell: Cell, folder: Path) -> Row:
    """A finished cell's row: its measurements, and what its file says of itself."""
    with np.load(folder / cell.file) as arrays:
        made = json.loads(str(arrays[results.PROVENANCE]))
        seconds = arrays["seconds"]
        low, middle, high = np.percentile(seconds, [25, 50, 75])
        logits = arrays["logits"].astype(np.float64)
        numbers = {
            "seconds_median": float(middle),
            "seconds_first_quartile": float(low),
            "seconds_third_quartile": float(high),
            "runs": len(seconds),
            **{key: int(arrays[key]) for key in ("peak_bytes", "loaded_bytes", "loading_peak_bytes")},
        }
        of_the_runs = bool(arrays["peak_is_of_the_runs"])
    target = made["settings"].get("target")
    return {
        **cell.named(),
        "file": cell.file,
        "numbers": numbers,
        "peak_is_of_the_runs": of_the_runs,
        "top1": {"index": int(np.argmax(logits)), "label": made["labels"][0]},
        "target": target[0] if isinstance(target, list) else None,
        "warnings": made["warnings"],
        "note": made["weights"]["note"],
        "weights_sha256": made["weights"]["sha256"],
        **{key: made[key] for key in ("parameters", "versions", "device", "settings")},
        "image_sha256": made["images"][0]["sha256"],
    }


def gather(plan: Plan, done: Sequence[Cell], failures: Failures, found: Sequence[Row], folder: Path) -> Found:
    """Everything that ``results.json`` holds. It names no folder, so that it can be handed on."""
    kept = folder / FOLDER
    finished = [measured(cell, kept) for cell in done]
    given = [weights for _, weights in plan.networks if is_file(weights) and Path(weights).is_file()]
    worst = pairs.worst(found)
    return {
        "generator": GENERATOR,
        "study": {
            **{key: list(getattr(plan, key)) for key in ("model", "backend", "technique")},
            "weights": [weights_name(weights) for weights in plan.weights],
            "image": plan.names,
            **{key: getattr(plan, key) for key in ("layers", "target", "fit", "input_range", "seed", "device")},
            **{key: getattr(plan, key) for key in ("repeats", "threads", "tolerance")},
            "settings": {name: dict(settings) for name, settings in plan.settings.items()},
            "judge": has_judge(plan),
        },
        "hardware": machine.hardware(),
        "images": {name: digest(path) for name, path in zip(plan.names, plan.image, strict=True)},
        "weights_files": {weights_name(weights): digest(Path(weights)) for weights in given},
        "cells": finished,
        "failures": [{**cell.named(), "error": error} for cell, error in failures.items()],
        "comparisons": list(found),
        "divergences": pairs.divergences(found, plan.tolerance),
        "verdicts": [
            {key: row[key] for key in ("technique", "image", "a", "b", "errors", "verdict")}
            | {"relative_l2": row["numbers"]["relative_l2"]}
            for row in pairs.verdicts(found, plan.tolerance)
        ],
        "worst_relative_l2_of_backends": worst if worst is not None and np.isfinite(worst) else None,
    }


def as_json(found: Mapping[str, Any]) -> str:
    """JSON with a line for each entry of the long lists."""
    parts = []
    for key, value in found.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(one, ensure_ascii=False, allow_nan=False) for one in value)
            parts.append(f"{json.dumps(key)}: [\n  {lines}\n ]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def as_csv(found: Mapping[str, Any]) -> str:
    """One number a row: of each comparison, and of each cell with ``relation`` "cell"; empty where not defined."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found["comparisons"]:
        about = [row[key] for key in ABOUT]
        sides = [row[side][key] for side in ("a", "b") for key in SIDE]
        writer.writerows([*about, *sides, name, _cell(value)] for name, value in row["numbers"].items())
    for row in found["cells"]:
        about = ["cell", row["technique"], row["image"], "", *(row[key] for key in SIDE), "", "", "", ""]
        writer.writerows([*about, name, _cell(value)] for name, value in row["numbers"].items())
    return stream.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
