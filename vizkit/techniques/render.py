"""Feature visualisation: an objective, a parametrisation and transforms, and the loop that brings them together."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import images as pixels
from ..backend import INFERENCE, OUTPUT, Array, Mode, Model, Ops, Step, Tensor
from ..errors import DivergedError, SettingError
from ..objectives import Objective, Seen
from ..optimise import Optimiser, State, optimiser
from ..parametrisations import Fourier, Leaves, Parametrisation
from ..progress import steps_bar
from ..results import Result, provenance
from ..transforms import STANDARD, Resize, Transform, compose, draw
from . import _checkpoint as checkpoints
from ._checks import pictures_only
from ._evidence import Evidence, gather
from ._trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..images import ImageInput

RESCUE = 16
"""Steps at most for which a picture whose gradient is zero everywhere gets the redirected one."""
BACKGROUND = 8
"""Side, in random gray fields, of what lies behind a transparent picture."""

Frame = tuple[int, Array]


@dataclass(frozen=True, repr=False)
class Rendering(Result):
    """``values`` (N, C, H, W) in 0..1; ``alpha`` (N, 1, H, W) or None. ``trace`` (steps, N) is the objective at every
    step, as the transforms showed the picture. ``evidence`` says what the pictures are worth. ``frames`` are (step,
    uint8 pictures (N, h, w, 3)), as many as were asked for. ``titles`` name the pictures."""

    trace: Array
    evidence: Evidence
    alpha: Array | None = None
    frames: tuple[Frame, ...] = ()
    titles: tuple[str, ...] = field(default=())

    def arrays(self) -> dict[str, Array]:
        found = {"values": self.values, "trace": self.trace, **self.evidence.arrays()}
        return found if self.alpha is None else found | {"alpha": self.alpha}

    def records(self) -> list[dict[str, Any]]:
        """A row a picture: its title, and what it is worth."""
        columns = {name: one.tolist() for name, one in self.evidence.arrays().items()}
        titles = self.titles or [str(k) for k in range(len(self))]
        return [{"picture": t} | {name: one[k] for name, one in columns.items()} for k, t in enumerate(titles)]

    def comparable(self) -> tuple[str, Array]:
        """The activation reached: the pixels of a chaotic loop part from the first rounding on."""
        return "activation reached", self.evidence.activation

    def pictures(self) -> Array:
        """uint8 (N, H, W, 3), for the eye; transparent ones on white."""
        shown = self.values if self.alpha is None else self.values * self.alpha + (1.0 - self.alpha)
        return pixels.picture(shown)

    def figure(self) -> Figure:
        """The pictures with what each reached."""
        from .. import plotting

        return plotting.rendering([self])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As every result; and ``.gif`` or ``.mp4`` of the frames, which ``every`` must have asked for."""
        target = Path(path)
        if target.suffix not in (".gif", ".mp4"):
            return super().save(target)
        from ..animation import write

        return write([frame for _, frame in self.frames], target, self.provenance)


@dataclass
class Loop:
    """What changes from step to step: ``states`` are what the optimiser remembers of each leaf, ``rows`` the numbers
    that the steps of one block draw, with the number of the block."""

    parametrisation: Parametrisation
    leaves: dict[str, Tensor]
    states: dict[str, State]
    trace: Trace
    step: int = 0
    frames: list[Frame] = field(default_factory=list)
    rows: tuple[int, Tensor] | None = None


