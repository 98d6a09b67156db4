"""The renderer: it ascends, it fits, backends agree step by step, and a stopped run goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, both
from kits import TRAPS, TRAPS_SIZE, kit

import vizkit
from vizkit.errors import DivergedError, SettingError, UnknownNameError
from vizkit.objectives import Objective, Seen, content, diversity, logit, unit
from vizkit.parametrisations import Fourier, Laplacian, Parametrisation, Phase, Pixels, sides
from vizkit.regularisers import alpha_sum, total_variation
from vizkit.techniques.dreams import checkpoint as _checkpoint
from vizkit.techniques.dreams.ascent import Ascent
from vizkit.techniques.dreams.optimise import optimiser
from vizkit.transforms import STANDARD, ColourJitter, Crop, Jitter, Noise, Resize, Transform, draw

KINDS: dict[str, Parametrisation] = {
    "pixels": Pixels(16), "laplacian": Laplacian(16, levels=3), "fourier": Fourier(16), "phase": Phase(16),
}  # fmt: skip
VIEWS = {"none": (), "standard": STANDARD}
RUNS = [
    ("pixels", "none", "adam"), ("pixels", "standard", "ascent"), ("laplacian", "none", "nadam"),
    ("fourier", "standard", "adam"), ("phase", "none", "ascent"), ("phase", "standard", "nadam"),
]  # fmt: skip
"""Every parametrisation, every optimiser with and without views. One knows nothing of the others."""
FINE = {"pixels": 0.01}
"""Steps of ascent do not grow smaller by themselves; 0.003 for all others."""
STEPS = {"phase": 30}
"""After 20 the gain that is asked for hangs on the seed: 1.2 to 0.98 times it; after 30 it is 1.08 times at least."""


def make(name: str, dtype: str = "float64") -> Any:
    native = kit(name).sequential(TRAPS, dtype=dtype)
    return vizkit.wrap(native, input_size=TRAPS_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def model(name: str) -> Any:
    return make(name)


@dataclass(frozen=True, eq=False)
class Like(Objective):
    """Minus the mean square error between the picture and a given one (C, H, W)."""

    wanted: Any

    def layers(self) -> tuple[str, ...]:
        return ()

    def activates(self) -> bool:
        return False

    def value(self, seen: Seen) -> Any:
        gap = seen.picture - seen.ops.asarray(self.wanted[None])
        return -1.0 * seen.ops.mean(gap * gap, (1, 2, 3))


@pytest.mark.parametrize(("kind", "views", "which"), RUNS)
def test_it_ascends(model: Any, kind: str, views: str, which: str) -> None:
    steps = STEPS.get(kind, 20)
    found = vizkit.render(
        model, unit("7", 4), parametrisation=KINDS[kind], transforms=VIEWS[views], optimise=which, steps=steps
    )
    assert found.trace.shape == (steps, 1)
    assert found.evidence.activation[0] > 1.3 * found.evidence.start[0] + 0.1
    assert found.trace[-5:].mean() > found.trace[:5].mean()
    assert not found.evidence.failed[0]


@pytest.mark.parametrize(("kind", "views", "which"), RUNS)
def test_it_can_fit_an_image(model: Any, kind: str, views: str, which: str) -> None:
    """A smooth picture; for phases, which cannot make every picture, one that other phases make."""
    ops, shape = model.ops, KINDS[kind]
    y, x = np.mgrid[0:16, 0:16] / 15
    wanted = 0.5 + 0.3 * np.sin(3 * y) * np.cos(4 * x) * np.array([1.0, 0.9, 0.8])[:, None, None]
    if kind == "phase":
        moved = shape.start(np.random.default_rng(0), 1)["phase"] + np.random.default_rng(7).normal(0, 1, (3, 1, 16, 9))
        wanted = ops.numpy(shape.pictures(ops, {"phase": ops.asarray(moved)}))[0]
    lr = FINE.get(kind, 0.003) if which == "ascent" else 0.1
    found = vizkit.render(
        model, Like(wanted), parametrisation=shape, transforms=VIEWS[views], optimise=which, lr=lr, steps=70
    )
    error = ((found.values[0] - wanted) ** 2).mean()
    np.testing.assert_allclose(-found.evidence.activation[0], error, rtol=1e-9)
    assert error < (0.12 if which == "ascent" else 0.005) * -found.trace[0, 0]


def step_by_step(model: Any, shape: Parametrisation, which: str, layer: str, steps: int, count: int = 2) -> Any:
    """The leaves after each step."""
    moving = optimiser(which, model.ops, 0.02)
    ascent = Ascent(model, unit(layer, list(range(count))) - 0.1 * total_variation(), STANDARD, moving, 5)
    loop = ascent.begin(shape, count)
    for _ in range(steps):
        ascent.step(loop, rescued=loop.step < 3)
        yield {name: model.ops.numpy(leaf) for name, leaf in loop.leaves.items()}


def relative(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@both()
@pytest.mark.parametrize(
    ("kind", "which", "tolerance"),
    [*((kind, "ascent", 1e-8) for kind in KINDS), ("laplacian", "adam", 1e-6), ("fourier", "nadam", 1e-6)],
)
def test_backends_take_the_same_steps(kind: str, which: str, tolerance: float) -> None:
    """Ascent moves by the gradient itself; Adam divides by its size, which magnifies the rounding of small ones."""
    runs = [step_by_step(make(name), KINDS[kind], which, "5", 5) for name in INSTALLED[:2]]
    for first, second in zip(*runs, strict=True):
        assert max(relative(first[key], second[key]) for key in first) < tolerance


@both()
def test_backends_agree_on_squeezenet() -> None:
    shape = Fourier(40)
    models = [vizkit.load("squeezenet1_0", backend=one, weights="random:7", dtype="float64") for one in INSTALLED[:2]]
    (first,), (second,) = (list(step_by_step(one, shape, "ascent", "features.5", 1)) for one in models)
    start = shape.start(np.random.default_rng(5), 2)
    assert max(relative(first[key] - start[key], second[key] - start[key]) for key in first) < 1e-8


def test_a_unit_alone_is_what_it_is_in_a_batch(model: Any) -> None:
    whole = vizkit.render(model, unit("5", [3, 0, 6]), parametrisation=Fourier(16), steps=8)
    for k, index in enumerate((3, 0, 6)):
        alone = vizkit.render(model, unit("5", index), parametrisation=Fourier(16), steps=8)
        np.testing.assert_allclose(whole.values[k], alone.values[0], atol=1e-10)
        np.testing.assert_allclose(whole.trace[:, k], alone.trace[:, 0], atol=1e-10)


def test_facets_start_apart_and_diversity_drives_them_further(model: Any) -> None:
    """Pictures that started alike would stay alike whatever their diversity counts."""

    def spread(objective: Objective) -> Any:
        found = vizkit.render(model, objective, parametrisation=Fourier(16), transforms=(), count=3, steps=20)
        return found, found.values.std(axis=0).mean()

    same, little = spread(unit("5", 3))
    alone = vizkit.render(model, unit("5", 3), parametrisation=Fourier(16), transforms=(), steps=20)
    np.testing.assert_allclose(same.values[0], alone.values[0], atol=1e-10)
    _, much = spread(unit("5", 3) + 20 * diversity("2"))
    assert 0 < little < 0.8 * much


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_seed_gives_the_same_bits(name: str, dtype: str) -> None:
    runs = [
        vizkit.render(make(name, dtype), unit("5", [1, 2]), parametrisation=Fourier(16), steps=6, seed=seed)
        for seed in (4, 4, 5)
    ]
    np.testing.assert_array_equal(runs[0].values, runs[1].values)
    np.testing.assert_array_equal(runs[0].trace, runs[1].trace)
    assert np.abs(runs[0].values - runs[2].values).max() > 0.01
    assert runs[0].values.dtype == dtype


@dataclass(frozen=True)
class Noted(Transform):
    """Keeps what it draws and is given, and what lies behind a transparent picture of which nothing is to be seen."""

    numbers = 2
    kept: list[Any]

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        return tuple(float(one) for one in rng.integers(0, 100, 2))

    def __call__(self, ops: Any, x: Any, drawn: Any) -> Any:
        self.kept.append((ops.numpy(ops.detach(drawn)), ops.numpy(ops.detach(x))))
        return x


def test_what_a_step_draws_depends_on_the_seed_and_its_number_alone(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On no other step, and not on how many steps' numbers are brought to the device at once."""
    noted = Noted([])
    views = (Jitter(3), noted, Noise(0.01), ColourJitter(), Crop())
    shape, found = Pixels(16, alpha=True), []
    for every, seed in ((64, 6), (3, 6), (64, 7)):
        monkeypatch.setattr(_checkpoint, "EVERY", every)
        noted.kept.clear()
        found.append(
            vizkit.render(model, unit("5", 1), parametrisation=shape, transforms=views, steps=8, seed=seed, rescue=0)
        )
        assert len(noted.kept) == 8
        for step, (given, _) in enumerate(noted.kept):
            rng = np.random.default_rng([seed, step, 1])
            Jitter(3).draw(rng)
            np.testing.assert_array_equal(given[0], noted.draw(rng))
            assert sum(one.numbers for one in views) == len(draw(views, np.random.default_rng(0)))
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].alpha, found[1].alpha)
    assert np.abs(found[0].values - found[2].values).max() > 0.01


