"""Folders of images: what is found, what is skipped, and that a stream gives what single images give."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vizkit
from vizkit import cli, folders, images
from vizkit.errors import ImageError
from vizkit.images import Batch
from vizkit.zoo.catalog import imagenet_spec

SPEC = imagenet_spec()


def write(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for k, name in enumerate(["b/2.png", "b/10.jpg", "a/deep/x.PNG", "top.png", ".hidden/h.png", "a/.h.png"]):
        write(root / name, k)
    (root / "a" / "notes.txt").write_text("no image")
    return root


@pytest.mark.quick
def test_recursive_sorted_and_labelled(tree: Path) -> None:
    found = folders.find(tree)
    assert found.names == ("a/deep/x.PNG", "b/10.jpg", "b/2.png", "top.png")
    assert found.labels == ("a", "b", "b", None)
    assert found.items == tuple(tree / name for name in found.names)
    several = folders.find(tree / "a", tree / "b", tree / "top.png")
    assert several.names == ("a/deep/x.PNG", "b/10.jpg", "b/2.png", "top.png")
    assert several.labels == ("a", "b", "b", None)


@pytest.mark.quick
def test_links_are_followed_and_loops_end(tree: Path, tmp_path: Path) -> None:
    (tree / "a" / "loop").symlink_to(tree, target_is_directory=True)
    elsewhere = write(tmp_path / "elsewhere" / "e.png").parent
    (tree / "c").symlink_to(elsewhere, target_is_directory=True)
    names = folders.find(tree).names
    assert sorted(Path(name).name for name in names) == ["10.jpg", "2.png", "e.png", "top.png", "x.PNG"]
    assert "c/e.png" in names


@pytest.mark.quick
def test_what_is_no_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no image"):
        folders.find(tmp_path)
    with pytest.raises(ImageError, match=r"no file or folder .*nowhere"):
        folders.find(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="3 labels for 1 images"):
        folders.collect(write(tmp_path / "a.png"), ["x", "y", "z"])


@pytest.mark.quick
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_folder_is_reported(tree: Path) -> None:
    (tree / "b").chmod(0)
    try:
        found = folders.find(tree)
    finally:
        (tree / "b").chmod(0o755)
    assert [Path(one.name).name for one in found.skipped] == ["b"]
    assert len(found) == 2


def modes(root: Path) -> Path:
    for mode in ("L", "P", "RGBA", "LA", "1"):
        write(root / f"{mode}.png", mode=mode)
    write(root / "cmyk.jpg", mode="CMYK")
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(root / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(write(root / "RGB.png")).save(root / "turned.jpg", exif=exif)
    return root


class Keep:
    """A reader that keeps what it gets."""

    grows = True

    def __init__(self) -> None:
        self.places: list[int] = []
        self.pictures: list[Any] = []

    def fresh(self) -> Keep:
        return Keep()

    def take(self, places: Sequence[int], batch: Batch, activations: Mapping[str, Any]) -> None:
        self.places += places
        self.pictures += list(batch.pictures)

    def state(self) -> dict[str, Any]:
        return {"places": np.array(self.places), "pictures": np.array(self.pictures)}

    def merge(self, part: Mapping[str, Any]) -> None:
        self.places += part["places"].tolist()
        self.pictures += list(part["pictures"])


@pytest.fixture(scope="module")
def shapes() -> Any:
    return vizkit.load("shapes", backend=vizkit.backends()[0].name if vizkit.backends()[0].installed else None)


@pytest.mark.quick
def test_a_stream_gives_what_single_images_give(tmp_path: Path, shapes: Any) -> None:
    """Every mode, orientation and bad file of a folder, in its place."""
    root = modes(tmp_path / "all")
    (root / "Bad.png").write_bytes(b"no picture")
    whole = (root / "RGB.png").read_bytes()
    (root / "cut.png").write_bytes(whole[: len(whole) // 2])
    found, kept = folders.find(root), Keep()
    passed = folders.stream(shapes, found, ["features.0"], kept, label="test", batch_size=3)
    assert [one.name for one in passed.skipped] == ["Bad.png", "cut.png"]
    assert "not an image" in passed.skipped[0].reason
    assert "damaged or cut off" in passed.skipped[1].reason
    assert passed.read == len(found) - 2 == len(kept.places)
    for place, picture in zip(kept.places, kept.pictures, strict=True):
        np.testing.assert_array_equal(picture, images.prepare(found.items[place], shapes.spec).pictures[0])
    again = folders.stream(shapes, found, ["features.0"], Keep(), label="test", batch_size=7)
    assert again.sha256 == passed.sha256


@pytest.mark.quick
def test_bombs_are_refused(tmp_path: Path, shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "bomb.png", size=(60, 60))
    write(tmp_path / "good.png", size=(20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    passed = folders.stream(shapes, folders.find(tmp_path), ["features.0"], Keep(), label="test")
    assert passed.read == 1
    assert [one.name for one in passed.skipped] == ["bomb.png"]
    assert "refused" in passed.skipped[0].reason


@pytest.mark.quick
def test_nothing_readable(tmp_path: Path, shapes: Any) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"None of the 1 images .*a\.png"):
        folders.stream(shapes, folders.find(tmp_path), ["features.0"], Keep(), label="test")


@pytest.mark.quick
def test_the_loader_holds_no_more_than_it_says() -> None:
    pictures = folders.collect([np.full((30, 30, 3), k, np.uint8) for k in range(60)])
    with folders.Loader(pictures, SPEC, fit="squash", input_range="unit", ahead=5) as loader:
        for start in range(0, 60, 4):
            places, batch, skipped = loader.fetch(start, min(start + 4, 60))
            assert len(loader.waiting) <= 4 + 5
            assert batch is not None
            assert batch.pictures[:, 0, 0, 0].tolist() == places == list(range(start, start + 4))
            assert not skipped
        smaller, batch, _ = loader.fetch(56, 58)
        assert smaller == [56, 57]


@pytest.mark.quick
def test_the_fingerprint_sees_changes(tree: Path) -> None:
    before = folders.find(tree).fingerprint()
    assert folders.find(tree).fingerprint() == before
    os.utime(tree / "top.png", (time.time(), 12345))
    touched = folders.find(tree).fingerprint()
    (tree / "b" / "2.png").unlink()
    assert len({before, touched, folders.find(tree).fingerprint()}) == 3
    grays = [folders.collect([np.full((4, 4, 3), k, np.uint8)]).fingerprint() for k in (1, 2)]
    assert grays[0] != grays[1]


@pytest.mark.quick
def test_commands_on_photos_take_folders(tree: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tree / "a" / "bad.png").write_bytes(b"x")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", str(tree), "--model", "shapes", "--top", "1"])
    assert not stopped.value.code
    out, err = capsys.readouterr()
    assert [line.split()[-1] for line in out.splitlines()[::2]] == ["x.PNG", "10.jpg", "2.png", "top.png"]
    assert "skipped a/bad.png" in err
