"""Deep feature factorisation: against pytorch-grad-cam with the same NMF, and factors that are known."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of
from kits.photos import squeezenet

import vizkit
from vizkit import draw
from vizkit.errors import SettingError, VizkitError
from vizkit.techniques.cam.factors import factorise

pytest.importorskip("sklearn", reason="factorisation needs scikit-learn")
LAYER = "features.12"


def wrapped(backend: str, **options: Any) -> Any:
    native = kit_of(backend).sequential(TRAPS, **options)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3))


@pytest.fixture
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(0, 256, (TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8) for _ in range(2)]


def factors(model: Any, pictures: Any, **options: Any) -> Any:
    return vizkit.deep_feature_factorization(model, pictures, **{"components": 3, "layer": "7", **options})


@pytest.mark.skipif("torch" not in INSTALLED, reason="compares with a PyTorch toolkit")
def test_pytorch_grad_cam_has_the_same_concepts(photos: list[Path], agree: Any) -> None:
    """It keeps the scale that NMF's start gave its factors, and scores concepts of that size; ours are as strong as the
    activations. The tail is its "computation on concepts", in float32 there, here by hand."""
    module = pytest.importorskip("pytorch_grad_cam.feature_factorization.deep_feature_factorization",
                                 exc_type=ImportError, reason="pytorch-grad-cam is not installed")  # fmt: skip
    import torch

    model = squeezenet("torch", 96)
    native = copy.deepcopy(model.native).eval().cpu()
    x = torch.from_numpy(vizkit.images.prepare(photos, model.spec).tensor).double()
    with torch.no_grad():
        activations = native.features(x).numpy()
    ours = factors(model, photos, layer=LAYER, components=4)
    concepts, maps = module.dff(activations.copy(), n_components=4)
    high = maps.max(axis=(0, 2, 3))
    offset = activations.min(axis=(0, 2, 3))[:, None]
    agree("deep_feature_factorization", "pytorch-grad-cam, maps", ours.values, maps / high[:, None, None])
    theirs = ((concepts - offset) * high + offset).T
    agree("deep_feature_factorization", "pytorch-grad-cam, concepts", ours.concepts, theirs)
    with torch.no_grad():
        scores = native.classifier(torch.from_numpy(theirs)[:, :, None, None]).flatten(1)
    agree("deep_feature_factorization", "the tail by hand", ours.scores, scores.numpy())
    certain = scores.softmax(1).max(1)
    assert [one[0].index for one in ours.tops] == certain.indices.tolist()
    np.testing.assert_allclose([one[0].probability for one in ours.tops], certain.values, rtol=1e-8)


@pytest.mark.quick
def test_known_factors_are_found() -> None:
    """Each concept alone somewhere, and channels that are below zero: NMF's answer is the only one, but for order."""
    rng = np.random.default_rng(1)
    places = np.zeros((3, 2, 6, 6))
    places[0, 0, :3], places[1, 0, 3:], places[2, 1] = rng.random((3, 6)), rng.random((3, 6)), rng.random((6, 6))
    concepts = np.zeros((3, 9))
    for k in range(3):
        concepts[k, 3 * k : 3 * k + 3] = rng.random(3) + 0.5
    offset = rng.normal(size=9)
    activations = np.einsum("kc,knhw->nchw", concepts, places) + offset[:, None, None]
    found, maps, steps = factorise(activations, 3, 0, 2000)
    assert 1 < steps <= 2000
    np.testing.assert_allclose(maps.max(axis=(0, 2, 3)), 1)
    again = np.einsum("kc,nkhw->nchw", found - activations.min(axis=(0, 2, 3)), maps)
    np.testing.assert_allclose(again + activations.min(axis=(0, 2, 3))[:, None, None], activations, atol=0.01)
    for k in range(3):
        wanted = places[k] / places[k].max()
        nearest = np.abs(maps - wanted[:, None]).max(axis=(0, 2, 3)).min()
        assert nearest < 0.02


