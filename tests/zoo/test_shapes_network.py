"""The ``shapes`` network: its description, its stored weights and its training."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vizkit.zoo import shapes

DATA = Path(shapes.__file__).parents[1] / "data"
WEIGHTS = DATA / "shapes.safetensors"


@pytest.mark.quick
def test_the_description_is_that_of_a_small_vgg() -> None:
    kinds = [layer.kind for layer in shapes.layers()]
    assert {"conv", "batch_norm", "relu", "max_pool", "avg_pool", "linear", "dropout"} == set(kinds)
    names = [layer.name for layer in shapes.layers()]
    assert names[:4] == ["features.0", "features.1", "features.2", "features.3"]
    assert names[-5:] == ["avgpool", "classifier.0", "classifier.1", "classifier.2", "classifier.3"]
    for before, after in zip(shapes.layers(), shapes.layers()[1:], strict=False):
        assert before.outputs == after.inputs
    assert shapes.layers()[-1].outputs == len(shapes.CLASSES)
    assert shapes.sample(1, seed=0).images.shape[1:] == (shapes.INPUT_SIZE, shapes.INPUT_SIZE, 3)


@pytest.mark.quick
def test_the_weights_file_fits_the_description() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    stored = load_file(WEIGHTS)
    assert {name: value.shape for name, value in stored.items()} == shapes.parameter_shapes()
    assert {str(value.dtype) for value in stored.values()} == {"float32"}
    assert all(np.isfinite(value).all() for value in stored.values())
    content = WEIGHTS.read_bytes()
    about = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]
    assert json.loads(about["labels"]) == list(shapes.CLASSES)
    assert (json.loads(about["mean"]), json.loads(about["std"])) == (list(shapes.MEAN), list(shapes.STD))
    assert (about["model"], about["input_size"], about["format_version"]) == ("shapes", "96", "1")


@pytest.mark.quick
def test_the_training_record_is_of_the_stored_weights() -> None:
    record = json.loads((DATA / "shapes-training.json").read_text())
    assert record["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert record["held_out"]["samples"] >= 5000
    assert record["held_out"]["accuracy"] >= 0.97
    confusion = np.array(record["held_out"]["confusion"])
    assert confusion.sum() == record["held_out"]["samples"]
    assert np.trace(confusion) / confusion.sum() == pytest.approx(record["held_out"]["accuracy"])
    assert set(record["held_out"]["per_class"]) == set(shapes.CLASSES)
    assert min(record["held_out"]["per_class"].values()) >= 0.94
    assert (DATA / "shapes-training.png").read_bytes().startswith(b"\x89PNG")


def test_stored_weights_name_fresh_pictures() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.train_shapes import scores
    from vizkit_torch.shapes import ShapesNet

    network = ShapesNet()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in load_file(WEIGHTS).items()})
    fresh = shapes.sample(240, seed=20_260)
    answer = scores(network, fresh.images).argmax(1)
    assert (answer == fresh.labels).mean() >= 0.97
    pair = shapes.sample(120, seed=20_260, objects=2)
    best = scores(network, pair.images).argmax(1)
    assert (pair.labels == best[:, None]).any(1).mean() >= 0.8


def test_training_repeats_byte_for_byte_and_leaves_torch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks import train_shapes

    train, weights_file = train_shapes.train, train_shapes.weights_file
    monkeypatch.setattr(train_shapes, "WATCHED", 24)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    first, curves = train(seed=3, steps=2, batch=12)
    again, _ = train(seed=3, steps=2, batch=12)
    other, _ = train(seed=4, steps=2, batch=12)
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    assert weights_file(first) == weights_file(again) != weights_file(other)
    assert curves.step == curves.held_out_step == [2]
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
