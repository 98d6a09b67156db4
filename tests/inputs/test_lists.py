"""Lists of many pictures: compact, equal to plain ones, small to send; and photos that are decoded smaller."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vizkit import folders, images
from vizkit.errors import ImageError, SettingError
from vizkit.inputs.compact import Coded, FirstFolders, Names
from vizkit.inputs.listing import Files

TEXTS = ["a/b.png", "", "ä/ö.png", "back\udcff.png", "top.png"]


@pytest.mark.quick
def test_lists_are_what_plain_ones_are() -> None:
    names = Names.of(TEXTS)
    assert names == TEXTS
    assert tuple(TEXTS) == tuple(names)
    assert names != TEXTS[:-1]
    assert names != [*TEXTS[:-1], "other"]
    assert [names[-1], names[1:4], names[::-2]] == [TEXTS[-1], TEXTS[1:4], TEXTS[::-2]]
    assert "top.png" in names
    with pytest.raises(IndexError, match="no member 5 among 5"):
        names[5]
    assert FirstFolders(names) == ["a", None, "ä", None, None]
    assert pickle.loads(pickle.dumps(names)) == names
    labels = ["cat", None, "dog", "cat", ""]
    assert Coded.of(labels) == ["cat", None, "dog", "cat", None]
    assert Coded.of([1, 0, 7, None], ["cat", "dog"]) == ["dog", "cat", None, None]
    assert Coded.of([3, np.int64(12)])[::-1] == ["12", "3"]


@pytest.mark.quick
def test_a_part_is_its_pictures_and_small_to_send(tmp_path: Path) -> None:
    for k in range(40):
        (tmp_path / "many" / f"class{k % 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "many" / f"class{k % 3}" / f"{k}.png").write_bytes(b"")
    (tmp_path / "alone.png").write_bytes(b"")
    found = folders.find(tmp_path / "many", tmp_path / "alone.png")
    assert found.names[0] == "many/class0/0.png"
    assert found.items[0] == tmp_path / "many/class0/0.png"
    assert (found.items[-1], found.names[-1], found.labels[-1]) == (tmp_path / "alone.png", "alone.png", None)
    for which in (slice(38, 41), [40, 3, 3]):
        part = pickle.loads(pickle.dumps(found.part(which)))
        at = range(41)[which] if isinstance(which, slice) else which
        for ours, theirs in ((part.items, found.items), (part.names, found.names), (part.labels, found.labels)):
            assert list(ours) == [theirs[k] for k in at]
        assert folders.collect(part) is part
    assert len(pickle.dumps(found.part(slice(0, 3)))) < 0.6 * len(pickle.dumps(found))
    plain = folders.Pictures(tuple(found.items), tuple(found.names), tuple(found.labels))
    assert plain.fingerprint() == found.fingerprint()
    assert plain.part([2]).names == ("many/class0/15.png",)


def test_a_list_of_many_takes_little() -> None:
    """Paths would take some 300 bytes each."""
    names = [f"n{k // 1000:08}/n{k:08}.JPEG" for k in range(20_000)]
    tracemalloc.start()
    try:
        listed = Names.of(names)
        files = Files(listed, ("/data",), ("",), np.zeros(len(listed), np.int32))
        pictures = folders.Pictures(files, listed, FirstFolders(listed))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert pictures.items[19_999] == Path("/data/n00000019/n00019999.JPEG")
    assert kept < 50 * len(names)


@pytest.mark.quick
def test_large_photos_are_decoded_smaller_where_the_user_allows_it(tmp_path: Path) -> None:
    wave = (127 + 120 * np.sin(np.arange(1200) / 40)).astype(np.uint8)
    Image.fromarray(np.repeat(np.tile(wave, (800, 1))[..., None], 3, 2)).save(tmp_path / "large.jpg", quality=95)
    Image.fromarray(np.zeros((800, 1200, 3), np.uint8)).save(tmp_path / "large.png")
    whole, smaller = folders.find(tmp_path), folders.find(tmp_path, draft=150)
    assert [images.read(item).size for item in whole.items] == [(1200, 800), (1200, 800)]
    assert [images.read(item).size for item in smaller.items] == [(300, 200), (1200, 800)]
    assert images.read(folders.find(tmp_path, draft=500).items[0]).size == (1200, 800)
    assert whole.fingerprint() != smaller.fingerprint()
    assert smaller.fingerprint() == smaller.part([0, 1]).fingerprint()
    full, half = (np.asarray(images.read(one.items[0]).resize((150, 100)), float) for one in (whole, smaller))
    assert 0 < np.abs(full - half).max() < 25
    with pytest.raises(SettingError, match="draft=0"):
        folders.find(tmp_path, draft=0)


@pytest.mark.quick
def test_whatever_reading_raises_is_an_image_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's plugins raise what they like; one picture of a million must not end a run."""
    file = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(file)

    def fails(*_given: object) -> None:
        raise IndexError("a plugin's fault")

    monkeypatch.setattr(Image.Image, "load", fails)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
    with pytest.raises(ImageError, match=r"a\.png' cannot be read.*a plugin's fault"):
        images.read(file)
    with pytest.raises(ImageError, match=r"no image .*nowhere\.png"):
        images.read(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="is a folder"):
        images.read(tmp_path)
