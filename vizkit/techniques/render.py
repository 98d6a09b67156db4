"""Feature visualisation: an objective, a parametrisation and transforms, and the loop that brings them together."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import images as pixels
from ..backend import Array, Mode, Model, Tensor
from ..errors import DivergedError, SettingError
from ..model import INFERENCE, OUTPUT
from ..objectives import Objective, Seen
from ..optimise import Optimiser, optimiser
from ..parametrisations import Fourier, Leaves, Parametrisation
from ..progress import steps_bar
from ..results import Result, provenance
from ..transforms import STANDARD, Resize, Transform, compose
from . import _checkpoint as checkpoints
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

    def comparable(self) -> tuple[str, Array]:
        """The activation reached: the pixels of a chaotic loop part from the first rounding on."""
        return "activation reached", self.evidence.activation

    def pictures(self) -> Array:
        """uint8 (N, H, W, 3), for the eye; transparent ones on white."""
        shown = self.values if self.alpha is None else self.values * self.alpha + (1.0 - self.alpha)
        return pixels.picture(shown)

    def plot(self) -> Figure:
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
    """What changes from step to step."""

    parametrisation: Parametrisation
    leaves: dict[str, Tensor]
    optimisers: dict[str, Optimiser]
    rng: np.random.Generator
    trace: Trace
    step: int = 0
    frames: list[Frame] = field(default_factory=list)
    memory: dict[Any, Tensor] = field(default_factory=dict)
    normalising: tuple[tuple[int, ...], Tensor, Tensor] | None = None
    """A shape, and what is taken away and multiplied with there."""


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
    loop = _begin(model, grown[0], optimise, lr, seed, number, objective.items() == 1)
    start = _composite(*_shown(model, loop))
    file = None if checkpoint is None else checkpoints.Checkpoint(Path(checkpoint), _key(made))
    if file is not None:
        file.load(loop, model.ops)
    with steps_bar("render", steps) as advance:
        while loop.step < steps:
            stop = min(n * (loop.step // n + 1) for n in (checkpoints.EVERY, every or checkpoints.EVERY))
            with model.held():
                while loop.step < min(stop, steps):
                    _grow(loop, model, grown[loop.step * len(grown) // steps])
                    _step(loop, model, objective, views, rescue)
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


def _begin(
    model: Model, shape: Parametrisation, optimise: str, lr: float, seed: int, count: int, differ: bool = False
) -> Loop:
    """Where pictures are told apart by their objective they start alike, so that each is what it would be alone;
    otherwise they must ``differ`` at the start, or would be one picture several times."""
    if count < 1:
        raise SettingError(f"count={count}: expected at least one picture.")
    rng = np.random.default_rng(seed)
    start = shape.start(rng, 1 if differ else count)
    for k in range(1, count if differ else 1):
        other = shape.start(np.random.default_rng([seed, k]), 1)
        start = {name: np.concatenate([leaf, other[name]]) for name, leaf in start.items()}
    leaves = {name: model.ops.asarray(leaf) for name, leaf in start.items()}
    optimisers = {name: optimiser(optimise, model.ops, lr) for name in leaves}

    def diverged(number: int, value: Array, before: dict[str, Tensor]) -> DivergedError:
        error = DivergedError(
            f"The objective became {value.tolist()} at step {number + 1} in {model.name}. Lower lr, or look at "
            "the objective's weights; the last good picture is in the error's last_good."
        )
        error.last_good = model.ops.numpy(loop.parametrisation.pictures(model.ops, before))
        return error

    loop = Loop(shape, leaves, optimisers, rng, Trace(model.ops, diverged))  # known to the error above
    return loop


def _grow(loop: Loop, model: Model, shape: Parametrisation) -> None:
    """Take the leaves, and what the optimisers remember, to the next size."""
    if shape.sides == loop.parametrisation.sides:
        return
    loop.trace.read()
    ops, old = model.ops, loop.parametrisation
    leaves: Leaves = {name: ops.numpy(leaf).astype(np.float64) for name, leaf in loop.leaves.items()}
    loop.leaves = {name: ops.asarray(leaf) for name, leaf in old.grow(leaves, shape.sides).items()}
    states = {name: one.state() for name, one in loop.optimisers.items()}
    for moment in {key for state in states.values() for key in state}:
        means: Leaves = {name: ops.numpy(state[moment]).astype(np.float64) for name, state in states.items()}
        for name, value in old.grow_moment(means, shape.sides).items():
            states[name][moment] = ops.asarray(value)
    for name, one in loop.optimisers.items():
        one.restore(one.count, states[name])
    loop.parametrisation = shape


def _step(loop: Loop, model: Model, objective: Objective, views: Sequence[Transform], rescue: int) -> None:
    ops, shape = model.ops, loop.parametrisation
    state = loop.rng.bit_generator.state

    def score(raised: Objective, mode: Mode) -> Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]]:
        def of(leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            loop.rng.bit_generator.state = state
            picture, alpha = shape.pictures(ops, leaves), shape.opacity(ops, leaves)
            shown = picture if alpha is None else _over(model, picture, alpha, loop.rng)
            x = _normalised(loop, model, compose(views, ops, shown, loop.rng))
            names = raised.layers()
            kept = model.forward(x, names, mode=mode) if names else {}
            value = raised.value(Seen(model, kept, picture, alpha, x, loop.memory))
            return value, value

        return of

    _, gradients, value = ops.value_and_grad(score(objective, INFERENCE), loop.leaves)
    if loop.step < rescue and objective.layers():
        judged = objective.judged()
        alone = gradients
        if judged is not None and judged != objective and judged.layers():  # a penalty's gradient is no sign of life
            _, alone, _ = ops.value_and_grad(score(judged, INFERENCE), loop.leaves)
        dead = _dead(model, alone)
        if dead.any():
            _, others, _ = ops.value_and_grad(score(objective, Mode(relu="redirected")), loop.leaves)
            gradients = {name: _either(model, dead, others[name], one) for name, one in gradients.items()}
    loop.trace.add(dict(loop.leaves), value)
    for name, leaf in loop.leaves.items():
        loop.leaves[name] = loop.optimisers[name].step(leaf, -1.0 * gradients[name])
    loop.step += 1


def _dead(model: Model, gradients: dict[str, Tensor]) -> Array:
    """(N,): whether no leaf of a picture has a gradient."""
    ops = model.ops
    sizes = [ops.numpy(ops.max(ops.abs(one), tuple(range(1, len(one.shape))))) for one in gradients.values()]
    return np.asarray(np.max(sizes, axis=0) == 0)


def _either(model: Model, which: Array, a: Tensor, b: Tensor) -> Tensor:
    """``a`` for the pictures (N,) that ``which`` says, ``b`` for the others."""
    mask = np.broadcast_to(which.reshape(-1, *(1,) * (len(a.shape) - 1)), tuple(a.shape))
    return model.ops.where(model.ops.asarray(mask), a, b)


def _normalised(loop: Loop, model: Model, x: Tensor) -> Tensor:
    """0..1 to what the network expects. Constants of full size, since MXNet takes long to differentiate broadcasting;
    those of the last size are kept."""
    shape = tuple(x.shape)
    if loop.normalising is None or loop.normalising[0] != shape:
        mean, std = (np.reshape(one, (1, -1, 1, 1)) for one in (model.spec.mean, model.spec.std))
        less, factor = (model.ops.asarray(np.broadcast_to(one, shape)) for one in (mean, 1.0 / std))
        loop.normalising = shape, less, factor
    _, less, factor = loop.normalising
    return (x - less) * factor


def _over(model: Model, picture: Tensor, alpha: Tensor, rng: np.random.Generator) -> Tensor:
    """A transparent picture over random smooth colours, others at each step."""
    fields = rng.random((1, picture.shape[1], BACKGROUND, BACKGROUND))
    behind = model.ops.resize(model.ops.asarray(np.repeat(fields, len(picture), axis=0)), tuple(picture.shape[2:]))
    return picture * alpha + behind * (1.0 - alpha)


def _shown(model: Model, loop: Loop) -> tuple[Array, Array | None]:
    """The pictures now, and their opacity."""
    ops, shape = model.ops, loop.parametrisation
    alpha = shape.opacity(ops, loop.leaves)
    return ops.numpy(shape.pictures(ops, loop.leaves)), None if alpha is None else ops.numpy(alpha)


def _composite(values: Array, alpha: Array | None) -> Array:
    return values if alpha is None else values * alpha + (1.0 - alpha)