@pytest.mark.quick
def test_a_transparent_picture_lies_over_other_colours_at_each_step(model: Any) -> None:
    """Smooth fields, drawn after what the transforms draw, the same for every picture."""
    noted, shape = Noted([]), Pixels(16, alpha=True)
    moving = optimiser("adam", model.ops, 1e-6)
    ascent = Ascent(model, unit("2", [1, 2]) - 0.1 * alpha_sum(), (noted,), moving, 3)
    loop = ascent.begin(shape, 2)
    loop.state["leaf:alpha"] = loop.leaves["alpha"] * 0.0 - 40.0
    for step in range(3):
        ascent.step(loop, rescued=False)
        rng = np.random.default_rng([3, step, 1])
        given = noted.draw(rng)
        fields = rng.random((3, 8, 8))
        matrix = vizkit.backend.bilinear_matrix(8, 16)
        np.testing.assert_array_equal(noted.kept[step][0][0], given)
        for shown in noted.kept[step][1]:
            np.testing.assert_allclose(shown, matrix @ fields @ matrix.T, atol=1e-12)


class Stop(KeyboardInterrupt):
    """As a user would at the keyboard."""


@pytest.mark.parametrize(("which", "stop"), [("ascent", 10), ("adam", 20), ("nadam", 10)])
def test_a_stopped_run_goes_on_bit_for_bit(
    name: str, which: str, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checkpoint, "EVERY", 8)
    settings: dict[str, Any] = {
        "parametrisation": Fourier(alpha=True), "sizes": (8, 12, 16), "steps": 22, "every": 5, "optimise": which,
    }  # fmt: skip
    model, objective, file = make(name, "float32"), unit("5", [1, 2]), tmp_path / "state.npz"
    whole = vizkit.render(model, objective, **settings)

    def interrupt(step: int, _pictures: Any) -> None:
        if step >= stop:
            raise Stop

    with pytest.raises(Stop):
        vizkit.render(model, objective, **settings, on_frame=interrupt, checkpoint=file)
    with np.load(file) as stored:
        names = set(stored.files)
    leaves = {"spectrum", "alpha"}
    parts = {"first", "second", "first_of_ones", "second_of_ones"} if which != "ascent" else set()
    states = {f"state:{leaf}:{part}" for leaf in leaves for part in parts}
    assert {one for one in names if not one.startswith("frame:")} == {
        "known", "trace", *(f"leaf:{one}" for one in leaves), *states,
    }  # fmt: skip
    again: list[int] = []
    resumed = vizkit.render(
        make(name, "float32"), objective, **settings, checkpoint=file, on_frame=lambda step, _: again.append(step)
    )
    assert min(again) > 8  # earlier steps were not taken again
    np.testing.assert_array_equal(resumed.values, whole.values)
    np.testing.assert_array_equal(resumed.alpha, whole.alpha)
    np.testing.assert_array_equal(resumed.trace, whole.trace)
    assert [step for step, _ in resumed.frames] == [step for step, _ in whole.frames] == [5, 10, 15, 20, 22]
    for (_, a), (_, b) in zip(resumed.frames, whole.frames, strict=True):
        np.testing.assert_array_equal(a, b)
    again.clear()
    finished = vizkit.render(model, objective, **settings, checkpoint=file, on_frame=lambda step, _: again.append(step))
    assert again == []
    np.testing.assert_array_equal(finished.values, whole.values)
    np.testing.assert_array_equal(finished.evidence.start, whole.evidence.start)