def render(
    model: Model,
    objective: Objective,
    *,
    parametrisation: Parametrisation | None = None,
    transforms: Sequence[Transform] = STANDARD,
    optimise: str = "adam",
    lr: float = 0.05,
    steps: int = 512,
    sizes: Sequence[int | tuple[int, int]] = (),
    count: int | None = None,
    input_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    rescue: int = RESCUE,
    every: int | None = None,
    on_frame: Callable[[int, Array], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    images: ImageInput | None = None,
    titles: Sequence[str] = (),
) -> Rendering:
    """A picture, or a batch of them, that raises an objective (Olah et al. 2017, "Feature Visualization").

    Every step draws the transforms, differentiates ``objective`` with respect to the leaves of ``parametrisation``, and
    moves them by the optimiser.

    Args:
        model: a network.
        objective: see :mod:`vizkit.objectives` and :mod:`vizkit.regularisers`.
        parametrisation: see :mod:`vizkit.parametrisations`; None is ``Fourier(128)`` with the network's channels.
        transforms: see :mod:`vizkit.transforms`; ``()`` shows the network the picture as it is.
        optimise: "adam", "nadam" or "ascent" (normalised gradient ascent).
        lr: its learning rate.
        steps: how many in all.
        sizes: sizes to grow through, the last being the final one; the leaves are resized in between, and the
            optimiser's running means with them. ``()`` keeps the parametrisation's size.
        count: pictures in the batch; None is as many as the objective distinguishes. Where it treats all alike, each
            starts from noise of its own.
        input_size: what transformed pictures are resized to for the network; None leaves them as they are, or takes the
            network's own input size where a layer after its flattening is asked for.
        seed: of the noise it starts from, and of the transforms.
        rescue: steps for which a picture whose gradient, penalties aside, is zero everywhere is differentiated again
            with ReLUs that let a gradient pass where it would raise their input.
        every: keep a frame, and call ``on_frame(step, uint8 pictures)``, after every so many steps.
        checkpoint: an ``.npz`` that is written every 64 steps, and from which the same call goes on.
        images: real pictures; each rendering's activation is placed among theirs.
        titles: names of the pictures.

    Returns:
        :class:`Rendering` with ``values`` (N, C, H, W) in 0..1.

    Raises:
        SettingError, UnknownNameError or ShapeError for the parts; DivergedError, whose ``last_good`` is the last
        finite picture, at a value that is not finite.

    Example:
        >>> import vizkit
        >>> from vizkit.objectives import unit
        >>> model = vizkit.load("shapes")
        >>> vizkit.render(model, unit("features.9", [3, 5]), steps=2).values.shape
        (2, 3, 128, 128)
    """
    pictures_only(model, "render")
    if steps < 1 or lr <= 0:
        raise SettingError(f"steps={steps}, lr={lr}: expected at least one step and a positive learning rate.")
    if every is not None and every < 1:
        raise SettingError(f"every={every}: expected at least 1, or None for no frames.")
    if on_frame is not None and every is None:
        raise SettingError("on_frame is given without every=; say after how many steps it is to be called.")
    for name in objective.layers():
        model.check_layer(name)
    shape = parametrisation or Fourier(channels=model.spec.channels)
    if shape.channels != model.spec.channels:
        raise SettingError(f"{model.name} takes {model.spec.channels} channels; {shape!r} makes {shape.channels}.")
    grown = [shape.resized(size) for size in sizes] or [shape]
    seen_as = input_size or (model.spec.size if _flat(model, objective) else None)
    views = (*transforms, *([Resize(seen_as)] if seen_as else []))
    number = objective.items() if count is None else count
    if steps < len(grown):
        raise SettingError(f"steps={steps} are too few to grow through {len(grown)} sizes; take at least one for each.")
    settings = {
        "objective": repr(objective), "parametrisation": repr(grown[-1]), "transforms": list(map(repr, transforms)),
        "optimiser": optimise, "lr": lr, "steps": steps, "sizes": [one.sides for one in grown], "count": number,
        "input_size": seen_as, "seed": seed, "rescue": rescue,
    }  # fmt: skip
    made = provenance(model, "render", settings)
    moving = optimiser(optimise, model.ops, lr)
    loop = _begin(model, grown[0], moving, seed, number, objective.items() == 1)
    ascent = Ascent(model, objective, views, moving, seed)
    start = _composite(*_shown(model, loop))
    file = None if checkpoint is None else checkpoints.Checkpoint(Path(checkpoint), _key(made))
    if file is not None:
        file.load(loop, model.ops)
    with steps_bar("render", steps) as advance:
        while loop.step < steps:
            stop = min(n * (loop.step // n + 1) for n in (checkpoints.EVERY, every or checkpoints.EVERY))
            with model.held():
                while loop.step < min(stop, steps):
                    _grow(loop, model, moving, grown[loop.step * len(grown) // steps])
                    ascent.step(loop, rescued=loop.step < rescue)
                    reached = f", objective {loop.trace.rows[-1].mean():.3g}" if loop.trace.rows else ""
                    advance(loop.step, f"{loop.parametrisation.sides[1]} px{reached}")
            if every is not None and (loop.step % every == 0 or loop.step == steps):
                loop.trace.read()
                loop.frames.append((loop.step, pixels.picture(_composite(*_shown(model, loop)))))
                if on_frame is not None:
                    on_frame(*loop.frames[-1])
            if file is not None and (loop.step % checkpoints.EVERY == 0 or loop.step == steps):
                loop.trace.read()
                file.save(loop, model.ops)
    loop.trace.read()
    values, alpha = _shown(model, loop)
    resized = Resize(seen_as) if seen_as else None
    evidence = gather(model, objective, _composite(values, alpha), start, resized, images)
    trace = np.concatenate(loop.trace.rows)
    return Rendering(values, made, trace, evidence, alpha, tuple(loop.frames), tuple(titles))


def _flat(model: Model, objective: Objective) -> bool:
    """Whether the objective reads a layer that only exists at the network's own input size."""
    return any(name == OUTPUT or len(model.layers[name].shape) != 4 for name in objective.layers())


def _key(made: dict[str, Any]) -> str:
    """What must be equal for a checkpoint to go on."""
    kept = {name: made[name] for name in ("model", "backend", "dtype", "weights", "settings")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _begin(model: Model, shape: Parametrisation, moving: Optimiser, seed: int, count: int, differ: bool) -> Loop:
    """Where pictures are told apart by their objective they start alike, so that each is what it would be alone;
    otherwise they must ``differ`` at the start, or would be one picture several times."""
    if count < 1:
        raise SettingError(f"count={count}: expected at least one picture.")
    start = shape.start(np.random.default_rng(seed), 1 if differ else count)
    for k in range(1, count if differ else 1):
        other = shape.start(np.random.default_rng([seed, k]), 1)
        start = {name: np.concatenate([leaf, other[name]]) for name, leaf in start.items()}
    leaves = {name: model.ops.asarray(leaf) for name, leaf in start.items()}

    def diverged(number: int, value: Array, before: dict[str, Tensor]) -> DivergedError:
        error = DivergedError(
            f"The objective became {value.tolist()} at step {number + 1} in {model.name}. Lower lr, or look at "
            "the objective's weights; the last good picture is in the error's last_good."
        )
        error.last_good = model.ops.numpy(loop.parametrisation.pictures(model.ops, before))
        return error

    states = {name: moving.start(leaf) for name, leaf in leaves.items()}
    loop = Loop(shape, leaves, states, Trace(model.ops, diverged))  # known to the error above
    return loop


def _grow(loop: Loop, model: Model, moving: Optimiser, shape: Parametrisation) -> None:
    """Take the leaves, and what the optimiser remembers, to the next size."""
    if shape.sides == loop.parametrisation.sides:
        return
    loop.trace.read()
    ops, old = model.ops, loop.parametrisation
    leaves: Leaves = {name: ops.numpy(leaf).astype(np.float64) for name, leaf in loop.leaves.items()}
    loop.leaves = {name: ops.asarray(leaf) for name, leaf in old.grow(leaves, shape.sides).items()}
    for moment in moving.moments:
        means: Leaves = {name: ops.numpy(state[moment]).astype(np.float64) for name, state in loop.states.items()}
        for name, value in old.grow_moment(means, shape.sides).items():
            loop.states[name][moment] = ops.asarray(value)
    loop.parametrisation = shape


class Ascent:
    """The steps of a rendering."""

    def __init__(
        self, model: Model, objective: Objective, views: Sequence[Transform], moving: Optimiser, seed: int
    ) -> None:
        self._model = model
        self._objective = objective
        self._views = views
        self._moving = moving
        self._seed = seed
        self._memory: dict[Any, Tensor] = {}
        judged = objective.judged()
        self._judged = judged if judged is not None and judged.layers() else objective
        self._shape: Parametrisation | None = None
        self._recorded: Step = self._advanced
        self._alive: Step = self._sizes
        self._revived: Step = self._redirected

    def step(self, loop: Loop, rescued: bool) -> None:
        """One step; ``rescued``: a picture without a gradient gets the redirected one."""
        if self._shape != loop.parametrisation:
            self._shape = loop.parametrisation
            self._recorded, self._alive, self._revived = map(
                self._model.recorded, (self._advanced, self._sizes, self._redirected)
            )
        given = _packed(loop.leaves, loop.states) | {DRAWN: self._drawn(loop)}
        made = None
        if rescued and self._objective.layers():
            dead = self._model.ops.numpy(self._alive(given)[SIZE]) == 0 if self._judged != self._objective else None
            made = self._recorded(given)
            dead = self._model.ops.numpy(made[SIZE]) == 0 if dead is None else dead
            if dead.any():
                made = self._revived(given)
        made = made or self._recorded(given)
        loop.trace.add(dict(loop.leaves), made[VALUE])
        loop.leaves, loop.states = _unpacked(made, loop)
        loop.step += 1

    def _drawn(self, loop: Loop) -> Tensor:
        """The numbers (1, K) of this step. They depend on its number alone, and are brought to the device many steps at
        a time."""
        block, at = divmod(loop.step, checkpoints.EVERY)
        if loop.rows is None or loop.rows[0] != block:
            fields = loop.parametrisation.channels * BACKGROUND**2 if loop.parametrisation.alpha else 0
            rows = []
            for number in range(block * checkpoints.EVERY, (block + 1) * checkpoints.EVERY):
                rng = np.random.default_rng([self._seed, number, 1])  # apart from those of the start
                rows.append([*draw(self._views, rng), *rng.random(fields)] or [0.0])
            loop.rows = block, self._model.ops.asarray(rows)
        return loop.rows[1][at : at + 1]

    def _gradient(
        self, given: dict[str, Tensor], objective: Objective, mode: Mode = INFERENCE
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The objective's gradient at the leaves, and its value (N,)."""
        model, ops, shape = self._model, self._model.ops, self._shape
        assert shape is not None
        numbers = sum(view.numbers for view in self._views)

        def score(leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            picture, alpha = shape.pictures(ops, leaves), shape.opacity(ops, leaves)
            shown = picture if alpha is None else _over(ops, picture, alpha, given[DRAWN][:, numbers:])
            x = _normalised(model, compose(self._views, ops, shown, given[DRAWN]))
            names = objective.layers()
            kept = model.forward(x, names, mode=mode) if names else {}
            value = objective.value(Seen(model, kept, picture, alpha, x, self._memory))
            return value, value

        _, gradients, value = ops.value_and_grad(score, _leaves(given))
        return gradients, value

    def _advanced(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        gradients, value = self._gradient(given, self._objective)
        return self._moved(given, gradients) | {VALUE: value, SIZE: self._size(gradients)}

    def _sizes(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the part of the objective that is no penalty: whose gradient is no sign of life."""
        return {SIZE: self._size(self._gradient(given, self._judged)[0])}

    def _size(self, gradients: dict[str, Tensor]) -> Tensor:
        """(N,): the largest that a leaf of each picture has."""
        ops = self._model.ops
        first, *others = (ops.max(ops.abs(one), tuple(range(1, len(one.shape)))) for one in gradients.values())
        for one in others:
            first = ops.maximum(first, one)
        return first

    def _redirected(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The step with the redirected gradient for pictures whose own is zero."""
        ops = self._model.ops
        gradients, value = self._gradient(given, self._objective)
        size = self._sizes(given)[SIZE] if self._judged != self._objective else self._size(gradients)
        others, _ = self._gradient(given, self._objective, Mode(relu="redirected"))
        for name, one in gradients.items():
            alive = ops.reshape(size, (-1, *(1,) * (len(one.shape) - 1))) + 0.0 * one
            gradients[name] = ops.where(alive, one, others[name])
        return self._moved(given, gradients) | {VALUE: value}

    def _moved(self, given: dict[str, Tensor], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        leaves, states = {}, {}
        for name, leaf in _leaves(given).items():
            state = {key[2]: one for key, one in _keys(given) if key[:2] == (STATE, name)}
            leaves[name], states[name] = self._moving.step(leaf, -1.0 * gradients[name], state)
        return _packed(leaves, states)


LEAF, STATE, DRAWN, VALUE, SIZE = "leaf", "state", "drawn", "value", "size"
"""Names of what a step is given and gives; a leaf is "leaf:NAME", a part of an optimiser's state "state:NAME:PART"."""


def _packed(leaves: dict[str, Tensor], states: dict[str, State]) -> dict[str, Tensor]:
    packed = {f"{LEAF}:{name}": leaf for name, leaf in leaves.items()}
    return packed | {f"{STATE}:{name}:{key}": one for name, state in states.items() for key, one in state.items()}


def _keys(given: dict[str, Tensor]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    return ((tuple(name.split(":")), one) for name, one in given.items())


def _leaves(given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[1]: one for key, one in _keys(given) if key[0] == LEAF}


def _unpacked(made: dict[str, Tensor], loop: Loop) -> tuple[dict[str, Tensor], dict[str, State]]:
    states = {name: {key: made[f"{STATE}:{name}:{key}"] for key in state} for name, state in loop.states.items()}
    return _leaves(made), states


def _normalised(model: Model, x: Tensor) -> Tensor:
    """0..1 to what the network expects. Constants of full size: MXNet takes long to differentiate broadcasting."""
    ops, shape = model.ops, tuple(int(side) for side in x.shape)
    less = ops.constant(_filled, model.spec.mean, shape)
    return (x - less) * ops.constant(_filled, tuple(1.0 / one for one in model.spec.std), shape)


def _filled(values: tuple[float, ...], shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(np.reshape(values, (1, -1, 1, 1)), shape)


def _over(ops: Ops, picture: Tensor, alpha: Tensor, drawn: Tensor) -> Tensor:
    """A transparent picture over random smooth colours, others at each step."""
    fields = ops.reshape(drawn, (1, picture.shape[1], BACKGROUND, BACKGROUND))
    behind = ops.concat([ops.resize(fields, tuple(picture.shape[2:]))] * len(picture))
    return picture * alpha + behind * (1.0 - alpha)


def _shown(model: Model, loop: Loop) -> tuple[Array, Array | None]:
    """The pictures now, and their opacity."""
    ops, shape = model.ops, loop.parametrisation
    alpha = shape.opacity(ops, loop.leaves)
    return ops.numpy(shape.pictures(ops, loop.leaves)), None if alpha is None else ops.numpy(alpha)


def _composite(values: Array, alpha: Array | None) -> Array:
    return values if alpha is None else values * alpha + (1.0 - alpha)
