"""What can be done with a result: length, places, arrays, axes of one's own, notebooks, and maps laid over photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import TRAPS, TRAPS_SIZE, kit
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

import vizkit
from vizkit import overlay
from vizkit.errors import SettingError, UnknownNameError
from vizkit.images import prepare, seen_part
from vizkit.results.files import figure_bytes, read_provenance, save_figure
from vizkit.zoo.spec import make_spec


@pytest.fixture(scope="module")
def model() -> Any:
    native = kit(INSTALLED[0]).sequential(TRAPS)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def photos(count: int, size: tuple[int, int] = (40, 60)) -> list[Any]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.quick
def test_only_a_class_has_an_index_in_provenance(model: Any) -> None:
    """A score's own column lies beyond the classes: there is no class of that number."""
    difference = vizkit.targets.Class(0) - vizkit.targets.Class(1)
    found = vizkit.saliency(model, photos(3), target=[1, difference, "all"])
    ranked = vizkit.evaluate.rank(model, photos(1), ["saliency"], metrics=["sparseness"], target=difference)
    told = found.provenance["settings"]["target"]
    assert [one["index"] for one in told] == [1, None, None]
    assert [one["label"] for one in told] == list(found.labels)
    assert ranked.provenance["settings"]["target"] == told[1:2]


