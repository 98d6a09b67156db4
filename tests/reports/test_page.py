"""What pages share."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from vizkit.page import difference


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
