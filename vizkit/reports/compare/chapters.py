"""The chapters of a report: each says in words what its numbers mean, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...support.columns import deviation
from ..page import Chapter, Table
from . import pairs
from .numbers import METRICS
from .pairs import Row

Found = Mapping[str, Any]
UNDEFINED = "–"
ANSWER = {None: UNDEFINED, 0.0: "no", 1.0: "yes"}
VERDICTS = {
    "equal": "equal within the tolerance",
    "float32": "neither: float32 itself is that far off",
    None: "unknown: no judge",
}


def network(found: Found, one: Mapping[str, str]) -> str:
    """A network's name; its weights are named where a study has several."""
    return one["model"] if len(found["study"]["weights"]) == 1 else f"{one['model']}, {one['weights']}"


def small(value: float | None) -> str:
    """A difference, for a table."""
    return UNDEFINED if value is None else deviation(value)


def near_one(value: float | None) -> str:
    """A correlation or a share, for a table: what lies near 1 by how near."""
    if value is None:
        return UNDEFINED
    gap = 1 - value
    if abs(gap) < 1e-15:
        return "1"
    if gap >= 1e-3:
        return f"{value:.3f}"
    return f"1 − {gap:.0e}".replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def judged(row: Row) -> tuple[str, str]:
    """Each backend's error against the judge, and which of them is off."""
    errors = ", ".join(f"{name} {small(value)}" for name, value in row["errors"].items())
    return errors, VERDICTS.get(row["verdict"], f"{row['verdict']} is off")


def summary(found: Found) -> Chapter:
    """The answer first: do the backends agree, and if not, which of them is off."""
    study = found["study"]
    notes = [f"{_cell(one)}: failed. {one['error']}" for one in found["failures"]]
    verdicts, layers = found["verdicts"], found["divergences"]
    parts = []
    if verdicts or layers:
        apart = [row for row in verdicts if row["verdict"] != "equal"]
        parted = [row for row in layers if row["first"] is not None]
        parts.append(
            f"Two backends are said to agree where the relative L2 norm of their difference is at most "
            f"{study['tolerance']:g}. {len(verdicts) - len(apart)} of {len(verdicts)} maps agree, and "
            f"{len(layers) - len(parted)} of {len(layers)} forward passes do in every layer compared."
        )
        if study["judge"]:
            parts.append(
                "Where they part, PyTorch in float64 is the judge: each backend's float32 result is held against it, "
                f"and a backend is called off where its error is more than {pairs.ALIKE:g} times the other's, and in a "
                f"map more than {pairs.FLIPS:g}. Smaller ones are float32's own: a gradient through ReLU and max-pool "
                "is not continuous, so that rounding can send it down another path, in one backend as in the other."
            )
        else:
            parts.append("There is no judge: it needs PyTorch, in float64, and none took part in this study.")
    else:
        parts.append("Only one backend took part, so that no two backends are compared.")
    tables = []
    if verdicts:
        head = ("network", "technique", "image", "backends", "relative L2", "error against float64", "which is off")
        rows = [
            (
                *(network(found, row["a"]), row["technique"], row["image"], against(found, row)),
                *(small(row["relative_l2"]), *judged(row)),
            )
            for row in verdicts
        ]
        tables.append(Table("Maps of two backends", head, rows))
    if layers:
        parted_at = ("first layer beyond", "largest relative L2", "error there", "which is off")
        head = ("network", "image", "backends", *parted_at)
        forward = [
            (
                *(network(found, row["a"]), row["image"], against(found, row)),
                row["first"] or f"none of {row['layers']}",
                *(f"{small(row['worst_relative_l2'])} at {row['worst']}", *judged(row)),
            )
            for row in layers
        ]
        tables.append(Table("Forward passes of two backends, layer by layer", head, forward))
    return Chapter("summary", "What came out", "\n\n".join(parts), tables=tables, notes=notes)


def _cell(one: Mapping[str, str]) -> str:
    dtype = "" if one["dtype"] == "float32" else f" in {one['dtype']}"
    return f"{one['model']}, {one['weights']}, {one['backend']}{dtype}, {one['technique']}, {one['image']}"


def metrics(found: Found, caption: str, rows: Sequence[Row], folded: bool = False, layers: bool = False) -> Table:
    """All metrics of comparisons, one a row."""
    head = ("layer" if layers else "what", "image", *METRICS.values())
    names = [row["array"].removeprefix(pairs.PREFIX) if layers else against(found, row) for row in rows]
    shown = [[(small if k < 3 else near_one)(row["numbers"][one]) for k, one in enumerate(METRICS)] for row in rows]
    body = [(name, row["image"], *each) for name, row, each in zip(names, rows, shown, strict=True)]
    return Table(caption, head, body, folded)


def against(found: Found, row: Row) -> str:
    """What is held against what."""
    a, b = row["a"], row["b"]
    if row.get("relation") == pairs.NETWORKS:
        return f"{network(found, a)} against {network(found, b)}, {a['backend']}"
    return f"{a['backend']} against {b['backend']}" + (" float64" if b["dtype"] == "float64" else "")


