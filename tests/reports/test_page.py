"""What pages share."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from vizkit.page import difference
from vizkit.reports.page import prose, settings


@pytest.mark.quick
def test_an_infinity_equals_itself_alone() -> None:
    first, other = np.array([3.0, 4.0, -np.inf]), np.array([3.0, 4.5, -np.inf])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = difference("patches", [("a", first), ("b", other)])
        (apart,) = difference("patches", [("a", first), ("b", np.array([3.0, 4.0, 1.0]))])
        (none,) = difference("patches", [("a", np.full(2, -np.inf)), ("b", np.full(2, -np.inf))])
    assert (found.l2, found.largest) == (0.1, 0.125)
    assert apart.largest == np.inf
    assert (none.l2, none.largest) == (0.0, 0.0)


@pytest.mark.quick
def test_settings_of_several_results_say_where_they_part() -> None:
    """A picture of float32 beside float64 is not one of float32."""
    one = {"technique": "feature_maps", "model": "shapes", "dtype": "float32", "backend": "torch", "device": "cpu"}
    layers = [f"features.{k}" for k in range(30)]
    first = {**one, "settings": {"layers": layers, "fit": "crop"}}
    judge = {**first, "dtype": "float64"}
    found = dict(settings({"results": [first, judge]}))
    assert found["dtype"] == "float32; float64"
    assert found["backends"] == "torch on cpu in float32, torch on cpu in float64"
    assert found["fit"] == "crop"
    assert found["layers"] == "features.0, features.1, features.2, …, features.29 (30 in all)"
    unit = [{**one, "settings": {"unit": unit, **more}} for unit, more in ((3, {}), (8, {"seed": 0}))]
    assert dict(settings({"results": unit}))["unit"] == "3; 8"
    assert dict(settings({"results": unit}))["seed"] == "0"
    assert dict(settings(first))["backends"] == "torch on cpu"


@pytest.mark.quick
def test_a_number_does_not_end_a_line_after_its_hyphen() -> None:
    assert prose("at most 1e-05 < 6.3e-07.") == (
        'at most <span class="whole">1e-05</span> &lt; <span class="whole">6.3e-07</span>.'
    )
    assert prose("stage-1, 3 to 4") == "stage-1, 3 to 4"
