"""Tables of methods by metrics, with their controls."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit import evaluate, techniques
from vizkit.errors import SettingError, UnknownNameError
from vizkit.evaluate import METRICS, rank
from vizkit.techniques.controls import CONTROLS
from vizkit.zoo import shapes

SIDE = TRAPS_SIZE
INPUT = {"input_size": SIDE, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}
OPTIONS = {
    "pointing_game": {"tolerance": 1},
    "deletion": {"steps": 4},
    "insertion": {"steps": 4},
    "road": {"percentages": [30]},
    "infidelity": {"samples": 3},
    "faithfulness_correlation": {"samples": 5},
    "max_sensitivity": {"samples": 1},
    "parameter_randomisation": {"layers": ["13"]},
}


def small(backend: str) -> Any:
    return vizkit.wrap(kit_of(backend).sequential(TRAPS), **INPUT)


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(3)]


def masks() -> np.ndarray:
    found = np.zeros((3, SIDE, SIDE), dtype=bool)
    found[:, 3:9, 2:12] = True
    return found


def perfect(*_: Any, **__: Any) -> np.ndarray:
    return masks().astype(float)


def ranking(name: str, **options: Any) -> evaluate.Ranking:
    methods = {"perfect": perfect, "occlusion": partial(vizkit.occlusion, window=4)}
    return rank(small(name), pictures(), methods, fit="squash", options=OPTIONS, **options)


def test_every_metric_fills_its_column(name: str) -> None:
    pytest.importorskip("scipy")
    found = ranking(name, masks=masks(), metrics=list(METRICS))
    assert set(found.methods) == {"perfect", "occlusion", "random_map", "edge_map", "centre_map"}
    assert found.metrics == tuple(METRICS)
    assert found.per_image.shape == (5, len(METRICS), 3)
    assert np.isfinite(found.values).all()
    assert np.allclose(found.values, found.per_image.mean(axis=2))
    model, row = small(name), found.methods.index("occlusion")
    maps = vizkit.occlusion(model, pictures(), window=4, fit="squash")
    wanted = {
        "pointing_game": evaluate.pointing_game(maps, masks(), tolerance=1),
        "deletion": evaluate.deletion(model, pictures(), maps, steps=4, fit="squash").auc,
        "sparseness": evaluate.sparseness(maps),
        "random_logit": evaluate.random_logit(
            model, pictures(), partial(vizkit.occlusion, window=4), target=list(maps.targets), fit="squash"
        ),
    }
    for metric, values in wanted.items():
        assert np.allclose(found.per_image[row, found.metrics.index(metric)], values, rtol=0, atol=1e-9)


@pytest.mark.quick
def test_the_best_comes_first_by_its_mean_rank(name: str) -> None:
    metrics = ["relevance_mass", "relevance_rank", "complexity"]
    found = ranking(name, masks=masks(), metrics=metrics)
    assert found.methods[0] == "perfect"
    assert found.mean_rank[0] == 1
    assert (np.diff(found.mean_rank) >= 0).all()
    for k in range(5):
        above = [(found.values[:, column] > found.values[k, column]).sum() for column in (0, 1)]
        tied = [(found.values[:, column] == found.values[k, column]).sum() - 1 for column in (0, 1)]
        assert found.mean_rank[k] == pytest.approx(np.mean([1 + a + t / 2 for a, t in zip(above, tied, strict=True)]))


def test_controls_are_always_there_and_the_centre_with_masks() -> None:
    without = ranking(INSTALLED[0], metrics=["average_drop"])
    assert {"random_map", "edge_map"} < set(without.methods)
    assert "centre_map" not in without.methods
    assert "pointing_game" not in ranking(INSTALLED[0]).metrics
    assert "pointing_game" in ranking(INSTALLED[0], masks=masks()).metrics


def test_a_new_control_is_in_the_table_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def last(model: Any, image: Any, *, target: Any = None, seed: int = 0) -> np.ndarray:
        assert seed == 3
        return np.ones((len(image), *model.spec.size))

    def first(model: Any, image: Any, *, target: Any = None) -> np.ndarray:
        return np.ones((len(image), *model.spec.size))

    for one in (first, last):
        monkeypatch.setattr(techniques, one.__name__, one, raising=False)
    monkeypatch.setattr("vizkit.evaluate.ranking.CONTROLS", ("first", *CONTROLS, "last"))
    found = ranking(INSTALLED[0], metrics=["average_drop"], seed=3)
    assert set(found.methods) >= {"first", "last"} | set(CONTROLS) - {"centre_map"}


def test_the_seed_decides_and_nothing_else_does(name: str) -> None:
    first, again, other = (ranking(name, metrics=["deletion", "infidelity"], seed=seed) for seed in (0, 0, 1))
    assert first.methods == again.methods
    assert np.array_equal(first.per_image, again.per_image)
    row = first.methods.index("random_map")
    assert not np.allclose(first.per_image[row], other.per_image[other.methods.index("random_map")])


@both()
def test_both_backends_give_the_same_table() -> None:
    pytest.importorskip("scipy")
    found = [ranking(name, masks=masks(), metrics=[m for m in METRICS if m != "parameter_randomisation"])
             for name in ("torch", "gluon")]  # fmt: skip
    assert found[0].methods == found[1].methods
    assert np.allclose(found[0].per_image, found[1].per_image, rtol=0, atol=1e-7)


def test_the_table_and_its_files(tmp_path: Path) -> None:
    found = ranking(INSTALLED[0], masks=masks(), metrics=["relevance_mass", "deletion", "sparseness"])
    lines = found.table().splitlines()
    assert lines[0].split() == [
        "method",
        "mean",
        "rank",
        "↓",
        "relevance_mass",
        "↑",
        "deletion",
        "↓",
        "(sparseness",
        "↑)",
    ]
    assert [line.split()[0] for line in lines[2:]] == list(found.methods)
    assert len({len(line) for line in lines}) == 1
    assert found.save(tmp_path / "a.txt").read_text(encoding="utf-8") == found.table() + "\n"
    with found.save(tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["method", "mean_rank", "relevance_mass", "deletion", "sparseness"]
    assert np.array_equal([[float(cell) for cell in row[2:]] for row in rows[1:]], found.values)
    with np.load(found.save(tmp_path / "a.npz")) as arrays:
        assert arrays["methods"].tolist() == list(found.methods)
        assert np.array_equal(arrays["per_image"], found.per_image)
    assert vizkit.results.read_provenance(found.save(tmp_path / "a.png")) == found.provenance
    assert found.provenance["settings"]["options"]["deletion"] == {"steps": 4}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "a.csv", "a.npz", "a.png"}


@pytest.mark.quick
def test_names_and_functions_are_methods() -> None:
    found = rank(
        small(INSTALLED[0]), pictures(), ["saliency", vizkit.edge_map, perfect], metrics=["sparseness"], fit="squash"
    )
    assert set(found.methods) == {"saliency", "edge_map", "perfect", "random_map"}
    assert found.mean_rank[0] == 1  # a description ranks where nothing judges


@pytest.mark.parametrize(
    ("methods", "options", "error", "match"),
    [
        (["salincy"], {}, UnknownNameError, "saliency"),
        (["saliency"], {"metrics": ["delition"]}, UnknownNameError, "deletion"),
        (["saliency"], {"metrics": ["pointing_game"]}, SettingError, "needs masks"),
        (["saliency"], {"metrics": []}, SettingError, "at least one"),
        (["saliency"], {"options": {"steps": {}}}, UnknownNameError, "metric"),
        ([partial(vizkit.occlusion, window=3)], {}, SettingError, "mapping from names"),
    ],
)
def test_what_cannot_be_ranked(methods: Any, options: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        rank(small(INSTALLED[0]), pictures(), methods, fit="squash", **options)


def test_methods_beat_the_controls_on_shapes(name: str) -> None:
    """Ground truth: on pictures with known objects, what looks at the trained network wins over what does not."""
    try:
        model = vizkit.load("shapes", backend=name)
    except UnknownNameError:
        pytest.skip("the bundled network 'shapes' is not registered yet")
    samples = shapes.sample(12, seed=3)
    methods = {"saliency": vizkit.saliency, "occlusion": partial(vizkit.occlusion, window=24, stride=18)}
    metrics = ["pointing_game", "relevance_mass", "relevance_rank"]
    options = {"pointing_game": {"tolerance": 2}}
    found = rank(model, samples, methods, metrics=metrics, options=options)
    rows = dict(zip(found.methods, found.values, strict=True))
    controls = np.max([rows[control] for control in ("random_map", "edge_map", "centre_map")], axis=0)
    assert rows["saliency"][0] > controls[0] + 0.1
    assert (rows["occlusion"][1:] > controls[1:] + 0.05).all()
    assert [list(samples.labels)] == [[target["index"] for target in found.provenance["settings"]["target"]]]


@pytest.mark.parametrize("name", INSTALLED)
def test_the_pointing_game_on_shapes_allows_what_the_published_table_allows(name: str) -> None:
    """One tolerance for ``vizkit evaluate`` and for the table, small beside pictures of a hundred pixels."""
    drawn = shapes.sample(6, seed=3)
    model = vizkit.load("shapes", backend=name)
    found = rank(model, drawn, ["saliency"], metrics=["pointing_game"])
    assert found.provenance["settings"]["options"]["pointing_game"] == {"tolerance": shapes.TOLERANCE}
    row = found.methods.index("edge_map")
    maps = vizkit.edge_map(model, list(drawn.images), fit="squash").values
    hits = [evaluate.pointing_game(maps, drawn.masks, tolerance=t) for t in (shapes.TOLERANCE, 15.0)]
    np.testing.assert_array_equal(found.per_image[row, 0], hits[0])
    assert hits[0].sum() < hits[1].sum(), "the paper's tolerance would forgive more"
    other = rank(model, drawn, ["saliency"], metrics=["pointing_game"], options={"pointing_game": {"tolerance": 15.0}})
    np.testing.assert_array_equal(other.per_image[other.methods.index("edge_map"), 0], hits[1])
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "methods.json"
    assert json.loads(results.read_text())["localisation"]["tolerance"] == shapes.TOLERANCE
