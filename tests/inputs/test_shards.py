"""Runs over many pictures in shards: merged in order, kept in a folder, and the same wherever they are done."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED
from kits import kit as kit_of
from PIL import Image

import vizkit
from vizkit import folders
from vizkit.errors import SettingError
from vizkit.inputs.folders import parts, streaming
from vizkit.techniques.features.activity import Activity
from vizkit.techniques.features.best import Best
from vizkit.techniques.features.pooled import Features
from vizkit.techniques.features.tally import Tallies
from vizkit.techniques.units.histogram import Histogram
from vizkit.zoo import shapes

COUNT = 100
LAYERS = ["features.4", "features.9"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in two folders, one of them damaged."""
    root = tmp_path_factory.mktemp("pictures")
    for k, one in enumerate(shapes.sample(COUNT, seed=6).images):
        file = root / "ab"[k % 2] / f"{k:03d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(one).save(file)
    (root / "a" / "050.png").write_bytes(b"broken")
    return root


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Bit for bit."""
    assert set(one) == set(other)
    for name, values in one.items():
        assert np.asarray(values).tobytes() == np.asarray(other[name]).tobytes(), name


def readers() -> dict[str, Any]:
    return {
        "counts": Tallies({"features.4": 16, "features.9": 32}),
        "best": Best({"features.9": range(32), "features.4": [1, 3]}, 4, "float64"),
        "histogram": Histogram("features.9", 3),
        "activity": Activity(LAYERS),
        "features": Features("features.9", "mean"),
    }


def activations(count: int, rng: np.random.Generator, scale: float = 1.0) -> tuple[Any, dict[str, Any]]:
    """A batch, and what two layers might give for it: half zeros, of values with ties."""
    shape = (count, 16, 12, 12), (count, 32, 6, 6)
    found = [rng.normal(size=one).round(2).clip(0, 1.5) * scale for one in shape]
    pictures = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    batch = vizkit.images.Batch(np.empty((count, 0)), pictures, tuple(map(str, range(count))))
    return batch, dict(zip(LAYERS, found, strict=True))


@pytest.mark.quick
@pytest.mark.parametrize("which", list(readers()))
def test_merged_parts_say_what_one_reader_says(which: str, rng: np.random.Generator) -> None:
    """Counts, extremes, histograms, heaps and rows are equal; moments to 1e-12 of the largest. Into an empty reader a
    part comes as it is."""
    whole, merged = readers()[which], readers()[which]
    start = 0
    for count, scale in ((7, 1.0), (1, 0.0), (12, 40.0), (5, 0.1), (9, 40.0)):
        batch, found = activations(count, rng, scale)
        part, places = merged.fresh(), range(start, start + count)
        for reader in (whole, part):
            reader.take(places, batch, found)
        again = part.fresh()
        again.merge(part.state())
        same(again.state(), part.state())
        merged.merge(part.state())
        start += count
    ours, theirs = merged.state(), whole.state()
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        exact = name.rsplit(":")[-1] not in ("total", "mean", "moments")
        largest = 0.0 if exact else 1e-12 * np.abs(values).max()
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=largest, err_msg=name)


@pytest.mark.quick
def test_moments_far_from_zero_keep_their_correlation(rng: np.random.Generator) -> None:
    """A deviation of a hundred-thousandth of the mean: with sums of squares 1e-6 of it would be lost, here 1e-11."""
    values = rng.normal(size=(60, 3))
    values[:, 1] += values[:, 0]
    tallies = Tallies({"fc": 3})
    for part in np.split(values, 6):
        other = tallies.fresh()
        other.take([], None, {"fc": part + 1e5})
        tallies.merge(other.state())
    found = tallies.layers["fc"].correlation()
    np.testing.assert_allclose(found, np.corrcoef(values.T), rtol=0, atol=1e-9)


@pytest.mark.quick
def test_shards_depend_on_the_number_of_pictures_alone() -> None:
    for count, length in ((1, 32), (40, 32), (1024, 32), (1025, 64), (20_000, 256), (1_000_000, 256)):
        cuts = parts.shards(count)
        assert [len(cut) for cut in cuts[:-1]] == [length] * (len(cuts) - 1)
        assert (cuts[0].start, cuts[-1].stop) == (0, count)
        assert all(a.stop == b.start for a, b in pairwise(cuts))


def test_the_best_of_a_million_units_take_little_memory() -> None:
    """Nine patches of 100,000 units from three shards; measured 36 MB, and 360 MB of a million."""
    import tracemalloc

    units, k = 100_000, 9
    rng = np.random.default_rng(0)
    total = Best({"fc": range(units)}, k, "float32")
    batches = [rng.random((8, units), np.float32) for _ in range(3)]
    tracemalloc.start()
    for place, batch in enumerate(batches):
        part = total.fresh()
        part.take(range(8 * place, 8 * place + 8), None, {"fc": batch})  # type: ignore[arg-type]
        total.merge(part.state())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    every = np.concatenate(batches)
    np.testing.assert_array_equal(total.values, -np.sort(-every, axis=0)[:k].T)
    np.testing.assert_array_equal(every[total.places[5], 5], total.values[5])
    assert peak < 45e6, f"{peak / 1e6:.0f} MB"


class Stopped(Exception):
    """What ends a run halfway."""


@contextmanager
def stopping(after: int) -> Iterator[None]:
    """The disk takes no more files than so many."""
    write, written = parts._write, []

    def failing(file: Path, *given: Any) -> None:
        if len(written) == after:
            raise Stopped
        write(file, *given)
        written.append(file)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "_write", failing)
        yield


def small(name: str) -> Any:
    """A network for pictures of 16 pixels, in float64."""
    first, second = [("conv", 3, 8, 3, 1), ("relu",)], [("conv", 8, 6, 3, 1), ("relu",)]
    native = kit_of(name).sequential([*first, ("pool",), *second, ("flatten",), ("dense", 384, 5)], dtype="float64")
    return vizkit.wrap(native, input_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def run(model: Any, root: Path, **options: Any) -> tuple[Any, Any]:
    layers = ["1", "4"]
    reader = Tallies({name: model.layers[name].shape[1] for name in layers})
    passed = folders.stream(model, folders.find(root), layers, reader, label="test", **options)
    return reader, passed


def test_a_run_goes_on_to_the_same_bits(name: str, root: Path, tmp_path: Path) -> None:
    """Sums are kept as one file in place of their parts, features as parts; a rerun does what is missing, and at the
    end the folders are equal byte for byte."""
    model = small(name)
    plain, passed = run(model, root)
    assert passed.read == COUNT - 1
    assert [one.name for one in passed.skipped] == ["a/050.png"]
    once, _ = run(model, root, state=tmp_path / "once")
    for after in (0, 2, 4):
        with stopping(after), pytest.raises(Stopped):
            run(model, root, state=tmp_path / "state")
        assert len(list((tmp_path / "state").iterdir())) == 1 + after
        resumed, again = run(model, root, state=tmp_path / "state")
        assert again.resumed_at == min(32 * after, COUNT)
        assert (again.read, again.skipped, again.sha256) == (passed.read, passed.skipped, passed.sha256)
        for one in (once, resumed):
            same(one.state(), plain.state())
        files = [sorted(path.iterdir()) for path in (tmp_path / "once", tmp_path / "state")]
        assert [file.name for file in files[1]] == ["manifest.json", "merged.npz"]
        assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
        shutil.rmtree(tmp_path / "state")


def test_another_batch_size_changes_rounding_alone(name: str, root: Path) -> None:
    """Measured 3e-16 of the largest."""
    model = small(name)
    (one, first), (other, second) = (run(model, root, batch_size=size) for size in (5, 32))
    assert first == second
    for key, values in one.state().items():
        np.testing.assert_allclose(values, other.state()[key], rtol=0, atol=1e-12 * max(1, np.abs(values).max()))


@pytest.mark.quick
def test_features_are_kept_as_parts(root: Path, tmp_path: Path) -> None:
    model, state = vizkit.load("shapes"), tmp_path / "state"
    first, again = (vizkit.embed(model, root, method="pca", state=state) for _ in range(2))
    assert (first.values == again.values).all()
    assert len(list(state.glob("part-*.npz"))) == 4
    (state / "part-00002.npz").unlink()
    third = vizkit.embed(model, root, method="pca", state=state)
    assert third.features.tobytes() == first.features.tobytes()
    assert third.provenance["images"] == first.provenance["images"]


@pytest.mark.quick
def test_folders_that_are_no_state(root: Path, tmp_path: Path) -> None:
    model, state = small(INSTALLED[0]), tmp_path / "state"
    state.write_bytes(b"x")
    with pytest.raises(SettingError, match=r"is a file\. The state of a run is a folder now"):
        run(model, root, state=state)
    state.unlink()
    state.mkdir()
    (state / "mine.txt").write_text("x")
    with pytest.raises(SettingError, match=r"'mine\.txt' and no manifest\.json"):
        run(model, root, state=state)
    (state / "mine.txt").unlink()
    run(model, root, state=state)
    for content, why in ((b"PK", "no part that vizkit wrote"), (None, "")):
        if content is None:
            (state / "merged.npz").unlink()
            assert run(model, root, state=state)[1].resumed_at == 0
            continue
        (state / "merged.npz").write_bytes(content)
        with pytest.raises(SettingError, match=why):
            run(model, root, state=state)
    manifest = json.loads((state / "manifest.json").read_text())
    (state / "manifest.json").write_text(json.dumps(manifest | {"settings": {"k": 1}}))
    with pytest.raises(SettingError, match="the settings changed since"):
        run(model, root, state=state)
    (state / "manifest.json").write_text(json.dumps(manifest))
    brighter = vizkit.wrap(model.native, input_size=16, mean=(0.4,) * 3, std=(0.25,) * 3)
    with pytest.raises(SettingError, match="the preparation of inputs changed since"):
        run(brighter, root, state=state)
    model.file_sha256 = "of a file that says what the network does"
    with pytest.raises(SettingError, match="the network changed since"):
        run(model, root, state=state)
    (state / "manifest.json").write_text("{")
    with pytest.raises(SettingError, match="no manifest that vizkit wrote"):
        run(model, root, state=state)


@pytest.mark.quick
def test_many_rows_lie_on_disk(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    from vizkit.support import spill

    every = [rng.normal(size=(n, 3)) for n in (2, 1, 4)]
    for limit in (10**6, 60, 0):
        monkeypatch.setattr(spill, "LIMIT", limit)
        rows = spill.Rows()
        for one in every:
            rows.append(one)
        found = rows.array()
        assert isinstance(found, np.memmap) == (limit < 10**6)
        assert found.tobytes() == np.concatenate(every).tobytes()
        found[0] = 0  # a result may be written to
        del rows
        assert (found[1:] == np.concatenate(every)[1:]).all()


@pytest.mark.parametrize("kind", ["folder", "draft", "tar"])
def test_a_worker_elsewhere_finds_pictures_by_relative_paths(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """And says what it could not read as this process would."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(root / "a", "a")
    if kind == "tar":
        with tarfile.open("a.tar", "w") as packed:
            packed.add("a")
    found = folders.find("a.tar" if kind == "tar" else "a", draft=32 if kind == "draft" else None)
    model = vizkit.load("shapes")
    way = streaming.Way(Features("features.9", "mean"), ("features.9",), None, "crop", "imagenet", 8)
    task = streaming.Task(way, 0, range(len(found)), found, str(tmp_path), None)
    here, _ = streaming.work([model], task)
    monkeypatch.chdir("/")
    there, _ = streaming.work([model], task)
    assert here is not None
    assert there is not None
    assert len(here.digests) == COUNT // 2 - 1
    assert there.digests == here.digests
    assert [one.reason for one in here.skipped] == [one.reason for one in there.skipped]
