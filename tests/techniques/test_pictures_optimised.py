"""Deep dreams of a photo, inversions, class pictures: what they promise, in both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from PIL import Image

import vizkit
from vizkit import cli, images, objectives, results
from vizkit.errors import SettingError, ShapeError, UnknownNameError
from vizkit.zoo import shapes


def test_deepdream_by_hand(name: str) -> None:
    """One octave without jitter is normalised gradient ascent on the photo; the gradient is saliency's machinery's."""
    model = vizkit.load("shapes", backend=name, dtype="float64")
    photo = shapes.sample(1, seed=2).images[0]
    found = vizkit.deepdream(model, photo, "features.9", octaves=1, steps=2, jitter=0, lr=0.02, size=96)
    ops = model.ops
    x = images.normalise(photo.transpose(2, 0, 1)[None] / 255.0, model.spec)
    low, high = (images.normalise(np.full((1, 3, 1, 1), end), model.spec) for end in (0.0, 1.0))
    trace = []
    for _ in range(2):
        value, gradient, _ = ops.value_and_grad(
            lambda leaves: (
                ((model.forward(leaves["x"], ("features.9",))["features.9"] ** 2).mean((1, 2, 3)), None)
                if name == "torch"
                else (ops.mean(model.forward(leaves["x"], ("features.9",))["features.9"] ** 2, (1, 2, 3)), None)
            ),
            {"x": ops.asarray(x)},
        )
        trace.append(float(ops.numpy(value)[0]))
        g = ops.numpy(gradient["x"])
        x = np.clip(x + 0.02 * g / np.abs(g).mean(), low, high)
    np.testing.assert_allclose(found.trace, trace, rtol=1e-8)  # 1e-12 is added to mean |g|
    np.testing.assert_allclose(found.values, images.denormalise(x, model.spec), atol=1e-8)


def test_deepdream_keeps_the_photos_shape_and_ascends(name: str) -> None:
    model = vizkit.load("shapes", backend=name)
    found = vizkit.deepdream(model, images.sample(), objectives.unit("features.16", 3), octaves=3, steps=6, size=160)
    assert found.sizes == ((54, 82), (76, 114), (106, 160))
    per_octave = found.trace.reshape(3, 6)
    assert (per_octave[:, -1] > per_octave[:, 0]).all()
    assert 0.0 <= found.values.min() <= found.values.max() <= 1.0
    assert not np.array_equal(found.pictures()[0], found.photo)


def test_deepdream_of_a_network_that_has_one_size(kit: Any) -> None:
    """Its layers behind a flattening take no other, and some networks refuse it at their door."""
    model = vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    behind = [one for one, layer in model.layers.items() if len(layer.shape) == 2][-1]
    with pytest.raises(ShapeError, match=r"cannot take .*, [67]\d, \d\d\)"):
        vizkit.deepdream(model, images.sample(), behind, size=96, steps=1)


def test_a_network_that_asks_for_its_own_size() -> None:
    """As vision transformers do, by errors of their own: it is rendered at that size."""
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, error: type[Exception]) -> None:
            super().__init__()
            self.error, self.conv, self.norm = error, torch.nn.Conv2d(3, 4, 3), torch.nn.LayerNorm(4)

        def forward(self, x: Any) -> Any:
            if x.shape[2:] != (16, 16):
                raise self.error("Input doesn't match the model")
            return self.norm(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2))

    for error in (AssertionError, ValueError, RuntimeError):
        model = vizkit.wrap(Network(error), input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
        found = vizkit.render(model, objectives.unit("conv", 1), steps=2)
        assert found.provenance["settings"]["input_size"] == [16, 16]
        with pytest.raises(
            ShapeError, match=r"cannot take an input of shape \(1, 3, \d\d, \d\d\): Input doesn't match"
        ):
            vizkit.deepdream(model, images.sample(), "conv", size=96, steps=1)


@both()
def test_deepdream_agrees_between_backends() -> None:
    photo = shapes.sample(1, seed=2).images[0]
    first, second = (
        vizkit.deepdream(vizkit.load("shapes", backend=one, dtype="float64"), photo, "features.9", steps=3, size=96)
        for one in INSTALLED
    )
    np.testing.assert_allclose(first.trace, second.trace, rtol=1e-8)
    np.testing.assert_allclose(first.values, second.values, atol=1e-8)


def test_inversion_finds_the_photo_again(name: str) -> None:
    """An early layer gives the photo back; the distance reported is that of the pictures."""
    model = vizkit.load("shapes", backend=name)
    photo = shapes.sample(1, seed=4).images[0]
    found = vizkit.invert(model, photo, ["features.2", "features.16"], steps=40, lr=0.3, tv_weight=0.02)
    batch = images.prepare(photo, model.spec)
    pixels = images.denormalise(batch.tensor, model.spec)
    far = np.abs(found.values - pixels).mean(axis=(1, 2, 3))
    gray = np.abs(pixels - 0.5).mean()
    assert far[0] < 0.35 * gray
    assert found.distance[0] < 0.1
    for picture, layer, distance in zip(found.values, found.layers, found.distance, strict=True):
        tensors = (images.normalise(picture[None], model.spec), batch.tensor)
        a, b = (model.ops.numpy(model.forward(model.ops.asarray(one), (layer,))[layer]) for one in tensors)
        np.testing.assert_allclose(distance, ((a - b) ** 2).sum() / (b**2).sum(), rtol=1e-3)


def test_total_variation_smooths_an_inversion(name: str) -> None:
    """Neighbouring pixels differ less, and the layer tells the picture from the photo more easily."""
    model = vizkit.load("shapes", backend=name)
    photo = shapes.sample(1, seed=4).images[0]
    plain, smooth = (vizkit.invert(model, photo, "features.2", steps=12, lr=0.3, tv_weight=w) for w in (0.0, 100.0))
    rough = [np.abs(np.diff(one.values, axis=3)).mean() for one in (plain, smooth)]
    assert rough[1] < 0.5 * rough[0]
    assert smooth.distance[0] > plain.distance[0]


def test_class_pictures_are_taken_for_their_class(name: str) -> None:
    """On shapes, 3 of 3; the labels, the logits and the percentile are the network's own."""
    model = vizkit.load("shapes", backend=name)
    samples = list(shapes.sample(10, seed=5).images)
    classes = list(shapes.CLASSES[::4])
    found = vizkit.class_pictures(model, classes, steps=24, images=samples)
    best = model.predict(list(found.pictures()), 1, fit="squash")
    assert sum(one.label == wanted for (one,), wanted in zip(best, classes, strict=True)) == 3
    logits = model.logits(samples)[:, ::4]
    below = (logits < found.evidence.activation).mean(axis=0) * 100
    np.testing.assert_allclose(found.evidence.percentile, below)
    assert not found.evidence.failed.any()


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    backends = [part for name in INSTALLED for part in ("-b", name)]
    code, _, err = call(capsys, "dream", "-m", "shapes", "--target", "ring", "--steps", "1", *backends)
    assert (code, err) == (0, "")
    made = results.read_provenance("dream-shapes.png")
    first = made["results"][0] if "results" in made else made
    assert first["settings"]["steps"] == 1
    code, _, err = call(
        capsys, "dream", "-m", "shapes", "-l", "features.9", "-u", "1", "-u", "2", "--recipe", "fourier",
        "--steps", "2", "--every", "1", "--checkpoint", "c.npz", "-o", "a.gif",
    )  # fmt: skip
    assert (code, err) == (0, ""), err
    with Image.open("a.gif") as opened:
        assert opened.n_frames == 2
        assert opened.size == (256, 128)
    assert len(list(tmp_path.glob("c-*.npz"))) == 1
    assert call(capsys, "deepdream", "-m", "shapes", "-l", "features.9", "--size", "96", "--steps", "1")[0] == 0
    code, _, err = call(
        capsys, "invert", "-m", "shapes", "-l", "features.2", "-l", "features.9", "--steps", "2", *backends
    )
    assert (code, err) == (0, "")
    assert results.read_provenance("invert-shapes.png")
    (tmp_path / "real").mkdir()
    Image.fromarray(shapes.sample(1, seed=0).images[0]).save(tmp_path / "real" / "a.png")
    (tmp_path / "real" / "b.png").write_text("no image")
    code, _, err = call(
        capsys, "gallery", "shapes", "--layers", "features.2", "--top", "2", "--steps", "2", "--size", "32",
        "--images", "real",
    )  # fmt: skip
    assert code == 0, err
    assert "left out" in err
    assert (tmp_path / "vizkit-gallery" / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dream", "-m", "shapes", "--target", "ring", "--unit", "3"), "one of the two"),
        (("dream", "-m", "shapes", "--recipe", "magic"), "Unknown recipe"),
        (("dream", "-m", "shapes", "--target", "nothing"), "Unknown label"),
        (("dream", "-m", "shapes", "--recipe", "pixels", "--images", "absent"), "absent"),
        (("deepdream", "-m", "shapes", "--size", "10"), "size=10"),
        (("invert", "-m", "shapes", "-l", "feature.2"), "features.2"),
        (("gallery", "shapes", "--layers", ","), "names no layer"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


@pytest.mark.quick
def test_mistakes_in_python() -> None:
    model = vizkit.load("shapes")
    with pytest.raises(SettingError, match="one image"):
        vizkit.invert(model, list(shapes.sample(2, seed=0).images))
    with pytest.raises(SettingError, match="no class"):
        vizkit.class_pictures(model, [])
    with pytest.raises(UnknownNameError, match="circle"):
        vizkit.class_pictures(model, "circl")
