"""Shards by workers, on this machine and on a cluster: the bits of a run in one process, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, call
from PIL import Image

import vizkit
from vizkit import folders
from vizkit.errors import DivergedError, ImageError
from vizkit.techniques.features.best import Best
from vizkit.techniques.features.pooled import Features
from vizkit.techniques.features.tally import Tallies
from vizkit.techniques.units.histogram import Histogram
from vizkit.zoo import shapes

COUNT = 70
"""Pictures: shards of 32, 32 and 6."""
LAYER = "features.9"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures by a relative path, one of them damaged."""
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for k, one in enumerate(shapes.sample(COUNT, seed=6).images):
        Image.fromarray(one).save(f"pictures/{k:03d}.png")
    Path("pictures/040.png").write_bytes(b"broken")
    return Path("pictures")


class Several:
    """Every reader at once."""

    grows = True

    def __init__(self, units: int) -> None:
        self.units = units
        self.readers: dict[str, Any] = {
            "counts": Tallies({LAYER: units}),
            "best": Best({LAYER: range(units)}, 4, "float64"),
            "histogram": Histogram(LAYER, 3),
            "features": Features(LAYER, "mean"),
        }

    def fresh(self) -> Several:
        return Several(self.units)

    def take(self, places: Sequence[int], batch: Any, activations: Mapping[str, Any]) -> None:
        for one in self.readers.values():
            one.take(places, batch, activations)

    def state(self) -> dict[str, Any]:
        return {f"{name} {key}": value for name, one in self.readers.items() for key, value in one.state().items()}

    def merge(self, part: Mapping[str, Any]) -> None:
        for name, one in self.readers.items():
            one.merge({key.split(" ", 1)[1]: part[key] for key in part if key.startswith(name + " ")})


def dying(model: Any, mark: str, process: int) -> Callable[[Any], Any]:
    """A forward pass; the worker that is first to have seen 20 pictures of a shard is killed."""
    seen = []

    def look(x: Any) -> Any:
        seen.append(len(x))
        if os.getpid() != process and sum(seen) > 20 and not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return model.forward(x, (LAYER,))

    return look


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


def test_workers_give_the_same_bits_though_one_is_killed(name: str, root: Path, tmp_path: Path) -> None:
    """In float64; what was finished is kept, and a later call, here without workers, goes on from it."""
    model, state = vizkit.load("shapes", backend=name, dtype="float64"), tmp_path / "state"
    here = run(model, root, tmp_path / "mark")
    assert not (tmp_path / "mark").exists()
    there = run(model, root, tmp_path / "mark", workers=2, state=state)
    assert (tmp_path / "mark").exists(), "nobody was killed"
    same(here, there)
    assert there[1].spent.seconds > there[1].spent.waited > 0
    assert sorted(path.name for path in state.iterdir()) == ["manifest.json", *(f"part-{k:05d}.npz" for k in range(3))]
    (state / "part-00001.npz").unlink()
    again = run(model, root, tmp_path / "mark", state=state)
    assert again[1].resumed_at == 38
    same(here, again)


def test_a_cluster_gives_the_same_bits_though_a_worker_is_killed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    model = vizkit.load("shapes", backend=INSTALLED[0], dtype="float64")
    here = run(model, root, tmp_path / "mark")
    given: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    monkeypatch.chdir("/")  # where the workers will be
    with distributed.LocalCluster(**given) as cluster:
        monkeypatch.chdir(tmp_path)
        there = run(model, root, tmp_path / "mark", scheduler=cluster.scheduler_address)
    assert (tmp_path / "mark").exists(), "nobody was killed"
    same(here, there)


def table(capsys: Any, *given: str) -> list[str]:
    code, out, err = call(capsys, "health", "shapes", "--images", "pictures", "--layer", LAYER, *given)
    assert not code, err
    return [line for line in out.splitlines() if not line.startswith("wrote")]


def test_commands_say_the_same_with_workers(root: Path, capsys: Any) -> None:
    """Also of networks' errors: they come back from a worker as they are."""
    alone = table(capsys)
    assert any(LAYER in line for line in alone)
    assert table(capsys, "--workers", "1", "--state", "state") == alone
    assert Path("state/merged.npz").exists()
    assert table(capsys, "--state", "state") == alone
    model = vizkit.load("shapes")
    broken = model.with_parameters({"features.0.bias": np.full(16, np.nan)})
    with pytest.raises(DivergedError, match=r"not finite for 000\.png"):
        vizkit.health(broken, "pictures", [LAYER], workers=1)
    for one in root.iterdir():
        one.write_bytes(b"x")
    with pytest.raises(ImageError, match=r"None of the 70 images .*'pictures/000\.png'"):
        vizkit.health(model, "pictures", [LAYER], workers=1)
