"""What a renamed keyword says, and to whom."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from vizkit.errors import SettingError
from vizkit.support.renamed import renamed
from vizkit.techniques.common.job import needs_masks


@renamed(threshold="correlation")
@needs_masks
def technique(first: int, *, correlation: float = 0.5) -> tuple[int, float]:
    return first, correlation


@pytest.mark.quick
def test_the_old_name_works_and_warns_at_the_callers_line() -> None:
    old: Any = technique
    with pytest.warns(DeprecationWarning, match="threshold= is now correlation=") as caught:
        assert old(1, threshold=0.7) == (1, 0.7)
    [warning] = caught
    assert warning.filename == __file__
    assert "old(1, threshold=0.7)" in Path(__file__).read_text(encoding="utf-8").splitlines()[warning.lineno - 1]


@pytest.mark.quick
@pytest.mark.filterwarnings("error")
def test_the_new_name_alone_is_in_the_signature() -> None:
    assert technique(1, correlation=0.7) == (1, 0.7)
    assert technique(1) == (1, 0.5)
    assert list(inspect.signature(technique).parameters) == ["first", "correlation"]
    assert hasattr(technique, "needs_masks")
    both: Any = technique
    with pytest.raises(SettingError, match="give correlation= alone"):
        both(1, threshold=0.7, correlation=0.6)