def test_a_foreign_or_broken_checkpoint_is_refused(model: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    file, photos = tmp_path / "state.npz", rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)

    def run(objective: Objective = content("2", photos[0]), **changed: Any) -> Any:  # noqa: B008
        settings = {"parametrisation": Phase(16), "steps": 2, "checkpoint": file} | changed
        return vizkit.render(model, objective, **settings)

    run()
    spectrum = np.ones((3, 8, 5))
    foreign: list[dict[str, Any]] = [
        {"steps": 3}, {"seed": 1}, {"objective": content("2", photos[1])}, {"lr": 0.2}, {"transforms": (Jitter(2),)},
        {"parametrisation": Phase(16, spectrum=spectrum)},
    ]  # fmt: skip
    for changed in foreign:
        with pytest.raises(SettingError, match="other settings"):
            run(**changed)
    means = model.spec.mean
    prepared = {"spec": replace(model.spec, mean=tuple(one / 2 for one in means))}
    for attribute, changed in (*prepared.items(), ("file_sha256", "of another file")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model, attribute, changed)
            with pytest.raises(SettingError, match="other settings"):
                run()
    whole = file.read_bytes()
    for broken in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-30]):
        file.write_bytes(broken)
        with pytest.raises(SettingError, match="no checkpoint of a rendering"):
            run()
    np.savez(file, other=np.ones(3))
    with pytest.raises(SettingError, match="no checkpoint of a rendering"):
        run()
    with pytest.raises(SettingError, match=r"end in \.npz"):
        run(checkpoint=tmp_path / "state.pkl")
    with pytest.raises(SettingError, match="folder that exists"):
        run(checkpoint=tmp_path / "nowhere" / "state.npz")


