"""Concept activation vectors: by hand on a network in which a concept is one unit, against captum, and in both
backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE
from kits import kit as kit_of

import vizkit
from vizkit.errors import SettingError, UnknownNameError
from vizkit.results.concepts import Tcav
from vizkit.zoo import shapes

pytest.importorskip("sklearn")
from vizkit.techniques.concepts.gathering import named
from vizkit.techniques.concepts.vectors import p_values, trained

SIZE = 4
LAYERS = [("conv", 3, 2, 1, 0), ("relu",), ("flatten",), ("dense", 2 * SIZE * SIZE, 3)]


def by_hand(backend: str) -> Any:
    """Unit 0 is red, unit 1 is blue; class 0 likes red everywhere, class 1 dislikes it, class 2 likes blue."""
    model = vizkit.wrap(kit_of(backend).sequential(LAYERS), input_size=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)
    names = list(model.parameter_shapes())
    dense = np.zeros((3, 2, SIZE, SIZE))
    dense[0, 0], dense[1, 0], dense[2, 1] = 1, -1, 1
    values = {
        (2, 3, 1, 1): np.array([[1.0, 0, 0], [0, 0, 1.0]]).reshape(2, 3, 1, 1), (2,): np.zeros(2),
        (3, 2 * SIZE * SIZE): dense.reshape(3, -1), (3,): np.zeros(3),
    }  # fmt: skip
    return model.with_parameters({name: values[tuple(model.parameter_shapes()[name])] for name in names})


def drawn(rng: Any, count: int, red: bool) -> list[np.ndarray]:
    pictures = rng.integers(0, 120, (count, SIZE, SIZE, 3), dtype=np.uint8)
    if red:
        pictures[..., 0] += 120
    return list(pictures)


@pytest.mark.quick
def test_a_concept_that_is_one_unit(name: str, rng: Any) -> None:
    """The derivative of class 0 along the vector is the sum of its entries of unit 0, for every picture."""
    model = by_hand(name)
    concepts = {"red": drawn(rng, 12, True), "nothing": drawn(rng, 12, False)}
    others, pictures = drawn(rng, 60, False), drawn(rng, 5, False)
    found = [vizkit.tcav(model, concepts, others, pictures, "1", target=t, splits=12) for t in range(3)]
    assert found[0].concepts == ("red", "nothing")
    assert found[0].vectors.shape == (2, 12, 2 * SIZE * SIZE)
    np.testing.assert_allclose(np.linalg.norm(found[0].vectors, axis=2), 1, rtol=1e-12)
    assert (found[0].values[0] == 1).all()
    assert (found[1].values[0] == 0).all()
    assert (found[0].accuracy[0] == 1).all()
    assert found[0].accuracy[1].mean() < 0.8
    assert found[0].significant.tolist() == [True, False]
    parts = found[0].vectors.reshape(2, 12, 2, SIZE * SIZE).sum(axis=3)
    np.testing.assert_allclose(found[0].magnitudes, parts[..., 0], rtol=1e-10)
    np.testing.assert_allclose(found[1].magnitudes, -parts[..., 0], rtol=1e-10)
    np.testing.assert_allclose(found[2].magnitudes, parts[..., 1], rtol=1e-10)
    assert ((found[0].values[1] == 1) == (parts[1, :, 0] > 0)).all()


@pytest.mark.skipif("torch" not in INSTALLED, reason="captum is PyTorch's")
def test_captum_on_the_same_vectors(rng: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captum makes float32 of gradients and vectors; here it is kept from that, and agrees to 1e-12: scores
    exactly, magnitudes measured 5e-15."""
    torch = pytest.importorskip("torch")
    concept = pytest.importorskip("captum.concept")
    kit = kit_of("torch")
    native = kit.sequential(TRAPS)
    model = vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    pictures = list(rng.integers(0, 256, (30, TRAPS_SIZE, TRAPS_SIZE, 3), dtype=np.uint8))
    layer = next(name for name, one in model.layers.items() if "ReLU" in one.kind)
    ours = vizkit.tcav(model, {"a": pictures[:8]}, pictures[8:], pictures[:10], layer, target=1, splits=3)
    assert 0 < ours.values.mean() < 1
    x = torch.as_tensor(vizkit.images.prepare(pictures[:10], model.spec).tensor.astype(np.float64))

    class Given(concept.Classifier):  # type: ignore[misc, name-defined]
        def __init__(self, vector: np.ndarray) -> None:
            self.vector = torch.as_tensor(vector)

        def train_and_eval(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"accs": torch.tensor(1.0)}

        def weights(self) -> Any:
            return torch.stack([self.vector, -self.vector])

        def classes(self) -> list[int]:
            return [0, 1]

    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    try:
        for split in range(3):
            sets = [concept.Concept(k, str(k), torch.utils.data.DataLoader(x[k::2])) for k in range(2)]
            tested = concept.TCAV(
                kit.oracle(native).eval(), layer, classifier=Given(ours.vectors[0, split]),
                save_path=str(tmp_path / str(split)),
            )  # fmt: skip
            scores = tested.interpret(x, [sets], target=1)["0-1"][layer]
            np.testing.assert_allclose(ours.values[0, split], scores["sign_count"][0], rtol=1e-12)
            np.testing.assert_allclose(ours.magnitudes[0, split], scores["magnitude"][0], rtol=1e-12, atol=1e-15)
    finally:
        torch.set_default_dtype(torch.float32)


