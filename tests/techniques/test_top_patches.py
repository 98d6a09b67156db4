"""Top patches: against a brute-force pass over all activations, stopped and resumed, and cut where the unit looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import both
from kits import TRAPS, TRAPS_SIZE
from PIL import Image

import vizkit
from vizkit import folders, images
from vizkit.errors import DivergedError, SettingError, UnknownNameError
from vizkit.zoo import shapes

PIXELS = np.random.default_rng(5).integers(0, 256, (23, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8)
LAYERS = ["2", "5", "11"]


def small(kit: Any, layers: Any = TRAPS) -> Any:
    return vizkit.wrap(kit.sequential(layers), input_size=TRAPS_SIZE, mean=[0.5] * 3, std=[0.25] * 3)


def brute(model: Any, pixels: Any, layer: str, k: int) -> tuple[Any, Any, Any]:
    """Every activation at once, then a full sort by value and, for equal ones, place."""
    x = images.prepare(list(pixels), model.spec, fit="squash").tensor
    found = model.ops.numpy(model.forward(model.ops.asarray(x), (layer,))[layer])
    flat = found.reshape(*found.shape[:2], -1)
    values, at = flat.max(axis=2).T, flat.argmax(axis=2).T
    order = np.array([sorted(range(len(pixels)), key=lambda i: (-row[i], i))[:k] for row in values])
    return np.take_along_axis(values, order, 1), order, np.take_along_axis(at, order, 1)


@pytest.mark.parametrize("batch_size", [1, 5, 23])
def test_against_brute_force(kit: Any, batch_size: int) -> None:
    model = small(kit)
    found = vizkit.top_patches(model, PIXELS, LAYERS, k=4, fit="squash", batch_size=batch_size)
    assert found.units[:2] == (("2", 0), ("2", 1))
    for layer in LAYERS:
        values, places, at = brute(model, PIXELS, layer, 4)
        rows = [row for row, (name, _) in enumerate(found.units) if name == layer]
        np.testing.assert_allclose(found.values[rows], values, rtol=1e-12)
        np.testing.assert_array_equal(found.places[rows], places)
        shape = model.layers[layer].shape
        columns = shape[3] if len(shape) == 4 else 1
        np.testing.assert_array_equal(found.positions[rows][..., 0] * columns + found.positions[rows][..., 1], at)


@both()
def test_backends_agree() -> None:
    drawn = shapes.sample(60, seed=2).images
    a, b = (
        vizkit.top_patches(vizkit.load("shapes", backend=name, dtype="float64"), drawn, ["features.9", "features.23"])
        for name in ("torch", "gluon")
    )
    np.testing.assert_allclose(a.values, b.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(a.places, b.places)
    np.testing.assert_array_equal(a.positions, b.positions)
    np.testing.assert_array_equal(a.boxes, b.boxes)


def test_pixels_outside_the_box_do_not_matter_and_inside_do(name: str) -> None:
    """Noise around the receptive field leaves the activation as it is to the last bit; noise inside does not."""
    model = vizkit.load("shapes", backend=name, dtype="float64")
    drawn = shapes.sample(30, seed=4).images
    layer = "features.13"
    found = vizkit.top_patches(model, drawn, layer, [0, 7, 20, 33], k=2, fit="squash")
    rng = np.random.default_rng(0)
    for row, (_, unit) in enumerate(found.units):
        for rank in range(2):
            y, x = found.positions[row, rank]
            top, left, bottom, right = np.clip(found.boxes[row, rank], 0, 96)
            whole = drawn[found.places[row, rank]]
            outside = rng.integers(0, 256, whole.shape, dtype=np.uint8)
            outside[top:bottom, left:right] = whole[top:bottom, left:right]
            inside = whole.copy()
            inside[top:bottom, left:right] = 255 - inside[top:bottom, left:right]
            batch = images.prepare([whole, outside, inside], model.spec, fit="squash")
            maps = model.ops.numpy(model.forward(model.ops.asarray(batch.tensor), (layer,))[layer])[:, unit, y, x]
            assert maps[0] == pytest.approx(found.values[row, rank], rel=1e-12)
            assert maps[1] == pytest.approx(maps[0], rel=1e-12)
            assert abs(maps[2] - maps[0]) > 1e-3
            patch = found.patches(row)[rank]
            assert patch.shape[:2] == (bottom - top, right - left) or (patch == 127).any()


def test_patches_are_padded_with_gray_beyond_the_edge(name: str) -> None:
    model = vizkit.load("shapes", backend=name)
    found = vizkit.top_patches(model, shapes.sample(12, seed=1).images, "features.20", k=1)
    sides = found.boxes[:, 0]
    cut = [row for row in range(len(sides)) if (sides[row, :2] < 0).any() or (sides[row, 2:] > 96).any()]
    assert cut
    for row in cut[:5]:
        patch, (top, left, bottom, right) = found.patches(row)[0], sides[row]
        assert patch.shape == (bottom - top, right - left, 3)
        assert (patch[: max(0, -top)] == 127).all()
        picture = found.batch(row).pictures[0]
        y, x = max(0, top), max(0, left)
        inner = patch[y - top : min(96, bottom) - top, x - left : min(96, right) - left]
        np.testing.assert_array_equal(inner, picture[y:bottom, x:right])


class Stopped(Exception):
    """What ends a run halfway."""


def test_stopped_and_resumed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    for k, one in enumerate(shapes.sample(80, seed=6).images):
        Image.fromarray(one).save(root / f"{k:02d}.png")
    (root / "05.png").write_bytes(b"broken")
    model = vizkit.load("shapes", backend=name)
    state = tmp_path / "state"
    wanted = {"layer": "features.9", "k": 3, "batch_size": 8}
    whole = vizkit.top_patches(model, root, **wanted)
    calls: list[int] = []
    fetch = folders.Loader.fetch

    def failing(self: Any, start: int, stop: int) -> Any:
        calls.append(start)
        if len(calls) == 7:
            raise Stopped
        return fetch(self, start, stop)

    with monkeypatch.context() as patched:
        patched.setattr(folders.Loader, "fetch", failing)
        with pytest.raises(Stopped):
            vizkit.top_patches(model, root, state=state, **wanted)
    assert sorted(path.name for path in state.iterdir()) == ["manifest.json", "part-00000.npz"]
    calls.clear()
    with monkeypatch.context() as patched:
        patched.setattr(folders.Loader, "fetch", lambda *a: calls.append(a[1]) or fetch(*a))
        resumed = vizkit.top_patches(model, root, state=state, **wanted)
    assert calls == [32, 40, 48, 56, 64, 72]  # the first shard of 32 was there
    assert sorted(path.name for path in state.iterdir()) == ["manifest.json", "merged.npz"]
    np.testing.assert_array_equal(resumed.values, whole.values)
    np.testing.assert_array_equal(resumed.places, whole.places)
    np.testing.assert_array_equal(resumed.boxes, whole.boxes)
    assert resumed.provenance["images"] == whole.provenance["images"]
    assert [one["name"] for one in resumed.provenance["images"]["skipped"]] == ["05.png"]

    with pytest.raises(SettingError, match="settings changed"):
        vizkit.top_patches(model, root, "features.9", k=4, state=state)
    other = model.with_parameters({"features.0.bias": model.parameter("features.0.bias") + 1})
    with pytest.raises(SettingError, match="weights changed"):
        vizkit.top_patches(other, root, "features.9", k=3, state=state)
    (root / "07.png").unlink()
    with pytest.raises(SettingError, match="folder of images changed"):
        vizkit.top_patches(model, root, state=state, **wanted)


@pytest.mark.quick
def test_bad_requests(kit: Any) -> None:
    model = small(kit)
    with pytest.raises(SettingError, match=r"units 0 to 5; there is no 9"):
        vizkit.top_patches(model, PIXELS, "2", 9)
    with pytest.raises(UnknownNameError, match="layer of"):
        vizkit.top_patches(model, PIXELS, "22")
    with pytest.raises(SettingError, match="k=0"):
        vizkit.top_patches(model, PIXELS, "2", k=0)
    broken = model.with_parameters({"0.bias": np.full(6, np.nan)})
    with pytest.raises(DivergedError, match="not finite for image 0"):
        vizkit.top_patches(broken, PIXELS, "2", fit="squash")


def test_fewer_pictures_than_patches(kit: Any) -> None:
    found = vizkit.top_patches(small(kit), PIXELS[:2], "2", 1, k=5, fit="squash")
    assert found.places[0, 2:].tolist() == [-1, -1, -1]
    assert np.isneginf(found.values[0, 2:]).all()
    assert len(found.patches(0)) == 2 == len(found.names(0))
    assert found.figure().axes