KEPT = {"pixels": 0.15, "laplacian": 0.5, "fourier": 0.4, "phase": 0.3}


@pytest.mark.parametrize(
    ("kind", "which"), [("pixels", "nadam"), ("laplacian", "adam"), ("fourier", "ascent"), ("phase", "adam")]
)
def test_growing_does_not_fall_back(model: Any, kind: str, which: str) -> None:
    """Leaves and running means are carried over: the first step at a new size is not as the noise was. Patterns of
    single pixels are blurred by it, those of low frequencies less."""
    found = vizkit.render(
        model, unit("7", 3), parametrisation=KINDS[kind], transforms=(), sizes=(12, (16, 20)), steps=40, optimise=which
    )
    assert found.values.shape == (1, 3, 16, 20)
    start, before, after, last = found.trace[[0, 19, 20, -1], 0]
    assert after - start > KEPT[kind] * (before - start)
    assert last > 0.9 * before


@dataclass(frozen=True, eq=False)
class Spoilt(Like):
    """Not a number from the given call on."""

    calls: list[int]
    at: int

    def value(self, seen: Seen) -> Any:
        self.calls.append(1)
        return super().value(seen) * (float("nan") if len(self.calls) >= self.at else 1.0)


def test_a_value_that_is_no_number_stops_it(model: Any) -> None:
    wanted = np.full((3, 16, 16), 0.9)
    good = vizkit.render(model, Like(wanted), parametrisation=Pixels(16), steps=3)
    with pytest.raises(DivergedError, match=r"step 4 .* Lower lr") as caught:
        vizkit.render(model, Spoilt(wanted, [], 4), parametrisation=Pixels(16), steps=9, rescue=0)
    np.testing.assert_array_equal(caught.value.last_good, good.values)


