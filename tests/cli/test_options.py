"""Files that a folder run writes, and what an interrupt is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from vizkit import cli
from vizkit.cli.options import mirrored
from vizkit.zoo import loading


@pytest.mark.quick
def test_no_photo_takes_anothers_file(tmp_path: Path) -> None:
    """Nor that of the contact sheet, which lies beside them."""
    given = ["a.jpg", "a.png", "a.webp", "a-2.jpg", "a-2.png", "contact-sheet.png", "sub/contact-sheet.png"]
    made = mirrored([str(tmp_path)], [tmp_path / name for name in given])
    wanted = ["a", "a-2", "a-3", "a-2-2", "a-2-3", "contact-sheet-2", "sub/contact-sheet"]
    assert made == [Path(f"{name}.png") for name in wanted]


@pytest.mark.quick
def test_an_interrupt_is_answered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Typer makes an exit code of it, without a word."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "backends", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main(["backends"])
    assert end.value.code == cli.INTERRUPTED
    assert "vizkit: stopped; no file is half written" in capsys.readouterr().err