@both()
def test_gluon_is_pytorch() -> None:
    """Measured 1e-15 of the largest, on vectors and magnitudes."""
    samples = shapes.sample(40, seed=3)
    pictures = list(samples.images)
    found = [
        vizkit.tcav(
            vizkit.load("shapes", backend=name, dtype="float64"), {"x": pictures[:8]}, pictures[8:32], pictures[32:],
            "features.16", target="ring", splits=3,
        )
        for name in ("torch", "gluon")
    ]  # fmt: skip
    first, second = found
    assert (first.values == second.values).all()
    assert (first.random == second.random).all()
    assert (first.accuracy == second.accuracy).all()
    for name in ("vectors", "magnitudes"):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert np.abs(ours - theirs).max() <= 1e-8 * np.abs(ours).max()


@pytest.mark.quick
def test_the_test_by_hand() -> None:
    """Student's t with pooled variance, its p by numerical integration, times the number of concepts."""
    from scipy import integrate, special

    ours, random = np.array([0.9, 0.8, 1.0, 0.7]), np.array([0.5, 0.6, 0.3, 0.7])
    pooled = (ours.var(ddof=1) + random.var(ddof=1)) / 2
    t, n = (ours.mean() - random.mean()) / np.sqrt(pooled / 2), 6
    density = special.gamma((n + 1) / 2) / np.sqrt(n * np.pi) / special.gamma(n / 2)
    tail, _ = integrate.quad(lambda x: density * (1 + x * x / n) ** (-(n + 1) / 2), t, np.inf, epsabs=1e-13)
    np.testing.assert_allclose(p_values(ours[None], random), [2 * tail], rtol=1e-8)
    np.testing.assert_allclose(p_values(np.stack([ours, random]), random), [4 * tail, 1.0], rtol=1e-8)
    assert p_values(np.ones((2, 4)), np.ones(4)).tolist() == [1, 1]
    assert p_values(np.ones((1, 4)), np.zeros(4)).tolist() == [0]


@pytest.mark.quick
@pytest.mark.parametrize("classifier", ["sgd", "logistic"])
def test_accuracy_is_of_pictures_held_out(classifier: str, rng: Any) -> None:
    """Of pure noise in many dimensions a classifier knows by heart what it saw, and nothing of the rest; of two apart
    clouds the vector is the way from one to the other."""
    noise = rng.normal(size=(2, 12, 200))
    told = [trained(*noise, classifier, 0.33, [seed])[1] for seed in range(20)]
    assert 0.3 < np.mean(told) < 0.7
    way = rng.normal(size=200)
    apart = noise * 0.01
    apart[0] += way
    vector, accuracy = trained(*apart, classifier, 0.33, [0])
    assert accuracy == 1
    assert vector @ way / np.linalg.norm(way) > 0.99


