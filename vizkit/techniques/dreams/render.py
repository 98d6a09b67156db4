"""Feature visualisation: an objective, a parametrisation and transforms, and the loop that brings them together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...contract.backend import Array, Model
from ...inputs.images import ImageInput
from ...results.dreams import Rendering
from ...results.files import provenance
from ..common.checks import pictures_only
from .ascent import RESCUE, Ascent
from .checkpoint import Checkpoint
from .climbing import check, composite, flat, key_of, run, shown, through
from .evidence import gather
from .objectives import Objective
from .optimise import optimiser
from .parametrisations import Parametrisation
from .transforms import STANDARD, Resize, Transform


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
    check(model, objective, steps, lr, every, on_frame)
    grown = through(model, parametrisation, sizes, steps)
    seen_as = input_size or (model.spec.size if flat(model, objective, grown[0].sides) else None)
    views = (*transforms, *([Resize(seen_as)] if seen_as else []))
    number = objective.items() if count is None else count
    settings = {
        "objective": repr(objective), "parametrisation": repr(grown[-1]), "transforms": list(map(repr, transforms)),
        "optimiser": optimise, "lr": lr, "steps": steps, "sizes": [one.sides for one in grown], "count": number,
        "input_size": seen_as, "seed": seed, "rescue": rescue,
    }  # fmt: skip
    made = provenance(model, "render", settings)
    file = None if checkpoint is None else Checkpoint(Path(checkpoint), key_of(made))
    ascent = Ascent(model, objective, views, optimiser(optimise, model.ops, lr), seed)
    loop = ascent.begin(grown[0], number)
    start = composite(*shown(model, loop))
    run(loop, ascent, grown, steps=steps, rescue=rescue, every=every, on_frame=on_frame, file=file)
    values, alpha = shown(model, loop)
    resized = Resize(seen_as) if seen_as else None
    evidence = gather(model, objective, composite(values, alpha), start, resized, images)
    return Rendering(values, made, np.concatenate(loop.trace.rows), evidence, alpha, tuple(loop.frames), tuple(titles))
