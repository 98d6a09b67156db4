"""What the doctor found: numbers, verdicts, and whether all is well."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


OWN = "vizkit"
"""The name of the way that vizkit itself takes."""
RIGHT, COARSE, WRONG = "right", "coarse", "wrong"
LIMITS = {"float32": (1e-5, 1e-2), "float64": (1e-7, 1e-5)}
"""Relative L2 norm of the deviation from float64 up to which a result is right, and up to which it is coarse, as where
a GPU multiplies with shortened numbers (TF32). Anything more, or a value that is not finite, is wrong."""


@dataclass(frozen=True)
class Check:
    """One layer type in one way: the relative L2 deviations of its output and of its gradient at the input, infinite
    for values that are not finite; ``error`` when it could not be computed."""

    layer: str
    way: str
    dtype: str
    forward: float = float("inf")
    gradient: float = float("inf")
    error: str | None = None

    @property
    def verdict(self) -> str:
        """Of the worse of the two."""
        return max((self.judge(self.forward), self.judge(self.gradient)), key=(RIGHT, COARSE, WRONG).index)

    def judge(self, deviation: float) -> str:
        """ "right", "coarse" or "wrong"."""
        right, coarse = LIMITS[self.dtype]
        return RIGHT if deviation <= right else COARSE if deviation <= coarse else WRONG


@dataclass(frozen=True)
class Examination:
    """One backend on one device. ``advice`` is what to do about each way of the framework's own, by its name;
    ``error`` says why nothing could be examined."""

    backend: str
    device: str
    versions: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    checks: tuple[Check, ...] = ()
    advice: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def right(self) -> bool:
        """Whether everything could be examined, and vizkit's own way is nowhere wrong."""
        own = [check for check in self.checks if check.way == OWN]
        return self.error is None and bool(own) and all(check.verdict != WRONG for check in own)

    def ways(self) -> list[str]:
        """Names of the ways, vizkit's own first."""
        return list(dict.fromkeys(check.way for check in self.checks))

    def of(self, way: str, verdict: str) -> list[Check]:
        """The checks of one way with that verdict."""
        return [check for check in self.checks if check.way == way and check.verdict == verdict]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that :func:`vizkit.doctor` found. ``absent`` gives the line that installs each backend that is not."""

    examinations: tuple[Examination, ...]
    absent: Mapping[str, str]
    processor: str
    cores: int
    versions: Mapping[str, str]
    dtype: str
    seed: int

    @property
    def right(self) -> bool:
        """Whether vizkit's own gradients are right in every backend and on every device examined, at least one."""
        return bool(self.examinations) and all(one.right for one in self.examinations)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; deviations that are not finite are None."""
        return {
            "right": self.right,
            **{name: getattr(self, name) for name in ("processor", "cores", "dtype", "seed")},
            "versions": dict(self.versions),
            "absent": dict(self.absent),
            "examinations": [_examination(one) for one in self.examinations],
        }

    def __str__(self) -> str:
        from rich.console import Console

        stream = io.StringIO()
        show(self, Console(file=stream, width=WIDTH, color_system=None))
        return stream.getvalue()


def _examination(one: Examination) -> dict[str, Any]:
    checks = [
        {name: value for name, value in asdict(check).items() if name != "dtype"}
        | {"verdict": check.verdict, "forward": _finite(check.forward), "gradient": _finite(check.gradient)}
        for check in one.checks
    ]
    return {**asdict(one), "right": one.right, "checks": checks}


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


MARKS = {RIGHT: ("✓", "green"), COARSE: ("~", "yellow"), WRONG: ("✗", "bold red")}
WIDTH = 100


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print everything: machine, a table for each backend and device, and what follows from it."""
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    _say(console, f"{versions}; {diagnosis.processor}, {diagnosis.cores} cores; {diagnosis.dtype}")
    for one in diagnosis.examinations:
        _print_examination(one, console)
    for name, line in diagnosis.absent.items():
        _say(console, f"\n{name}: not installed; {line}")
    _say(console, f"\n{_verdict(diagnosis)}", "green" if diagnosis.right else "bold red")


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(line, style=style, markup=False, highlight=False)


def _print_examination(one: Examination, console: Console) -> None:
    where = f"{one.backend} on {one.device}" if one.device else one.backend
    if one.error is not None:
        _say(console, f"\n{where}: cannot be examined: {one.error}", "bold red")
        return
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    _say(console, f"\n{where}: {versions}, {one.threads} thread{'s' if one.threads != 1 else ''}", "bold")
    for table in _tables(one, console):
        console.print(table)
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


def _tables(one: Examination, console: Console) -> list[Table]:
    """A table of all ways, or one for each where the console is too narrow for that: a cell that is cut has lost its
    verdict."""
    from rich.measure import Measurement

    whole = _table(one, one.ways())
    if Measurement.get(console, console.options.update(max_width=1000), whole).maximum <= console.width:
        return [whole]
    return [_table(one, [way]) for way in one.ways()]


def _table(one: Examination, ways: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for way in ways:
        table.add_column(f"{_letter(one, way)}\nforward", justify="right", no_wrap=True)
        table.add_column("\ngradient", justify="right", no_wrap=True)
    found = {(check.layer, check.way): check for check in one.checks}
    for layer in dict.fromkeys(check.layer for check in one.checks):
        cells: list[Text] = []
        for way in ways:
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
