"""One step of a rendering: transforms, the objective and its gradient, and what the optimiser makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from ...contract.backend import INFERENCE, Array, Mode, Model, Ops, Step, Tensor
from ...contract.errors import DivergedError, SettingError
from ..common.relu import relu_mode
from . import checkpoint as checkpoints
from .checkpoint import LEAF, STATE, Loop, leaves_of
from .objectives import Objective, Seen
from .optimise import Optimiser
from .parametrisations import Parametrisation
from .trace import Trace
from .transforms import Transform, compose, draw

DRAWN, VALUE, SIZE = "drawn", "value", "size"
"""Names of what a step is given and gives beside the loop's state."""
RESCUE = 16
"""Steps at most for which a picture whose gradient is zero everywhere gets the redirected one."""
BACKGROUND = 8
"""Side, in random gray fields, of what lies behind a transparent picture."""


class Ascent:
    """The steps of a rendering."""

    def __init__(
        self, model: Model, objective: Objective, views: Sequence[Transform], moving: Optimiser, seed: int
    ) -> None:
        self.model = model
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

    def begin(self, shape: Parametrisation, count: int) -> Loop:
        """Where pictures are told apart by their objective they start alike, so that each is what it would be alone;
        otherwise they must differ at the start, or would be one picture several times."""
        model, moving, seed, differ = self.model, self._moving, self._seed, self._objective.items() == 1
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

        state: dict[str, Tensor] = {}
        for name, leaf in leaves.items():
            state |= _packed(name, leaf, moving.start(leaf))
        loop = Loop(shape, state, Trace(model.ops, diverged))  # known to the error above
        return loop

    def grow(self, loop: Loop, shape: Parametrisation) -> None:
        """Take the leaves, and what the optimiser remembers, to the next size."""
        if shape.sides == loop.parametrisation.sides:
            return
        loop.trace.read()
        ops, old = self.model.ops, loop.parametrisation
        moments = [(STATE, f":{one}", old.grow_moment) for one in self._moving.moments]
        for begin, end, grow in [(LEAF, "", old.grow), *moments]:
            kept = {name: ops.numpy(loop.state[begin + name + end]).astype(np.float64) for name in loop.leaves}
            loop.state |= {begin + name + end: ops.asarray(one) for name, one in grow(kept, shape.sides).items()}
        loop.parametrisation = shape

    def step(self, loop: Loop, rescued: bool) -> None:
        """One step; ``rescued``: a picture without a gradient gets the redirected one."""
        if self._shape != loop.parametrisation:
            self._shape = loop.parametrisation
            self._recorded, self._alive, self._revived = map(
                self.model.recorded, (self._advanced, self._sizes, self._redirected)
            )
        given = loop.state | {DRAWN: self._drawn(loop)}
        made = self._recorded(given)
        if rescued and self._objective.layers():
            size = (self._alive(given) if self._judged != self._objective else made)[SIZE]
            if (self.model.ops.numpy(size) == 0).any():
                made = self._revived(given)
        loop.trace.add(loop.leaves, made[VALUE])
        loop.state = {name: made[name] for name in loop.state}
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
            loop.rows = block, self.model.ops.asarray(rows)
        return loop.rows[1][at : at + 1]

    def _gradient(
        self, given: dict[str, Tensor], objective: Objective, mode: Mode = INFERENCE
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The objective's gradient at the leaves, and its value (N,)."""
        model, ops, shape = self.model, self.model.ops, self._shape
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

        _, gradients, value = ops.value_and_grad(score, leaves_of(given))
        return gradients, value

    def _advanced(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        gradients, value = self._gradient(given, self._objective)
        return self._moved(given, gradients) | {VALUE: value, SIZE: self._size(gradients)}

    def _sizes(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the part of the objective that is no penalty: whose gradient is no sign of life."""
        return {SIZE: self._size(self._gradient(given, self._judged)[0])}

    def _size(self, gradients: dict[str, Tensor]) -> Tensor:
        """(N,): the largest that a leaf of each picture has."""
        ops = self.model.ops
        each = (ops.max(ops.abs(one), tuple(range(1, len(one.shape)))) for one in gradients.values())
        return reduce(ops.maximum, each)

    def _redirected(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The step with the redirected gradient for pictures whose own is zero."""
        ops = self.model.ops
        gradients, value = self._gradient(given, self._objective)
        size = self._sizes(given)[SIZE] if self._judged != self._objective else self._size(gradients)
        others, _ = self._gradient(given, self._objective, relu_mode("redirected"))
        for name, one in gradients.items():
            alive = ops.reshape(size, (-1, *(1,) * (len(one.shape) - 1))) + 0.0 * one
            gradients[name] = ops.where(alive, one, others[name])
        return self._moved(given, gradients) | {VALUE: value}

    def _moved(self, given: dict[str, Tensor], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        moved: dict[str, Tensor] = {}
        for name, leaf in leaves_of(given).items():
            own = f"{STATE}{name}:"
            state = {key.removeprefix(own): one for key, one in given.items() if key.startswith(own)}
            moved |= _packed(name, *self._moving.step(leaf, -1.0 * gradients[name], state))
        return moved


def _packed(name: str, leaf: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {LEAF + name: leaf} | {f"{STATE}{name}:{part}": one for part, one in state.items()}


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