def predictions(found: Found) -> Chapter | None:
    """What every network answers, and whether the answers agree."""
    first: dict[tuple[str, ...], Row] = {}
    for one in found["cells"]:
        first.setdefault(tuple(one[key] for key in ("model", "weights", "backend", "dtype", "image")), one)
    head = ("network", "backend", "image", "top-1")
    answers = [(*_who(found, one), f"{one['top1']['label']} ({one['top1']['index']})") for one in first.values()]
    files = {one["file"] for one in first.values()}
    rows = [row for row in found["comparisons"] if row["array"] == pairs.LOGITS and row["a"]["file"] in files]
    agree = [
        (
            *(network(found, row["a"]), against(found, row), row["image"], ANSWER[row["numbers"]["top1"]]),
            *(near_one(row["numbers"]["top5"]), small(row["numbers"]["relative_l2"])),
        )
        for row in rows
        if row["b"]["file"] in files
    ]
    if not answers:
        return None
    tables = [Table("The most probable class", head, answers)]
    if agree:
        columns = ("network", "what", "image", "same top-1", "top-5 shared", "relative L2 of the logits")
        tables.append(Table("Agreement of predictions", columns, agree))
    text = "The logits of each network, from the same pass that the techniques explain."
    return Chapter("predictions", "Predictions", text, tables=tables)


def _who(found: Found, one: Row) -> tuple[str, str, str]:
    return network(found, one), f"{one['backend']} {one['dtype']}", one["image"]


def cost(found: Found) -> Chapter:
    """Time and memory of each cell."""
    study, hardware = found["study"], found["hardware"]
    threads = "1 thread" if study["threads"] == 1 else f"{study['threads']} threads"
    whole = all(one["peak_is_of_the_runs"] for one in found["cells"])
    peak = "of the runs alone" if whole else "of the whole process, since this system cannot tell the runs' own"
    text = (
        f"Wall time of one call on one image: median and quartiles of {study['repeats']} runs after one that is not "
        f"counted; the judge, in float64, runs once after that one. Every technique of every network runs in a fresh "
        f"process that holds one framework, with {threads} an operator, on {hardware['processor']}, "
        f"{hardware['cores']} processors; nothing else of the study runs meanwhile.\n\nMemory is the peak of the "
        f"resident set {peak}; beside it what the process held before: Python, the framework and the network."
    )
    head = ("technique", "network", "backend", "image", "median", "quartiles", "runs", "peak memory", "before")
    rows = [
        (
            *(one["technique"], *_who(found, one), *_time(one["numbers"])),
            *(f"{one['numbers'][name] / 2**20:.0f} MiB" for name in ("peak_bytes", "loaded_bytes")),
        )
        for one in found["cells"]
    ]
    return Chapter("cost", "Time and memory", text, tables=[Table("Every cell", head, rows)])


def _time(numbers: Mapping[str, float]) -> tuple[str, str, str]:
    low, high = (_seconds(numbers[f"seconds_{which}_quartile"]) for which in ("first", "third"))
    return _seconds(numbers["seconds_median"]), f"{low} to {high}", str(numbers["runs"])


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


DEFINITIONS = (
    ("largest difference", "max |a − b|, in the arrays’ own units"),
    ("of the maximum", "max |a − b| / max |b|"),
    ("relative L2", "‖a − b‖ / ‖b‖"),
    ("cosine", "a·b / (‖a‖ ‖b‖)"),
    ("Pearson, Spearman", "correlation of the values, and of their ranks, equal values sharing their mean rank"),
    (
        "SSIM",
        "mean structural similarity (Wang et al. 2004), averaged over channels: windows of 7 x 7, sample covariance, "
        "K1 = 0.01, K2 = 0.03, L = max − min over both arrays",
    ),
    ("top 5 % shared", "share of the 5 % positions of largest |a| that are also among those of |b|"),
)


def methods(found: Found) -> Chapter:
    """How the numbers are defined, and how the tolerance was chosen."""
    text = (
        "All numbers are of raw values, before any normalisation, widened to float64; b is what a is held against. A "
        "dash means that a number is not defined: a correlation of a constant, a structural similarity of a vector.\n\n"
        f"The tolerance is {found['study']['tolerance']:g} in relative L2. The usual one, 1e-05, is about a hundred "
        "times float32’s rounding (1.2e-07): sums taken in another order stay below it in the forward pass of every "
        "network measured, and a wrong operator lies far above.\n\n"
        "The judge is the same network with the same weights in PyTorch, in float64. Layers are compared between "
        "backends, where a name means the same tensor; between networks only maps and predictions are, since their "
        "layers are different things, and their maps have different units, so that correlations, structural similarity "
        "and the top 5 % say more than differences do."
    )
    return Chapter(
        "methods", "How the numbers are defined", text, tables=[Table("Numbers", ("name", "meaning"), DEFINITIONS)]
    )


def files(found: Found) -> Chapter:
    """Where the raw arrays are, so that every number can be computed again."""
    text = (
        "results.json holds every number on this page, results.csv the same with one number a row, study.toml the "
        "study. The raw arrays lie in cells/, one .npz a cell: “values” (the map), or “layers/NAME” for each layer, "
        "“logits”, “picture” (what the network saw), “seconds” of each run, bytes of memory, and the provenance "
        "as JSON under “vizkit”. Every number is computed from these files alone."
    )
    code = (
        "import json, numpy as np\n"
        'row = json.load(open("results.json"))["comparisons"][0]\n'
        'a, b = (np.load("cells/" + row[side]["file"])[row["array"]].astype(float) for side in "ab")\n'
        'print(np.linalg.norm(a - b) / np.linalg.norm(b), row["numbers"]["relative_l2"])'
    )
    head = ("technique", "network", "backend", "image", "file")
    rows = [(one["technique"], *_who(found, one), one["file"]) for one in found["cells"]]
    return Chapter(
        "files", "The raw arrays", text, tables=[Table("Files in cells/", head, rows, folded=True)], pre=code
    )