def test_a_concepts_scores_are_those_of_the_network_that_sees_it_alone(name: str, pictures: Any) -> None:
    """Whatever the picture whose layer it takes the place of: here the second one's, there the first one's."""
    model = wrapped(name)
    found = factors(model, pictures)
    values = model.ops.numpy(model.forward(model.ops.asarray(found.batch.tensor), ("7",))["7"])
    alone = np.broadcast_to(found.concepts[:, :, None, None], (3, *values.shape[1:])) - values[1:]
    x = model.ops.asarray(np.repeat(found.batch.tensor[1:], 3, axis=0))
    wanted = model.ops.numpy(model.forward(x, add={"7": model.ops.asarray(alone)})["output"])
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-10)
    np.testing.assert_allclose(factors(model, pictures, batch_size=1).scores, found.scores, rtol=1e-10)


@both()
def test_gluon_gives_what_pytorch_gives(pictures: Any) -> None:
    """A hundred alternating steps carry rounding errors on; 1e-8 all the same."""
    one, other = (factors(wrapped(name), pictures) for name in ("torch", "gluon"))
    for a, b in ((one.values, other.values), (one.concepts, other.concepts), (one.scores, other.scores)):
        assert a.dtype == np.float64
        assert np.abs(a - b).max() <= 1e-8 * np.abs(a).max()
    assert [[p.index for p in row] for row in one.tops] == [[p.index for p in row] for row in other.tops]


def test_the_seed_decides_and_pictures_share_concepts(name: str, pictures: Any) -> None:
    model = wrapped(name)
    one, same, other = (factors(model, pictures, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.values, same.values)
    assert np.abs(one.values - other.values).max() > 1e-3
    assert one.provenance["settings"]["seed"] == 0
    assert one.provenance["settings"]["iterations_taken"] <= 200
    part = one[1]
    assert len(part) == 1
    np.testing.assert_array_equal(part.values[0], one.values[1])
    assert part.provenance["images"] == one.provenance["images"][1:]
    np.testing.assert_array_equal(part.concepts, one.concepts)


def test_regions_and_their_picture(pictures: Any, tmp_path: Path) -> None:
    model = wrapped(INSTALLED[0])
    found = factors(model, pictures)
    regions = found.regions()
    assert regions.shape == (2, TRAPS_SIZE, TRAPS_SIZE)
    rows = found.records()
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert rows[1]["share"] == pytest.approx((regions == 1).mean())
    large = model.ops.numpy(model.ops.resize(model.ops.asarray(found.values), (TRAPS_SIZE, TRAPS_SIZE)))
    np.testing.assert_allclose(found.enlarged(), large, atol=1e-12)
    np.testing.assert_array_equal(regions, large.argmax(axis=1))
    figure = found.figure()
    texts = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert texts == [f"{k}: {found.label(k)}" for k in range(3)]
    with np.load(found.save(tmp_path / "a.npz")) as arrays:
        np.testing.assert_array_equal(arrays["concepts"], found.concepts)
        np.testing.assert_array_equal(arrays["scores"], found.scores)
    assert vizkit.results.read_provenance(found.save(tmp_path / "a.png")) == found.provenance


@pytest.mark.quick
def test_colours_are_those_of_the_first_concept() -> None:
    maps = np.array([[[1.0, 0.0, 0.0]], [[0.5, 1.0, 0.0]]])
    colours = draw.concepts.palette(2)
    shown = draw.concepts.coloured(np.full((1, 3, 3), 255, np.uint8), maps, colours)
    photo = draw.concepts.PHOTO
    np.testing.assert_allclose(shown[0, 0], photo + (1 - photo) * colours[0])
    np.testing.assert_allclose(shown[0, 1], photo + (1 - photo) * colours[1])
    np.testing.assert_allclose(shown[0, 2], 1)  # nothing of either: the picture


@pytest.mark.parametrize(
    ("options", "match"),
    [({"components": 0}, "at least 1"), ({"components": 9}, "8 channels at 128 positions"), ({"top": 0}, "at least 1")],
)
def test_settings_that_cannot_be(options: dict[str, Any], match: str, pictures: Any) -> None:
    with pytest.raises(SettingError, match=match):
        factors(wrapped(INSTALLED[0]), pictures, **options)


def test_without_scikit_learn_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(VizkitError, match=r"pip install 'vizkit\[explain\]'"):
        factorise(np.ones((1, 2, 2, 2)), 1, 0, 1)
