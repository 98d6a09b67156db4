"""What may be given for an image: arrays and tensors that are ready, batches, loaders, folders, other channels."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import kit
from PIL import Image

import vizkit
from vizkit.errors import ImageError
from vizkit.images import AS_GIVEN, prepare

SIZE = 12
RNG = np.random.default_rng(5)
PICTURES = RNG.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
READY = RNG.normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)


@cache
def network(name: str, channels: int = 3) -> Any:
    """The mean colour is not gray, so that a normalisation that is done twice, or never, shows."""
    layers: list[tuple[Any, ...]] = [
        ("conv", channels, 4, 3, 1), ("relu",), ("pool",), ("flatten",), ("dense", 4 * 36, 5)
    ]  # fmt: skip
    mean, std = np.linspace(0.3, 0.6, channels), np.linspace(0.2, 0.3, channels)
    return vizkit.wrap(kit(name).sequential(layers), input_size=SIZE, mean=mean.tolist(), std=std.tolist())


class Loader:
    """As PyTorch's and Gluon's: batches, each with its labels."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter([(batch, np.zeros(len(batch))) for batch in self.batches])


class Dlpack:
    """An array of a framework that nobody knows."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


FORMS: dict[str, Any] = {
    "batch": lambda x: x,
    "channels last": lambda x: np.moveaxis(x, 1, -1),
    "list": list,
    "list of channels last": lambda x: [np.moveaxis(one, 0, -1) for one in x],
    "generator": lambda x: (one for one in x),
    "loader": lambda x: Loader(x[:2], x[2:]),
    "dlpack": lambda x: Dlpack(x.copy()),
    "double": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_that_are_ready_are_used_as_they_are(name: str, form: str) -> None:
    model = network(name)
    batch = prepare(FORMS[form](READY), model.spec)
    np.testing.assert_array_equal(batch.tensor, READY)
    assert batch.input_range == AS_GIVEN
    found = vizkit.saliency(model, FORMS[form](READY), target=2)
    expected = model.ops.value_and_grad(
        lambda leaves: (model.forward(leaves["x"])["output"][:, 2], None), {"x": model.ops.asarray(READY)}
    )[1]["x"]
    np.testing.assert_allclose(found.values, np.abs(model.ops.numpy(expected)).max(axis=1), rtol=1e-12)
    assert found.provenance["settings"]["input_range"] == AS_GIVEN


def native_tensors() -> list[Any]:
    found = []
    if "torch" in INSTALLED:
        import torch

        found += [torch.from_numpy(READY), torch.from_numpy(READY).requires_grad_(), torch.from_numpy(READY).double()]
    if "gluon" in INSTALLED:
        vizkit.backend.get("gluon")
        import mxnet as mx

        found += [mx.nd.array(READY)]
    return found


@pytest.mark.parametrize("i", range(4))
def test_tensors_of_either_framework_go_into_either(name: str, i: int) -> None:
    tensors = native_tensors()
    if i >= len(tensors):
        pytest.skip("of a framework that is not installed")
    for given in (tensors[i], [tensors[i][0], tensors[i][1:]]):
        np.testing.assert_array_equal(prepare(given, network(name).spec).tensor, READY)


@pytest.mark.quick
def test_half_precision_becomes_float32(name: str) -> None:
    found = prepare(READY.astype(np.float16), network(name).spec).tensor
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, READY, atol=2e-3)


PICTURE_FORMS: dict[str, Any] = {
    "batch": lambda x: x,
    "channels first": lambda x: np.moveaxis(x, -1, 1),
    "one by one, channels first": lambda x: [np.moveaxis(one, -1, 0) for one in x],
    "pillow": lambda x: [Image.fromarray(one) for one in x],
    "generator": lambda x: (one for one in x),
    "loader": lambda x: Loader(x[:2], x[2:]),
}


@pytest.mark.parametrize("form", PICTURE_FORMS)
def test_pictures_of_whole_numbers_are_normalised(form: str) -> None:
    spec = network(INSTALLED[0]).spec
    mean, std = np.array(spec.mean), np.array(spec.std)
    found = prepare(PICTURE_FORMS[form](PICTURES), spec, fit="squash")
    np.testing.assert_array_equal(found.pictures, PICTURES)
    expected = np.moveaxis((PICTURES / 255 - mean) / std, -1, 1)
    np.testing.assert_allclose(found.tensor, expected, atol=1e-6)
    ready = prepare(expected, spec)
    np.testing.assert_array_equal(ready.pictures, PICTURES)  # what is ready is shown as the picture that it is


@pytest.mark.quick
def test_a_folder_and_a_file_of_numbers(tmp_path: Path) -> None:
    spec = network(INSTALLED[0]).spec
    for i, one in enumerate(PICTURES):
        Image.fromarray(one).save(tmp_path / f"{i}.png")
    found = prepare(tmp_path, spec, fit="squash")
    np.testing.assert_array_equal(found.pictures, PICTURES)
    assert found.names == ("0.png", "1.png", "2.png")
    np.save(tmp_path / "ready.npy", READY)
    np.testing.assert_array_equal(prepare(str(tmp_path / "ready.npy"), spec).tensor, READY)
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="holds no image "):
        prepare(tmp_path / "none", spec)
    (tmp_path / "bad.npy").write_bytes(b"no numbers")
    with pytest.raises(ImageError, match="cannot be read as an array"):
        prepare(tmp_path / "bad.npy", spec)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
def test_any_number_of_channels(name: str, channels: int) -> None:
    model = network(name, channels)
    ready = RNG.normal(size=(2, channels, SIZE, SIZE))
    for given in (ready, np.moveaxis(ready, 1, -1)):
        found = vizkit.integrated_gradients(model, given, target=1, steps=3)
        assert found.values.shape == (2, SIZE, SIZE)
        assert found.extra["attribution"].shape == ready.shape
        assert found.batch.pictures.shape == (2, SIZE, SIZE, 3)
        assert np.ptp(found.batch.pictures) > 100
    vizkit.gradcam(model, ready).figure()


@pytest.mark.quick
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_whole_numbers_of_other_channels_are_fitted_and_normalised(kind: Any) -> None:
    model = network(INSTALLED[0], 5)
    high = np.iinfo(kind).max
    whole = RNG.integers(0, high, (SIZE, SIZE, 5), dtype=kind)
    mean, std = np.array(model.spec.mean), np.array(model.spec.std)
    expected = np.moveaxis((whole / high - mean) / std, -1, 0)[None]
    for given in (whole, np.moveaxis(whole, -1, 0), whole[None]):
        found = prepare(given, model.spec, fit="squash")
        np.testing.assert_allclose(found.tensor, expected, atol=2e-6)
    large = np.repeat(np.repeat(whole, 3, 0), 2, 1)
    found = prepare(large, model.spec, fit="squash")
    assert found.tensor.shape == expected.shape
    assert np.corrcoef(found.tensor.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((4, SIZE, SIZE)), r"expected floats \(C, H, W\) = \(3, 12, 12\)"),
        (np.zeros((3, SIZE, SIZE + 1)), r"got|shape \(3, 12, 13\)"),
        (np.zeros((2, 3, SIZE, SIZE), np.int64), "int64"),
        (np.zeros((0, 3, SIZE, SIZE)), r"shape \(0, 3, 12, 12\)"),
        (np.array([["a"]]), "<U1"),
        ([], "empty"),
        (iter(()), "empty"),
        ([PICTURES[0], READY[0]], "give one kind"),
        (object(), "An image is"),
        ({"image": PICTURES[0]}, "An image is"),
    ],
)
def test_what_is_no_image(given: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        prepare(given, network(INSTALLED[0]).spec, fit="squash")


@pytest.mark.quick
def test_what_is_ready_is_told_apart_by_its_values() -> None:
    """Pictures that look alike, since they are clipped, are not the same input."""
    spec = network(INSTALLED[0]).spec
    digests = {prepare(READY[:1] + shift, spec).digest()[0] for shift in (0, 1e-6)}
    assert len(digests) == 2
    assert vizkit.images.fingerprint(READY[0]) != vizkit.images.fingerprint(READY[1])


@pytest.mark.quick
def test_predictions_are_a_list_where_there_are_several() -> None:
    model = network(INSTALLED[0])
    assert len(model.predict(READY)) == 3
    assert isinstance(model.predict(READY[0])[0], vizkit.backend.Prediction)
    assert len(model.predict([READY[0]])) == 1


@pytest.mark.quick
def test_a_network_of_other_channels_takes_no_photo() -> None:
    with pytest.raises(ImageError, match="takes 5 channels"):
        vizkit.saliency(network(INSTALLED[0], 5), vizkit.images.sample())
