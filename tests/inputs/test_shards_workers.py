"""Shards by workers, on this machine and on a cluster: the bits of a run in one process, whoever dies meanwhile."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits import toy
from PIL import Image
from shard_tasks import LAYER, Several, dying

import vizkit
from vizkit import folders
from vizkit.errors import DivergedError
from vizkit.zoo import shapes

COUNT = 70
"""Pictures: shards of 32, 32 and 6."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has pictures, one of them damaged."""
    made = tmp_path_factory.mktemp("folder")
    (made / "pictures").mkdir()
    for k, one in enumerate(shapes.sample(COUNT, seed=6).images):
        Image.fromarray(one).save(made / f"pictures/{k:03d}.png")
    (made / "pictures/040.png").write_bytes(b"broken")
    return made


@pytest.fixture
def root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pictures, by a relative path."""
    monkeypatch.chdir(folder)
    return Path("pictures")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A network of the toy backend: a worker builds it without a framework, and so starts soon."""
    with toy.installed(tmp_path_factory.mktemp("site")):
        rng = np.random.default_rng(0)
        arrays = {"0.weight": rng.normal(size=(8, 3, 3, 3)), "0.bias": rng.normal(size=8)}
        layers = [("conv", {"padding": 1}), ("relu", {}), ("flatten", {})]
        native = importlib.import_module("tinynet").Network(layers, arrays)
        yield vizkit.wrap(native, input_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def run(model: Any, root: Path, mark: Path, **options: Any) -> tuple[dict[str, Any], Any]:
    reader, looking = Several(model.layers[LAYER].shape[1]), partial(dying, mark=str(mark), process=os.getpid())
    given: dict[str, Any] = {"label": "test", "looking": looking, "batch_size": 8}
    passed = folders.stream(model, folders.find(root), [LAYER], reader, **given, **options)
    return reader.state(), passed


def same(first: tuple[dict[str, Any], Any], second: tuple[dict[str, Any], Any]) -> None:
    """Bit for bit, and the same pictures, also those that were not read, for the same reasons."""
    assert first[1] == second[1]
    assert first[1].read == COUNT - 1
    assert "'pictures/040.png'" in first[1].skipped[0].reason
    assert first[0].keys() == second[0].keys()
    for name, values in first[0].items():
        assert np.asarray(values).tobytes() == np.asarray(second[0][name]).tobytes(), name


def test_workers_give_the_same_bits_though_one_is_killed(small: Any, root: Path, tmp_path: Path) -> None:
    """In float64; what was finished is kept, and a later call, here without workers, goes on from it."""
    state = tmp_path / "state"
    here = run(small, root, tmp_path / "mark")
    assert not (tmp_path / "mark").exists()
    there = run(small, root, tmp_path / "mark", workers=2, state=state)
    assert (tmp_path / "mark").exists(), "nobody was killed"
    same(here, there)
    assert there[1].spent.seconds > there[1].spent.waited > 0
    assert sorted(path.name for path in state.iterdir()) == ["manifest.json", *(f"part-{k:05d}.npz" for k in range(3))]
    (state / "part-00001.npz").unlink()
    again = run(small, root, tmp_path / "mark", state=state)
    assert again[1].resumed_at == 38
    same(here, again)


def test_a_cluster_gives_the_same_bits_though_a_worker_is_killed(
    small: Any, root: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    here = run(small, root, tmp_path / "mark")
    given: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    monkeypatch.chdir("/")  # where the workers will be
    with distributed.LocalCluster(**given) as cluster:
        monkeypatch.chdir(folder)
        there = run(small, root, tmp_path / "mark", scheduler=cluster.scheduler_address)
    assert (tmp_path / "mark").exists(), "nobody was killed"
    same(here, there)


def test_a_networks_error_comes_back_from_a_worker(small: Any, root: Path) -> None:
    """As it is."""
    broken = small.with_parameters({"0.bias": np.full(8, np.nan, np.float32)})
    with pytest.raises(DivergedError, match=r"not finite for 000\.png"):
        vizkit.health(broken, root, [LAYER], workers=1)
