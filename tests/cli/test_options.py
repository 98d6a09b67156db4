"""Files that a folder run writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vizkit.cli.options import mirrored


@pytest.mark.quick
def test_no_photo_takes_anothers_file(tmp_path: Path) -> None:
    """Nor that of the contact sheet, which lies beside them."""
    given = ["a.jpg", "a.png", "a.webp", "a-2.jpg", "a-2.png", "contact-sheet.png", "sub/contact-sheet.png"]
    made = mirrored([str(tmp_path)], [tmp_path / name for name in given])
    wanted = ["a", "a-2", "a-3", "a-2-2", "a-2-3", "contact-sheet-2", "sub/contact-sheet"]
    assert made == [Path(f"{name}.png") for name in wanted]
