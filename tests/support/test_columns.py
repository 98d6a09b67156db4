"""Tables as text: widths of terminals, and how numbers are written."""

import io
import math
import os
from types import SimpleNamespace

import pytest

from vizkit.support import columns

HEAD = ("layer", "shape", "mean")
ROWS = [HEAD, ("features.0", "64 x 112 x 112", "0.5"), ("out", "10", "")]


@pytest.mark.quick
def test_columns_are_as_wide_as_their_cells() -> None:
    assert columns.laid(ROWS, (2,), ruled=(0,)) == [
        "layer       shape           mean",
        "-" * 32,
        "features.0  64 x 112 x 112   0.5",
        "out         10",
    ]


@pytest.mark.quick
def test_a_row_longer_than_the_terminal_goes_on_below_itself_and_loses_nothing() -> None:
    assert columns.laid(ROWS, (2,), 32) == columns.laid(ROWS, (2,))
    assert columns.laid(ROWS, (2,), 26, ruled=(0,)) == [
        "layer       shape",
        "    mean",
        "-" * 26,
        "features.0  64 x 112 x 112",
        "     0.5",
        "out         10",
    ]
    narrow = columns.laid(ROWS, width=1)
    assert [line.strip() for line in narrow] == [cell for row in ROWS for cell in row if cell]


@pytest.mark.quick
def test_words_are_folded_and_none_is_cut() -> None:
    text = "  lrp  Believe it where the rules of the network were chosen for it."
    lines = columns.folded(text, 40, " " * 7).splitlines()
    assert max(map(len, lines)) <= 40
    assert all(line.startswith(" " * 7) for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert columns.folded(text, None) == text


@pytest.mark.quick
def test_the_terminal_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert columns.terminal() == 60
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert columns.terminal() is None  # whatever terminal is behind it
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, fileno=lambda: 1))
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((91, 24)))
    assert columns.terminal() == 91


@pytest.mark.quick
@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0%"), (0.0004, "<0.1%"), (0.0006, "0.1%"), (0.123, "12.3%"), (0.9996, ">99.9%"), (1, "100.0%")],
)
def test_shares_that_are_not_quite_none_or_all(value: float, text: str) -> None:
    assert columns.share(value) == text


@pytest.mark.quick
@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0706, "0.07060"), (7.7536, "7.754"), (-0.216, "-0.2160"), (1234.4, "1234"), (0.0, "0"), (1.25e-7, "1.250e-07"),
     (math.nan, "nan"), (-math.inf, "-inf")],
)  # fmt: skip
def test_numbers_keep_their_digits(value: float, text: str) -> None:
    assert columns.number(value) == text