@pytest.mark.quick
def test_what_it_does_not_depend_on_and_what_it_does(name: str, rng: Any) -> None:
    model = by_hand(name)
    given = {"red": drawn(rng, 8, True)}, drawn(rng, 40, False), drawn(rng, 5, False), "1"
    first = vizkit.tcav(model, *given, target=0, splits=3)
    again = vizkit.tcav(model, *given, target=0, splits=3, batch_size=2)
    np.testing.assert_allclose(first.vectors, again.vectors, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(first.magnitudes, again.magnitudes, rtol=1e-10)
    other = vizkit.tcav(model, *given, target=0, splits=3, seed=1)
    assert np.abs(first.vectors - other.vectors).max() > 1e-3
    made = first.provenance["settings"]
    assert made["pictures_of_a_set"] == 8
    assert made["concepts"]["red"]["count"] == 8
    assert made["random"]["count"] == 40
    assert {"splits", "classifier", "held_out", "alpha", "seed", "layer", "target", "fit"} <= set(made)
    assert first.records()[0]["concept"] == "red"
    assert first.figure().axes[0].get_xlabel() == "TCAV score"


def test_a_folder_of_folders_names_its_concepts(tmp_path: Path, rng: Any) -> None:
    from PIL import Image

    for concept in ("dots", "lines"):
        (tmp_path / concept).mkdir()
        for k in range(2):
            Image.fromarray(drawn(rng, 1, False)[0]).save(tmp_path / concept / f"{k}.png")
    assert {name: len(found) for name, found in named(tmp_path).items()} == {"dots": 2, "lines": 2}
    assert list(named(drawn(rng, 3, False))) == ["concept"]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"splits": 1}, "at least 2 splits"),
        ({"classifier": "forest"}, "'sgd' or 'logistic'"),
        ({"held_out": 1.0}, "shares between 0 and 1"),
    ],
)
def test_what_makes_no_test(settings: dict[str, Any], said: str, rng: Any) -> None:
    model = by_hand(INSTALLED[0])
    with pytest.raises(SettingError, match=said):
        vizkit.tcav(model, drawn(rng, 8, True), drawn(rng, 20, False), drawn(rng, 2, False), "1", target=0, **settings)


@pytest.mark.quick
def test_too_few_pictures_and_unknown_layers(rng: Any) -> None:
    model = by_hand(INSTALLED[0])
    with pytest.raises(SettingError, match="2 pictures of a concept and 20 random ones are too few"):
        vizkit.tcav(model, drawn(rng, 2, True), drawn(rng, 20, False), drawn(rng, 2, False), "1", target=0)
    with pytest.raises(UnknownNameError):
        vizkit.tcav(model, drawn(rng, 8, True), drawn(rng, 20, False), drawn(rng, 2, False), "none", target=0)


@pytest.mark.quick
def test_a_figure_has_a_line_for_each_concept_whose_name_is_whole() -> None:
    names = ("striped and dotted texture", "zigzagged_pattern_of_one_web", "zigzagged_pattern_of_two_webs")
    made = {"model": "m", "backend": "b", "weights": {"source": "w"}, "dtype": "float32"}
    scores, splits = np.full((3, 4), 0.9), np.full(4, 0.5)
    found = Tcav(
        scores, made, names, scores, splits, scores, np.array([1e-9, 0.2, 1]), scores[..., None], "l", "x", 0.05
    )
    figure = found.figure()
    (axes,) = figure.axes
    assert [one.get_text() for one in axes.get_yticklabels()] == [*names, "random"]
    assert [one.get_text() for one in axes.texts] == [f"p {p}, told apart 90%" for p in ("1e-09", "0.2", "1")]
    figure.draw_without_rendering()
    boxes = [one.get_window_extent() for one in (*axes.get_yticklabels(), *axes.texts)]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])
    assert all(figure.bbox.x0 <= one.x0 and one.x1 <= figure.bbox.x1 for one in boxes)
