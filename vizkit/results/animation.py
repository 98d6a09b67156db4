"""Frames of a rendering as a GIF or an MP4."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..contract.backend import Array
from ..contract.errors import SettingError
from ..support.files import replacing
from ..support.packages import needed

RATE = 12
"""Frames a second."""


def write(frames: Sequence[Array], path: Path, made: Mapping[str, Any], rate: int = RATE) -> Path:
    """Write frames, each uint8 (N, H, W, 3) with its pictures side by side, all at the size of the last.

    A GIF carries its provenance as comment, an MP4 as metadata. Raises SettingError without frames, or for an MP4
    without imageio-ffmpeg.
    """
    if not frames:
        raise SettingError("There are no frames to write; render with every= to keep some.")
    height, width = frames[-1].shape[1:3]
    shown = [_side_by_side(frame, (width, height)) for frame in frames]
    text = json.dumps(made)
    with replacing(path) as temporary:
        if path.suffix == ".gif":
            first, *rest = shown
            options: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": 1000 // rate, "loop": 0}
            first.save(temporary, "GIF", comment=text.encode(), **options)
        else:
            _mp4(shown, temporary, text, rate)
    return path


def _side_by_side(frame: Array, size: tuple[int, int]) -> Image.Image:
    tiles = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) for one in frame]
    return Image.fromarray(np.hstack(tiles))


def _mp4(shown: Sequence[Image.Image], path: Path, text: str, rate: int) -> None:
    width, height = (side - side % 2 for side in shown[0].size)
    ffmpeg = needed("imageio_ffmpeg", "An MP4 needs imageio-ffmpeg", "vizkit[video]", SettingError, "write a GIF")
    writer = ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=rate,
        macro_block_size=2,
        output_params=["-metadata", f"comment={text}", "-f", "mp4"],
    )
    writer.send(None)
    try:
        for one in shown:
            writer.send(np.ascontiguousarray(np.asarray(one)[:height, :width]))
    finally:
        writer.close()
