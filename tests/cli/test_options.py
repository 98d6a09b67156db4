"""Files that a folder run writes, and what an interrupt is answered."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from conftest import INSTALLED, call
from PIL import Image

from vizkit import cli
from vizkit.cli.photos import mirrored
from vizkit.zoo import loading, shapes


@pytest.mark.quick
def test_no_photo_takes_anothers_file(tmp_path: Path) -> None:
    """Nor that of the contact sheet, which lies beside them."""
    given = ["a.jpg", "a.png", "a.webp", "a-2.jpg", "a-2.png", "contact-sheet.png", "sub/contact-sheet.png"]
    made = mirrored([str(tmp_path)], [tmp_path / name for name in given])
    wanted = ["a", "a-2", "a-3", "a-2-2", "a-2-3", "contact-sheet-2", "sub/contact-sheet"]
    assert made == [Path(f"{name}.png") for name in wanted]


def test_pictures_within_shards_are_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told by its name, and gets a file below its shard's; what cannot be read is reported."""
    for k, shard in enumerate(("a", "b")):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as packed:
            for i, image in enumerate(shapes.sample(2, seed=k).images):
                Image.fromarray(image).save(tmp_path / "one.png")
                packed.add(tmp_path / "one.png", f"pets/{i}.png")
        (tmp_path / "one.png").unlink()
    code, _, err = call(
        capsys, "saliency", str(tmp_path), "-m", "shapes", "-b", INSTALLED[0], "-o", str(tmp_path / "o")
    )
    assert code == 0, err
    files = {file.relative_to(tmp_path / "o").as_posix() for file in (tmp_path / "o").rglob("*.png")}
    assert files == {"contact-sheet.png", *(f"{shard}/pets/{i}.png" for shard in "ab" for i in range(2))}
    (tmp_path / "half.tar").write_bytes((tmp_path / "b.tar").read_bytes()[:27_000])
    code, out, err = call(capsys, "predict", str(tmp_path / "half.tar"), "-m", "shapes", "-b", INSTALLED[0])
    assert code == 0, err
    assert [line.split(": ")[1] for line in out.splitlines() if ": " in line] == ["0.png"]
    assert "skipped pets/1.png" in err


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