@pytest.mark.quick
def test_a_result_has_places(model: Any) -> None:
    found = vizkit.integrated_gradients(model, photos(3), target=[0, 1, 2], steps=4)
    assert len(found) == 3
    np.testing.assert_array_equal(np.asarray(found), found.values)
    for i, one in enumerate(found):
        alone = vizkit.integrated_gradients(model, photos(3)[i], target=i, steps=4)
        np.testing.assert_allclose(one.values, alone.values, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(one.extra["attribution"], alone.extra["attribution"], rtol=1e-10, atol=1e-14)
        assert (one.labels, one.targets, one.batch.names) == (found.labels[i : i + 1], (i,), (f"image {i}",))
        assert [target["index"] for target in one.provenance["settings"]["target"]] == [i]
        assert one.provenance["images"] == found.provenance["images"][i : i + 1]
    assert found[1:].labels == found.labels[1:]
    assert found[-1].labels == found.labels[-1:]
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.quick
@pytest.mark.parametrize("resize", [None, 2 * TRAPS_SIZE])
def test_a_map_is_made_again_from_what_it_says_of_its_input(tmp_path: Path, resize: int | None) -> None:
    native, way = kit(INSTALLED[0]).sequential(TRAPS), {"mean": (0.5, 0.4, 0.3), "std": (0.25, 0.5, 1.0)}
    made = vizkit.wrap(native, input_size=TRAPS_SIZE, resize=resize, **way)
    found = vizkit.saliency(made, photos(1, (TRAPS_SIZE + 4, TRAPS_SIZE)), target=1)
    found.save(tmp_path / "map.png")
    said = read_provenance(tmp_path / "map.png")["input"]
    shape = said.pop("shape")
    again = vizkit.wrap(native, input_size=shape[1:], **said)
    assert shape == [3, TRAPS_SIZE, TRAPS_SIZE]
    again_found = vizkit.saliency(again, photos(1, (TRAPS_SIZE + 4, TRAPS_SIZE)), target=1)
    np.testing.assert_array_equal(again_found.values, found.values)
    assert again_found.provenance == found.provenance


@pytest.mark.quick
def test_feature_maps_and_numbers_have_places(model: Any) -> None:
    found = vizkit.feature_maps(model, photos(3), "2")
    alone = [one.values[0] for one in found]
    np.testing.assert_array_equal(np.stack(alone), found.values)
    assert found[2].batch.names == found.batch.names[2:]
    statistics = vizkit.activation_statistics(model, photos(1))
    np.testing.assert_array_equal(np.stack(list(statistics)), statistics.values)


@pytest.mark.quick
def test_tables_are_frames(model: Any) -> None:
    statistics = vizkit.activation_statistics(model, photos(2))
    frame = statistics.to_frame()
    assert list(frame["layer"]) == list(statistics.layers)
    np.testing.assert_array_equal(frame[["zeros", "blank", "mean", "max"]].to_numpy(), statistics.values)
    health = vizkit.health(model, photos(3), fit="squash")
    columns = ["zeros", "dead", "always_on", "saturated", "duplicates"]
    np.testing.assert_array_equal(health.to_frame()[columns].to_numpy(), health.values)
    ranking = vizkit.evaluate.rank(model, photos(2), ["saliency"], metrics=["deletion"])
    assert set(ranking.to_frame().query("control")["method"]) == {"random_map", "edge_map"}
    np.testing.assert_array_equal(ranking.to_frame()["deletion"], ranking.values[:, 0])
    patches = vizkit.top_patches(model, photos(3), "2", k=2, fit="squash")
    rows = patches.to_frame()
    first = rows.iloc[3]
    assert (first["unit"], first["place"]) == (1, 2)
    assert first["activation"] == patches.values[1, 1]
    assert first["picture"] == patches.names(1)[1]
    fields = vizkit.receptive_field(model, photos(1)[0])
    assert list(fields.to_frame()["effective"]) == list(fields.sizes)
    with pytest.raises(SettingError, match="no table"):
        vizkit.gradcam(model, photos(1)).to_frame()


def test_axes_of_ones_own(model: Any) -> None:
    figure = Figure()
    one, two, three = figure.subplots(1, 3)
    found = vizkit.gradcam(model, photos(2))
    assert found[0].plot(one, alpha=0.5, cmap="viridis") is one
    np.testing.assert_array_equal(one.images[0].get_array(), found[0].overlay(alpha=0.5, cmap="viridis")[0])
    assert found[0].labels[0] in one.get_title()
    statistics = vizkit.activation_statistics(model, photos(1))
    assert statistics.plot(two) is two
    assert two.images
    with pytest.raises(SettingError, match=r"result\[0\]\.plot"):
        found.plot(three)
    assert len(found.plot()) == len(found.figure().axes)


def test_a_figures_png_is_what_matplotlib_saves(model: Any, tmp_path: Path) -> None:
    """Pixel for pixel: titles, a bar of colours, and a layout that depends on the resolution."""
    result = vizkit.saliency(model, [np.zeros((20, 30, 3), np.uint8)] * 2, target=1)
    inside = {"vizkit": json.dumps(result.provenance), "Software": f"vizkit {vizkit.__version__}"}
    for dpi in (60, 150):
        drawn = figure_bytes(result.figure(), result.provenance, dpi)
        figure = result.figure()
        before = figure.dpi
        save_figure(figure, tmp_path / "ours.png", result.provenance, dpi)
        assert figure.dpi == before
        result.figure().savefig(tmp_path / "theirs.png", dpi=dpi, metadata=inside)
        assert drawn == (tmp_path / "ours.png").read_bytes()
        ours, theirs = (Image.open(tmp_path / f"{who}.png") for who in ("ours", "theirs"))
        assert (ours.info["dpi"], ours.text) == (theirs.info["dpi"], theirs.text)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_notebook_shows_the_picture_and_one_line_says_what_it_is(model: Any) -> None:
    found = vizkit.gradcam(model, photos(1), target=3)
    assert found._repr_png_().startswith(b"\x89PNG")
    assert found.line().startswith("gradcam of ")
    assert found.line().endswith(f": class 3, layer {found.layer}")


SPEC = make_spec(16, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.quick
@pytest.mark.parametrize("size", [(40, 60), (60, 40), (16, 16), (300, 451), (18, 18), (7, 91)])
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_the_part_of_a_photo_that_is_seen(size: tuple[int, int], fit: str) -> None:
    """A photo whose pixels say where they are: what the network sees begins and ends at the part's edges."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    for values, low, high in ((rows, 1, 3), (columns, 0, 2)):
        scaled = np.repeat((values / max(size) * 255).astype(np.uint8)[..., None], 3, 2)
        seen = prepare(scaled, SPEC, fit=fit).pictures[0, ..., 0].astype(float) / 255 * max(size)
        part = seen_part((size[1], size[0]), SPEC.size, SPEC.resize, fit)
        ends = (seen[0].mean(), seen[-1].mean()) if low == 1 else (seen[:, 0].mean(), seen[:, -1].mean())
        cell = (part[high] - part[low]) / 16
        assert ends[0] == pytest.approx(part[low] + cell / 2 - 0.5, abs=0.5 * cell + 0.6)
        assert ends[1] == pytest.approx(part[high] - cell / 2 - 0.5, abs=0.5 * cell + 0.6)


@pytest.mark.quick
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_an_overlay_on_the_photo_itself(model: Any, fit: str, tmp_path: Path) -> None:
    (photo,) = photos(1)
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    found = vizkit.gradcam(model, [path, photo], relu=False, fit=fit)
    drawn = found.overlay(on="original")
    assert drawn[0].shape == (40, 60, 3)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    left, _, right, _ = (round(one) for one in seen_part((60, 40), (16, 16), found.batch.resize, fit))
    changed = (drawn[0] != photo).any(axis=2)
    assert not changed[:, : max(left - 2, 0)].any()  # beside the frame, white and black of one pixel each
    assert not changed[:, right + 2 :].any()
    assert fit == "squash" or [drawn[0][20, k, 0] for k in (left - 2, left - 1, right, right + 1)] == [0, 255, 255, 0]
    assert changed[:, left:right].mean() > 0.5
    (saved,) = found[0].overlay(on="original").save(tmp_path / "out.png")
    with Image.open(saved) as opened:
        np.testing.assert_array_equal(np.asarray(opened), drawn[0])
    assert read_provenance(saved)["settings"]["overlay"]["on"] == "original"
    assert [one.name for one in drawn.save(tmp_path / "both.png")] == ["both-1.png", "both-2.png"]
    path.unlink()
    with pytest.raises(vizkit.errors.ImageError, match="no image"):
        found.overlay(on="original")


@pytest.mark.quick
def test_blending_by_hand() -> None:
    photo = np.full((1, 3, 3), 100, np.uint8)
    values = np.array([[-2.0, 0.0, 1.0]])
    signed = overlay.blend(photo, values, (-2.0, 2.0), signed=True, alpha=0.5)
    red, blue = (np.array(colormaps["RdBu_r"](at)[:3]) * 255 for at in (0.75, 0.0))
    np.testing.assert_allclose(signed[0], [0.5 * 100 + 0.5 * blue, [100] * 3, 0.75 * 100 + 0.25 * red], atol=0.51)
    plain = overlay.blend(photo, values, (0.0, 1.0), signed=False, alpha=1.0, cmap="gray")
    np.testing.assert_array_equal(plain[0], [[100] * 3, [100] * 3, [255] * 3])
    lifted = overlay.blend(photo, values + 5, overlay.limits(values + 5, False), signed=False, alpha=1.0, cmap="gray")
    np.testing.assert_array_equal(lifted[0, 0], [100] * 3)  # an offset of the whole map is no wash over the photo
    cut = overlay.blend(photo, values, (-2.0, 2.0), signed=True, alpha=0.5, threshold=0.6)
    np.testing.assert_array_equal((cut[0] == 100).all(axis=1), [False, True, True])


@pytest.mark.quick
def test_settings_that_make_no_overlay(model: Any) -> None:
    found = vizkit.gradcam(model, photos(1))
    for options in ({"on": "photo"}, {"alpha": 1.5}, {"threshold": -0.1}):
        with pytest.raises(SettingError, match="expected 'network' or 'original'"):
            found.overlay(**options)
    with pytest.raises(UnknownNameError, match="jet"):
        found.overlay(cmap="jett")
    with pytest.raises(SettingError, match=r"\.png"):
        found.overlay().save("x.jpg")
    ready = vizkit.gradcam(model, np.zeros((1, 3, TRAPS_SIZE, TRAPS_SIZE)), relu=False)
    with pytest.raises(SettingError, match="on='network'"):
        ready.overlay(on="original")
    assert ready.overlay()[0].shape == (TRAPS_SIZE, TRAPS_SIZE, 3)
