"""A test that says what the contract requires, and where."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np
import pytest

from vizkit.contract.backend import Array
from vizkit.contract.errors import SettingError

from .kit import Kit

pytest.register_assert_rewrite(
    *(f"vizkit.testing.of_{what}" for what in ("backends", "models", "ops", "options", "passes", "rules"))
)
Test = TypeVar("Test", bound=Callable[..., None])
LIMITS = {"float64": 1e-9, "float32": 3e-5}
"""By how much of the largest value results may differ."""


def required(where: str) -> Callable[[Test], Test]:
    """Marks a requirement: its docstring says what, ``where`` which part of the contract."""
    return _marked(where, optional=False)


def optional(where: str) -> Callable[[Test], Test]:
    """Marks a requirement on backends that have this part. A SettingError says that one has not, and why."""
    return _marked(where, optional=True)


def _marked(where: str, optional: bool) -> Callable[[Test], Test]:
    def mark(test: Test) -> Test:
        what = " ".join((test.__doc__ or "").split())

        def failed(error: BaseException) -> NoReturn:
            pytest.fail(f"{where} requires: {what}\n{type(error).__name__}: {error}")

        @functools.wraps(test)
        def told(self: Any, kit: Kit, **given: Any) -> None:
            try:
                test(self, kit, **given)
            except SettingError as error:
                if not optional or kit.complete:
                    failed(error)
                pytest.skip(f"{where} is optional, and {kit.backend} goes without: {error}")
            except (Exception, pytest.fail.Exception) as error:
                failed(error)

        return told  # type: ignore[return-value]

    return mark


def assert_close(found: Array, expected: Array, what: str = "the result") -> None:
    """Equal to the rounding of the found array's dtype, as a part of the largest expected value."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape, f"{what} has shape {found.shape}; expected {expected.shape}"
    off = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
    limit = LIMITS[found.dtype.name]
    assert off <= limit, f"{what} is off by {off:.1e} of the largest expected value; {limit:.0e} is allowed"
