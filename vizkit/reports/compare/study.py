"""One study from beginning to end: compute what is missing, compare, write the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from ...contract.errors import SettingError, VizkitError
from ...support.files import write_text
from ...support.progress import steps_bar
from ..page.folder import write
from . import Comparison, pairs, report
from . import cells as table
from . import run as running
from .cells import FOLDER, Cell
from .page import build
from .pairs import Row
from .plan import MARK, Plan, text, weights_name

STUDY = "study.toml"


def run(
    plan: Plan,
    folder: Path,
    tell: Callable[[str], None],
    workers: int | None = None,
    scheduler: str | None = None,
) -> Comparison:
    """See :func:`vizkit.compare`."""
    check(folder)
    kept = folder / FOLDER
    every = table.listed(plan)
    kept.mkdir(parents=True, exist_ok=True)
    write_text(folder / STUDY, text(plan))
    wanted = running.missing(every, kept)
    if plan.judge and not table.has_judge(plan):
        tell("There is no judge: PyTorch, whose float64 it is, is not installed.")
    if len(wanted) < len(every):
        tell(f"{len(every) - len(wanted)} of {len(every)} cells are there already.")
    with steps_bar("compare", len(wanted) + len(every)) as advance:
        count = 0

        def step(cell: Cell, finished: bool) -> None:
            nonlocal count
            count += finished
            advance(count, f"{cell.model} {cell.backend} {cell.dtype} {cell.technique}")

        failures = running.compute(plan, wanted, kept, step, workers, scheduler)
        done = [cell for cell in every if cell not in failures]
        if not done:
            raise VizkitError(f"Every cell of the study failed. The first: {next(iter(failures.values()))}")
        rows: list[Row] = []
        groups = pairs.listed(done)
        for k, group in enumerate(groups):
            advance(len(wanted) + k * len(every) // len(groups), f"numbers of {group[0].a.technique}")
            rows += pairs.rows(group, kept)
        advance(len(wanted) + len(every), "")
    found = report.gather(plan, done, failures, rows, folder)
    write_text(folder / report.CSV, report.as_csv(found))
    write_text(folder / report.JSON, report.as_json(found))
    chapters, index = build(found, folder, command(plan))
    write(folder, sorted(folder.glob("*.png")), chapters, index)  # in place of an earlier report's pictures
    unused = {path.name for path in kept.glob("*.npz")} - {cell.file for cell in every}
    if unused:
        tell(f"{len(unused)} files in '{kept}' belong to earlier studies; this report does not use them.")
    return Comparison(folder / "index.html", found)


def check(folder: Path) -> None:
    """Raise SettingError unless the folder is new, empty, or an earlier study's."""
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"'{folder}' is a file; give a folder with --out.")
    mark = folder / STUDY
    own = mark.is_file() and mark.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    if folder.exists() and any(folder.iterdir()) and not own:
        raise SettingError(
            f"The folder '{folder}' is not empty, and `vizkit compare` did not make it, so nothing was written. "
            "Give an empty or a new folder with --out."
        )


def command(plan: Plan) -> str:
    """The study as a command line, with files by name alone."""
    usual = {one.name: one.default for one in fields(Plan)}
    parts = ["vizkit", "compare", *(path.name for path in plan.image)]
    parts += ["--study", STUDY] * bool(plan.settings)
    for name in ("model", "backend", "technique"):
        parts += [part for value in getattr(plan, name) for part in (f"--{name}", value)]
    parts += [part for value in plan.weights for part in ("--weights", weights_name(value))]
    for name in ("layers", "target", "fit", "input_range", "seed", "device"):
        value = getattr(plan, name)
        listed = value if isinstance(value, tuple) else (value,)
        option = f"--{name.replace('_', '-')}"
        parts += [part for one in listed for part in (option, str(one)) if value != usual[name]]
    parts += ["--repeats", str(plan.repeats), "--threads", str(plan.threads), "--tolerance", f"{plan.tolerance:g}"]
    return shlex.join([*parts, *(["--no-judge"] * (not plan.judge))])