def test_alpha_hides_what_the_objective_does_not_need(model: Any) -> None:
    found = vizkit.render(
        model, Like(np.full((3, 16, 16), 0.9)) - 5 * alpha_sum(), parametrisation=Pixels(16, alpha=True), steps=60
    )
    assert found.alpha is not None
    assert found.alpha.max() < 0.2
    shown = found.values * found.alpha + 1 - found.alpha
    np.testing.assert_array_equal(found.pictures(), vizkit.images.picture(shown))
    kept = vizkit.render(model, unit("5", 3), parametrisation=Fourier(16, alpha=True), steps=8)
    assert kept.alpha is not None
    assert kept.alpha.mean() > found.alpha.mean()


def test_a_dense_layer_is_shown_the_networks_own_size(model: Any) -> None:
    found = vizkit.render(model, logit([1, 3]), parametrisation=Fourier((20, 24)), transforms=(), steps=20)
    assert found.values.shape == (2, 3, 20, 24)
    assert (found.evidence.activation > found.evidence.start + 1).all()
    x = model.ops.asarray(vizkit.images.normalise(found.values, model.spec))
    logits = model.ops.numpy(model.forward(Resize(16)(model.ops, x, None))["output"])
    np.testing.assert_allclose(found.evidence.activation, logits[[0, 1], [1, 3]], rtol=1e-9)


def test_a_result_can_be_kept_and_drawn(model: Any, tmp_path: Path) -> None:
    found = vizkit.render(model, unit("5", [1, 2]), parametrisation=Fourier(16), steps=2, titles=("one", "two"))
    with np.load(found.save(tmp_path / "a.npz")) as kept:
        np.testing.assert_array_equal(kept["values"], found.values)
        np.testing.assert_array_equal(kept["activation"], found.evidence.activation)
    made = vizkit.results.read_provenance(found.save(tmp_path / "a.png"))
    assert (made["technique"], made["settings"]["steps"]) == ("render", 2)
    assert [axis.get_title() for axis in found.figure().axes] == ["one", "two"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"steps": 0}, SettingError, "at least one step"),
        ({"lr": 0.0}, SettingError, "positive learning rate"),
        ({"every": 0}, SettingError, "every=0"),
        ({"on_frame": print}, SettingError, "without every="),
        ({"optimise": "sgd"}, UnknownNameError, "Unknown optimiser 'sgd'"),
        ({"count": 0}, SettingError, "count=0"),
        ({"objective": unit("nothing", 1)}, UnknownNameError, "nothing"),
        ({"objective": unit("5", 8)}, SettingError, "units 0 to 7"),
        ({"parametrisation": Fourier(16, channels=1)}, SettingError, "takes 3 channels"),
        ({"sizes": (8, 12, 16), "steps": 2}, SettingError, "grow through 3 sizes"),
    ],
)
def test_errors(model: Any, changed: dict[str, Any], error: type[Exception], message: str) -> None:
    settings = {"objective": unit("5", 1), "parametrisation": Fourier(16), "steps": 1} | changed
    with pytest.raises(error, match=message):
        vizkit.render(model, **settings)


@pytest.mark.quick
def test_sides() -> None:
    assert (sides(5), sides((2, 3))) == ((5, 5), (2, 3))
