"""Perturbation methods: equal in both backends, independent of batches, seeded, and clear about mistakes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both, shared_file
from kits import TRAPS
from kits.perturb import EVERY, INPUT, QUARTERS, SIDE, pictures, run, small
from kits.photos import squeezenet

import vizkit
from vizkit.errors import MapWarning, SettingError, ShapeError, VizkitError
from vizkit.inputs.references import reference


@both()
@EVERY
def test_gluon_gives_what_pytorch_gives(method: str, agree: Callable[..., None]) -> None:
    maps = {name: run(method, small(name), pictures(), target=[None, "all"]) for name in ("torch", "gluon")}
    assert maps["torch"].targets == maps["gluon"].targets
    agree(method, "PyTorch, small network", maps["gluon"].values, maps["torch"].values, backend="gluon")


@both()
def test_gluon_gives_what_pytorch_gives_on_a_real_network(photos: list[Path], agree: Callable[..., None]) -> None:
    blocks = np.kron(np.arange(4).reshape(2, 2), np.ones((32, 32), dtype=int))
    options: dict[str, dict[str, Any]] = {
        "occlusion": {"window": 32, "stride": 16},
        "rise": {"samples": 8},
        "lime": {"samples": 8, "segments": blocks},
        "kernel_shap": {"samples": 8, "segments": blocks},
    }
    models = [squeezenet(name) for name in ("torch", "gluon")]
    for method, chosen in options.items():
        ours, theirs = (getattr(vizkit, method)(model, photos[1], target=282, **chosen).values for model in models)
        agree(method, "PyTorch, SqueezeNet", theirs, ours, backend="gluon")


@EVERY
def test_neither_batches_nor_other_images_change_a_map(method: str, name: str) -> None:
    model = small(name)
    whole = run(method, model, pictures(3), target=[0, 4, "all"])
    assert whole.values.shape == (3, SIDE, SIDE)
    assert whole.targets == (0, 4, None)
    assert whole.provenance["technique"] == method
    for size in (1, 4):
        assert np.allclose(
            run(method, model, pictures(3), target=[0, 4, "all"], batch_size=size).values,
            whole.values,
            rtol=0,
            atol=1e-12,
        )
    for i, target in enumerate((0, 4, "all")):
        alone = run(method, model, pictures(3)[i], target=target).values[0]
        assert np.allclose(alone, whole.values[i], rtol=0, atol=1e-12)


SCORED = [
    "occlusion", "rise", "lime", "kernel_shap", "feature_ablation", "shapley_sampling", "sobol", "hsic",
]  # fmt: skip
"""Methods that ask for scores alone."""


@pytest.mark.parametrize("method", SCORED)
def test_a_batch_too_large_for_the_memory_is_halved(method: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(name)
    wanted = run(method, model, pictures(), target=1).values
    forward, sizes = type(model).forward, []

    def limited(self: Any, x: Any, *rest: Any, **more: Any) -> Any:
        sizes.append(len(x))
        if len(x) > 3:
            raise MemoryError
        return forward(self, x, *rest, **more)

    monkeypatch.setattr(type(model), "forward", limited)
    assert np.allclose(run(method, model, pictures(), target=1, batch_size=8).values, wanted, rtol=0, atol=1e-12)
    assert max(sizes) == 8


@pytest.mark.parametrize("method", ["rise", "lime", "kernel_shap", "shapley_sampling", "sobol", "hsic"])
def test_the_seed_decides(method: str, name: str) -> None:
    model = small(name)
    first, again, other = (run(method, model, pictures(), target=2, seed=seed).values for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@EVERY
def test_the_network_stays_as_it_was(method: str, kit: Any) -> None:
    native = kit.sequential(TRAPS)
    model = vizkit.wrap(native, **INPUT)
    before = kit.snapshot(native)
    run(method, model, pictures())
    assert kit.snapshot(native) == before


@pytest.mark.parametrize("method", SCORED)
def test_a_flat_map_warns(method: str, name: str) -> None:
    black = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    with pytest.warns(MapWarning, match="(everywhere|rounding errors alone).*baseline"):
        values = run(method, small(name), black, baseline="black").values
    assert method in ("rise", "sobol", "hsic") or np.abs(values).max() < 1e-12


@pytest.mark.quick
def test_the_edges_of_a_plain_picture_warn(name: str) -> None:
    with pytest.warns(MapWarning, match="one colour"):
        run("edge_map", small(name), np.full((SIDE, SIDE, 3), 90, dtype=np.uint8))


@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        ("occlusion", {"window": 17}, "larger than the input"),
        ("occlusion", {"window": 4, "stride": 5}, "would never change"),
        ("occlusion", {"window": 0}, "positive number of pixels"),
        ("occlusion", {"baseline": "white"}, "expected 'black'"),
        ("occlusion", {"output": "loss"}, "expected 'logit'"),
        ("occlusion", {"target": "all", "output": "probability"}, "all classes together have 1"),
        ("occlusion", {"target": [1, 2, 3]}, "3 targets for 2 images"),
        ("occlusion", {"batch_size": 0}, "at least 1"),
        ("rise", {"keep": 1.0}, "keep"),
        ("rise", {"samples": 0}, "samples"),
        ("rise", {"seed": -1}, "seed"),
        ("lime", {"samples": 1}, "samples"),
        ("lime", {"segments": 1}, "at least 2"),
        ("lime", {"alpha": -1.0}, "alpha"),
        ("kernel_shap", {"samples": 15}, "cannot tell 16 superpixels apart"),
    ],
)
def test_settings_that_cannot_be(method: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        run(method, small(INSTALLED[0]), pictures(), **{"output": "logit", **options})


@pytest.mark.parametrize(
    "segments", [np.zeros((3, 3), dtype=int), np.zeros((SIDE, SIDE)), np.zeros((9, SIDE, SIDE), int)]
)
def test_labels_that_do_not_fit(segments: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"integer labels of shape \(16, 16\)"):
        run("lime", small(INSTALLED[0]), pictures(), segments=segments)


def test_labels_may_have_gaps_and_one_superpixel_gets_everything(name: str) -> None:
    model = small(name)
    plain = run("kernel_shap", model, pictures(), target=1, segments=QUARTERS, samples=14).values
    assert np.allclose(
        run("kernel_shap", model, pictures(), target=1, segments=QUARTERS * 7 - 3, samples=14).values, plain
    )
    with pytest.warns(MapWarning):
        whole = run("kernel_shap", model, pictures(1), target=1, segments=QUARTERS * 0, samples=14).values
    assert np.allclose(whole[0], plain[0][::8, ::8].sum())


@pytest.mark.quick
def test_slic_superpixels(name: str) -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    found = run("lime", small(name), pictures(), segments=9, samples=12).extra["segments"]
    assert found.shape == (2, SIDE, SIDE)
    theirs = segmentation.slic(pictures()[1], n_segments=9, compactness=10, sigma=1, start_label=0, channel_axis=-1)
    assert np.array_equal(found[1], theirs)


@pytest.mark.quick
def test_without_scikit_image_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(VizkitError, match=r"pip install 'vizkit\[explain\]'"):
        run("lime", small(INSTALLED[0]), pictures(), segments=5)


@pytest.mark.quick
@pytest.mark.parametrize("input_range", ["imagenet", "unit"])
def test_references(input_range: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    model = small(INSTALLED[0])
    batch = vizkit.images.prepare(pictures(), model.spec, fit="squash", input_range=input_range)
    mean, std = (np.array(INPUT[key])[:, None, None] for key in ("mean", "std"))
    pixels = {"black": 0 * mean, "mean": mean}
    for kind, colour in pixels.items():
        wanted = (colour - mean) / std if input_range == "imagenet" else colour
        assert np.allclose(reference(kind, batch, model.spec), wanted, atol=1e-6)
    blurred = [
        [ndimage.gaussian_filter(c, 0.8, mode="reflect", truncate=4) for c in x] for x in batch.tensor.astype(float)
    ]
    assert np.allclose(reference("blurred", batch, model.spec), blurred, atol=1e-5)


def test_a_prepared_batch_is_taken_as_it_is(name: str) -> None:
    model = small(name)
    batch = vizkit.images.prepare(pictures(), model.spec, fit="squash", input_range="unit")
    assert vizkit.images.prepare(batch, model.spec) is batch
    through = vizkit.occlusion(model, batch, target=1, window=5)
    plain = vizkit.occlusion(model, pictures(), target=1, window=5, fit="squash", input_range="unit")
    assert np.array_equal(through.values, plain.values)


@pytest.mark.parametrize(("target", "box"), [(243, (75, 180, 8, 142)), (282, (44, 200, 118, 224))])
def test_occlusion_finds_the_evidence_on_a_photo(target: int, box: tuple[int, int, int, int]) -> None:
    """Covering the dog costs the dog's score most, covering the cat the cat's."""
    weights, photo = shared_file("weights/squeezenet1_0-imagenet.safetensors"), shared_file("images/cat_dog.png")
    model = vizkit.load("squeezenet1_0", weights=str(weights))
    values = vizkit.occlusion(model, photo, target=target, window=56, stride=42, fit="squash").values
    inside = np.zeros((1, 224, 224), dtype=bool)
    inside[:, box[2] : box[3], box[0] : box[1]] = True
    assert values[inside].mean() > 2 * values[~inside].mean()
    assert vizkit.evaluate.pointing_game(values, inside, tolerance=0) == 1
