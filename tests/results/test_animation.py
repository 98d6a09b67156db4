"""Frames as GIF and MP4: what comes out when they are read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits import TRAPS, TRAPS_SIZE
from PIL import Image, ImageSequence

import vizkit
from vizkit.errors import SettingError
from vizkit.objectives import unit
from vizkit.parametrisations import Fourier
from vizkit.results import animation

MADE = {"technique": "render", "note": "ü" * 300}


def plain(colour: int, count: int = 2, height: int = 12, width: int = 20) -> Any:
    """Pictures of one gray level each, the second a little lighter."""
    levels = (colour + 40 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def frames_of(path: Path) -> list[Any]:
    with Image.open(path) as opened:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(opened)]


@pytest.mark.quick
def test_a_gif_holds_every_frame_side_by_side(tmp_path: Path) -> None:
    found = frames_of(animation.write([plain(level) for level in (0, 80, 160)], tmp_path / "a.gif", MADE))
    assert [frame.shape for frame in found] == [(12, 40, 3)] * 3
    for level, frame in zip((0, 80, 160), found, strict=True):
        assert np.abs(frame[:, :20] - level).max() <= 2
        assert np.abs(frame[:, 20:] - level - 40).max() <= 2


@pytest.mark.quick
def test_a_gif_knows_how_it_was_made(tmp_path: Path) -> None:
    path = animation.write([plain(0), plain(99)], tmp_path / "a.gif", MADE, rate=10)
    with Image.open(path) as opened:
        assert json.loads(opened.info["comment"]) == MADE
        assert opened.info["duration"] == 100
        assert opened.info["loop"] == 0
    assert [one.name for one in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.quick
def test_frames_of_other_sizes_are_enlarged_to_the_last(tmp_path: Path) -> None:
    frames = [plain(30, height=6, width=10), plain(90)]
    assert [frame.shape for frame in frames_of(animation.write(frames, tmp_path / "a.gif", MADE))] == [(12, 40, 3)] * 2


def test_an_mp4_can_be_read_again(tmp_path: Path) -> None:
    reader = pytest.importorskip("imageio_ffmpeg")
    sizes = [plain(level, height=33, width=35) for level in (20, 120, 200)]  # odd: one row less is shown
    path = animation.write(sizes, tmp_path / "a.mp4", {"technique": "render"})
    stream = reader.read_frames(str(path))
    about = next(stream)
    shown = [np.frombuffer(frame, np.uint8).reshape(about["size"][1], about["size"][0], 3) for frame in stream]
    assert about["size"] == (70, 32)
    assert about["fps"] == animation.RATE
    assert len(shown) == 3
    for level, frame in zip((20, 120, 200), shown, strict=True):
        assert abs(float(frame[8:24, 4:28].mean()) - level) < 6
        assert abs(float(frame[8:24, 42:66].mean()) - level - 40) < 6
    assert b'"technique": "render"' in path.read_bytes()


@pytest.mark.quick
def test_without_frames_there_is_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="every="):
        animation.write([], tmp_path / "a.gif", MADE)
    with pytest.raises(SettingError, match="folder that exists"):
        animation.write([plain(0)], tmp_path / "nowhere" / "a.gif", MADE)


def test_a_rendering_saves_its_frames(kit: Any, tmp_path: Path) -> None:
    model = vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    seen: list[tuple[int, Any]] = []
    found = vizkit.render(
        model,
        unit("5", [1, 2]),
        parametrisation=Fourier(8),
        sizes=(8, 16),
        steps=10,
        every=4,
        on_frame=lambda step, picture: seen.append((step, picture)),
    )
    assert [(step, frame.shape) for step, frame in found.frames] == [
        (4, (2, 8, 8, 3)),
        (8, (2, 16, 16, 3)),
        (10, (2, 16, 16, 3)),
    ]
    assert all(a is b for (_, a), (_, b) in zip(seen, found.frames, strict=True))
    np.testing.assert_array_equal(found.frames[-1][1], found.pictures())
    path = found.save(tmp_path / "process.gif")
    shown = frames_of(path)
    assert len(shown) == 3
    last = np.concatenate(list(found.pictures()), axis=1).astype(int)
    assert np.abs(shown[-1] - last).mean() < 12  # 256 colours
    with Image.open(path) as opened:
        assert json.loads(opened.info["comment"])["settings"]["steps"] == 10
    plain_one = vizkit.render(model, unit("5", 1), parametrisation=Fourier(16), steps=1)
    with pytest.raises(SettingError, match="render with every="):
        plain_one.save(tmp_path / "none.gif")
