"""The diagnosis as tables for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from .result import COARSE, OWN, RIGHT, WRONG, Check, Diagnosis, Examination

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MARKS = {RIGHT: ("✓", "green"), COARSE: ("~", "yellow"), WRONG: ("✗", "bold red")}
WIDTH = 100


def text(diagnosis: Diagnosis) -> str:
    """The tables without colours."""
    from rich.console import Console

    stream = io.StringIO()
    show(diagnosis, Console(file=stream, width=WIDTH, color_system=None))
    return stream.getvalue()


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print everything: machine, a table for each backend and device, and what follows from it."""
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    _say(console, f"{versions}; {diagnosis.processor}, {diagnosis.cores} cores; {diagnosis.dtype}")
    for one in diagnosis.examinations:
        _examination(one, console)
    for name, line in diagnosis.absent.items():
        _say(console, f"\n{name}: not installed; {line}")
    _say(console, f"\n{_verdict(diagnosis)}", "green" if diagnosis.right else "bold red")


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(line, style=style, markup=False, highlight=False)


def _examination(one: Examination, console: Console) -> None:
    where = f"{one.backend} on {one.device}" if one.device else one.backend
    if one.error is not None:
        _say(console, f"\n{where}: cannot be examined: {one.error}", "bold red")
        return
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    _say(console, f"\n{where}: {versions}, {one.threads} thread{'s' if one.threads != 1 else ''}", "bold")
    console.print(_table(one))
    for check in one.checks:
        if check.error is not None:
            _say(console, f"{check.layer}, {check.way}: {check.error}", "red")
    for way in one.ways():
        _conclude(one, way, console)
    for advice in dict.fromkeys(one.advice[way] for way in one.ways()[1:] if one.of(way, WRONG)):
        _say(console, f"Warning: {advice}", "yellow")


def _conclude(one: Examination, way: str, console: Console) -> None:
    """What each way is, where it is wrong, and the advice then; the same advice once."""
    wrong, coarse = one.of(way, WRONG), one.of(way, COARSE)
    names = "; ".join(check.layer for check in wrong)
    if way != OWN:
        said = f"{_letter(one, way)}: {way}" + (f" is WRONG here: {names}." if wrong else "")
        _say(console, said, "yellow" if wrong else "")
    elif wrong:
        _say(console, f"WRONG in vizkit's own way: {names}. Do not trust maps of {one.backend} here.", "bold red")
    if coarse:
        names = "; ".join(check.layer for check in coarse)
        said = f"{_letter(one, way)} is coarse, as where numbers are shortened on the way (TF32): {names}."
        _say(console, said, "yellow")


def _table(one: Examination) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for way in one.ways():
        table.add_column(f"{_letter(one, way)}\nforward", justify="right", no_wrap=True)
        table.add_column("\ngradient", justify="right", no_wrap=True)
    found = {(check.layer, check.way): check for check in one.checks}
    for layer in dict.fromkeys(check.layer for check in one.checks):
        cells: list[Text] = []
        for way in one.ways():
            cells += [Text(*_cell(found.get((layer, way)), part)) for part in ("forward", "gradient")]
        table.add_row(layer, *cells)
    return table


def _letter(one: Examination, way: str) -> str:
    """A column's short name: the framework's own ways are too long for one."""
    return way if way == OWN else chr(ord("A") + one.ways()[1:].index(way))


def _cell(check: Check | None, part: str) -> tuple[str, str]:
    if check is None:
        return "", ""
    deviation: float = getattr(check, part)
    mark, style = MARKS[check.judge(deviation)]
    shown = "failed" if check.error is not None else f"{deviation:.0e}" if deviation else "0"
    return f"{shown} {mark}", style


def _verdict(diagnosis: Diagnosis) -> str:
    if not diagnosis.examinations:
        return "No backend to examine is installed."
    if diagnosis.right:
        return "vizkit's own gradients are right everywhere."
    bad = [f"{one.backend} {one.device}".strip() for one in diagnosis.examinations if not one.right]
    return f"vizkit's own gradients are not right, or could not be examined, in {', '.join(bad)}."
