"""How a layer's output covers a picture: channels first or last, or tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vizkit
from vizkit.backend import Layer
from vizkit.grid import Grid, grid_of

SQUARE, WIDE = (224, 224), (224, 448)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("shape", "kind", "size", "expected"),
    [
        ((1, 512, 7, 7), "ReLU", SQUARE, Grid("NCHW", 512, 7, 7)),
        ((1, 7, 7, 768), "LayerNorm", SQUARE, Grid("NHWC", 768, 7, 7)),
        ((1, 7, 14, 768), "LayerNorm", WIDE, Grid("NHWC", 768, 7, 14)),
        ((1, 768, 7, 14), "LayerNorm", WIDE, Grid("NCHW", 768, 7, 14)),
        ((1, 7, 7, 7), "ReLU", SQUARE, Grid("NCHW", 7, 7, 7)),  # both could be; channels come first
        ((1, 64, 64, 8), "Conv2d", SQUARE, Grid("NCHW", 64, 64, 8)),  # strides that differ: a convolution is no guess
        ((1, 512, 1, 1), "AdaptiveAvgPool2d", SQUARE, Grid("NCHW", 512, 1, 1)),
        ((1, 197, 768), "EncoderBlock", SQUARE, Grid("NTC", 768, 14, 14, 1)),
        ((1, 196, 768), "Block", SQUARE, Grid("NTC", 768, 14, 14)),
        ((1, 198, 384), "LayerNorm", SQUARE, Grid("NTC", 384, 14, 14, 2)),
        ((1, 201, 384), "LayerNorm", SQUARE, Grid("NTC", 384, 14, 14, 5)),
        ((1, 14 * 28 + 1, 384), "LayerNorm", WIDE, Grid("NTC", 384, 14, 28, 1)),
        ((1, 77, 512), "LayerNorm", SQUARE, None),
        ((64, 49, 96), "PartitionAttention", SQUARE, None),  # windows of one picture
        ((1, 1000), "Linear", SQUARE, None),
    ],
)
def test_how_an_output_covers_a_picture(shape: Any, kind: str, size: tuple[int, int], expected: Any) -> None:
    assert grid_of(Layer("x", kind, shape), size) == expected


@pytest.mark.parametrize("grid", [Grid("NCHW", 4, 2, 3), Grid("NHWC", 4, 2, 3), Grid("NTC", 4, 2, 3, 2)])
def test_there_and_back(name: str, grid: Grid) -> None:
    ops = vizkit.load("shapes", backend=name).ops
    maps = np.random.default_rng(0).normal(size=(2, 4, 2, 3)).astype(np.float32)
    there = grid.back(ops, ops.asarray(maps))
    np.testing.assert_array_equal(ops.numpy(grid.maps(ops, there)), maps)
    if grid.order == "NTC":
        assert not ops.numpy(there)[:, :2].any()
