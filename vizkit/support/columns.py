"""Tables as text: columns as wide as their cells, on a narrow terminal in several lines a row; and how numbers are
written, in every table alike."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Collection, Sequence

GAP = "  "
FURTHER = "    "
"""Before the lines of a row after its first."""


def terminal() -> int | None:
    """Characters in a line of the user's terminal, as ``COLUMNS`` says or it does itself; None where there is none, as
    in a pipe, whose lines may be of any length."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return os.get_terminal_size(sys.stdout.fileno()).columns or None if sys.stdout.isatty() else None


def laid(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), width: int | None = None, ruled: Collection[int] = ()
) -> list[str]:
    """Lines of a table, its head first, columns in ``right`` flush right, a rule after the rows ``ruled``. Where a row
    is longer than ``width``, all go on in further lines at the same columns: what belongs together stays together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    parts = _parts(widths, width)
    drawn = [_row(row, widths, right, parts) for row in rows]
    rule = "-" * max(len(line) for lines in drawn for line in lines)
    return [line for i, lines in enumerate(drawn) for line in (*lines, *([rule] if i in ruled else ()))]


def _parts(widths: Sequence[int], width: int | None) -> list[range]:
    """Which columns stand in each line of a row: as many as fit."""
    starts, used = [0], widths[0]
    for k, one in enumerate(widths[1:], 1):
        used += len(GAP) + one
        if width is not None and used > width:
            starts, used = [*starts, k], len(FURTHER) + one
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(widths)], strict=True)]


def _row(row: Sequence[str], widths: Sequence[int], right: Collection[int], parts: Sequence[range]) -> list[str]:
    lines = []
    for part in parts:
        cells = (row[k].rjust(widths[k]) if k in right else row[k].ljust(widths[k]) for k in part)
        lines.append((FURTHER if part.start else "") + GAP.join(cells).rstrip())
    return [lines[0], *(line for line in lines[1:] if line.strip())]


def folded(text: str, width: int | None, further: str = "") -> str:
    """Words in lines of at most ``width`` characters, those after the first behind ``further``."""
    if width is None or len(text) <= width:
        return text
    room = max(width, len(further) + 20)
    return textwrap.fill(text, room, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)


def share(value: float) -> str:
    """A share of the whole in percent: what is not quite none or all does not read as it."""
    tenths = f"{value:.1%}"
    if tenths == "0.0%" and value > 0:
        return "<0.1%"
    return ">99.9%" if tenths == "100.0%" and value < 1 else tenths


def number(value: float) -> str:
    """A number with four digits that count, zeros at the end among them."""
    return f"{value:#.4g}".removesuffix(".") if value else "0"


def deviation(value: float) -> str:
    """How far two numbers are apart: its size is what matters."""
    return f"{value:.1e}" if value else "0"
