"""Frames, views and edits: what is written is read again, and what is none is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vizkit.errors import SettingError
from vizkit.explore import protocol
from vizkit.explore.protocol import View, edits, pack, unpack


@pytest.mark.quick
def test_a_frame_is_read_as_it_was_written() -> None:
    arrays = {
        "bytes": np.arange(7, dtype=np.uint8), "whole": np.arange(6, dtype=np.int32).reshape(2, 3),
        "real": np.float32([[0.1, -2.5]]), "exact": np.float64([1 / 3]), "none": np.zeros((0, 4), np.float32),
    }  # fmt: skip
    header, found = unpack(pack({"name": "é", "count": 3}, arrays))
    assert header == {"name": "é", "count": 3}
    for name, array in arrays.items():
        assert found[name].dtype == (np.float32 if name == "exact" else array.dtype)
        np.testing.assert_array_equal(found[name], array.astype(found[name].dtype))


@pytest.mark.quick
def test_arrays_lie_where_a_browser_can_see_them_without_copying() -> None:
    for name in ("a", "ab", "abc", "abcd", "abcdefg"):
        frame = pack({name: 1}, {"odd": np.zeros(3, np.uint8), "real": np.ones(2, np.float32)})
        length = int.from_bytes(frame[:4], "little")
        header = json.loads(frame[4 : 4 + length])
        assert (4 + length) % 8 == 0
        assert all(one["offset"] % 8 == 0 for one in header["arrays"].values())
        start = 4 + length + header["arrays"]["real"]["offset"]
        assert frame[start : start + 8] == np.ones(2, "<f4").tobytes()


def test_a_number_that_no_browser_can_read_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack({"value": float("nan")}, {})


@pytest.mark.parametrize("text", ["-1", "1.5", "²", "١", "9" * 30, "0x1", " 1", "nan", "2000000"])
def test_a_number_is_a_whole_one_within_its_range(text: str) -> None:
    with pytest.raises(SettingError, match="whole number"):
        View({"unit": text}).number("unit")


@pytest.mark.quick
def test_a_view_reads_what_the_address_says() -> None:
    view = View.of(
        "#picture=2&layer=a%2Fb&edits=%5B%7B%22layer%22%3A%22x%22%2C%22unit%22%3A3%2C%22mode%22%3A%22off%22%7D%5D"
    )
    assert (view.text("picture"), view.text("layer"), view.number("count", 64)) == ("2", "a/b", 64)
    assert [(one.layer, one.unit, one.amount) for one in view.edits] == [("x", 3, None)]
    with pytest.raises(SettingError, match="lacks unit"):
        view.number("unit")


@pytest.mark.parametrize(
    "given",
    [
        {}, "off", [1], [{"layer": "a"}], [{"layer": "a", "unit": 1, "mode": "no"}],
        [{"layer": "a", "unit": "x", "mode": "off"}], [{"layer": "a", "unit": 1, "mode": "add"}],
        [{"layer": "a", "unit": 1, "mode": "add", "amount": None}], [{"layer": "a", "unit": 1, "mode": "off"}] * 65,
        [{"layer": "a", "unit": float("inf"), "mode": "off"}],
    ],
)  # fmt: skip
def test_edits_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(SettingError):
        edits(given)


def test_json_that_nests_without_end_is_refused() -> None:
    with pytest.raises(SettingError, match="no JSON"):
        protocol.json_of("[" * 100_000, "edits")


def test_the_table_of_addresses_names_every_route() -> None:
    from vizkit.explore import application

    source = Path(application.__file__).read_text(encoding="utf-8")
    routes = set(re.findall(r'Route\("/(api/[a-z]+)', source))
    assert routes == set(re.findall(r"``(api/[a-z]+)``", protocol.__doc__ or ""))
