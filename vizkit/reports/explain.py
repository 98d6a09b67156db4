"""Many methods, targets and models on the same pictures, in one figure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import techniques
from ..contract.backend import Array, Model
from ..contract.errors import SettingError, check_known, one_of
from ..inputs.images import ImageInput
from ..inputs.targets import Score, Target, Wanted
from ..results.attribution import Attribution
from ..results.explanation import Explanation
from ..results.files import command
from ..results.overlay import COLOURS
from ..support.crew import crew
from ..support.progress import steps_bar
from ..techniques.common.checks import pictures_only
from ..techniques.controls import CONTROLS
from ..techniques.transformers.matrices import attends

SCALES = ("each", "common")
Method = str | tuple[str, Mapping[str, Any]]
NEEDS: Mapping[str, tuple[Callable[[Model], bool], str]] = {
    "needs_relu": (lambda model: model.has_relu(), "has no ReLUs to follow their rules"),
    "needs_attention": (attends, "has no attention, or not all of it over the whole picture"),
    "needs_pictures": (lambda _: False, "would have to see several pictures; with those, give the method by its name"),
    "needs_patience": (
        lambda _: False,
        "would take thousands of passes each; with patience, give a method by its name",
    ),
}
"""Marks of methods that not every network takes: whether one does, and what is to be said of one that does not."""


def methods(models: Sequence[Model] = ()) -> dict[str, Callable[..., Attribution]]:
    """Every method that gives maps over pixels, by name: whatever :mod:`vizkit.techniques` exports that returns an
    :class:`Attribution`, without those that need ReLUs, or attention, where one of ``models`` has none, and without
    the :func:`controls`. For ``models`` also without those that need several pictures, or
    patience."""
    every = ((name, getattr(techniques, name)) for name in techniques.__all__ if name not in CONTROLS)
    found = {name: one for name, one in every if inspect.signature(one).return_annotation == Attribution.__name__}
    for need, (has, _) in NEEDS.items():
        if not all(map(has, models)):
            found = {name: one for name, one in found.items() if not hasattr(one, need)}
    return found


def controls() -> dict[str, Callable[..., Attribution]]:
    """The maps that know nothing of the network, by name."""
    return {name: getattr(techniques, name) for name in CONTROLS}


def explain(
    models: Model | Sequence[Model],
    image: ImageInput,
    methods: Sequence[Method],
    targets: Target = None,
    *,
    layer: str | None = None,
    overlay: bool = True,
    scale: str = "each",
    cmap: str = COLOURS,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    workers: int | None = None,
    scheduler: str | None = None,
) -> Explanation:
    """Draw several methods for the same pictures, targets and models.

    Args:
        models: a network, or several with one input size, for example the same in two backends.
        image: path, Pillow image, uint8 (H, W, 3) array, or a list of them.
        methods: names of attribution methods, such as "gradcam", or (name, settings) for settings of a method's own.
        targets: None (top-1), an index, a label, "all", or a list of these: a row of the figure for each.
        layer: for the methods that look at a layer, not for those that look at the input unless they are told one, as
            ``("saliency", {"layer": ...})``; None as in :func:`vizkit.gradcam`.
        overlay: lay the maps over the picture in gray, or draw them bare.
        scale: "each" map from zero to its own end, or "common": one end for all maps of a method. Units differ from
            method to method, so there is no scale for all.
        cmap: matplotlib's colour map of maps without signs; the default is perceptually uniform. Signed maps are red
            for and blue against, centred on zero.
        seed, batch_size, input_range, fit: as the methods have them.
        workers: processes on this machine that share the work, each with its share of the processors as threads, or
            with one GPU in turn; None does it in this one. Each method, target and model is a task. In a script, the
            call belongs under ``if __name__ == "__main__":``.
        scheduler: in place of ``workers`` the address of a Dask scheduler, "tcp://10.0.0.1:8786", whose workers can
            import vizkit and read the same files (``pip install 'vizkit[dask]'``).

    Returns:
        :class:`Explanation`; ``.figure()`` is the figure, ``.save("x.png")`` writes it, ``.save("x.npz")`` the raw
        values.

    Raises:
        UnknownNameError for a method, layer or label, SettingError, and what the methods raise.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.explain(model, vizkit.images.sample(), ["saliency", "gradcam"], ["tabby", 7])
        <explanation: 2 methods of 1 pictures, 2 targets, 1 models>
    """
    one_of("scale", scale, SCALES)
    from ..draw.overlay import check_colours

    check_colours(cmap)
    every = [models] if isinstance(models, Model) else list(models)
    single = targets is None or isinstance(targets, int | str | Score)
    wanted: list[Wanted] = [targets] if single else list(targets)  # type: ignore[list-item, arg-type]
    if not (every and wanted and methods):
        raise SettingError("explain needs at least one model, one method and one target.")
    for given in methods:
        _method(given)
    for model in every:
        pictures_only(model, "explain")
    sizes = {model.spec.size for model in every}
    if len(sizes) > 1:
        raise SettingError(f"One figure needs one input size; these models take {sorted(sizes)}.")
    common = {"layer": layer, "seed": seed, "batch_size": batch_size, "input_range": input_range, "fit": fit}
    places = [(t, m, k) for t in range(len(wanted)) for m in range(len(every)) for k in range(len(methods))]
    found: dict[tuple[int, int, int], Attribution] = {}

    def tasks() -> Iterator[tuple[tuple[int, int, int], tuple[Wanted, int, Method]]]:
        for t, m, k in places:
            advance(len(found), f"{_method(methods[k])[0].__name__} in {every[m].backend}")
            yield (t, m, k), (wanted[t], m, methods[k])

    with crew(every, workers, scheduler) as team, steps_bar("explain", len(places)) as advance:
        for place, result in team.run(partial(_one, image=image, common=common), tasks()):
            found[place] = result
        advance(len(places), "")
    results = tuple(
        tuple(tuple(found[t, m, k] for k in range(len(methods))) for m in range(len(every))) for t in range(len(wanted))
    )
    values: Array = np.array([[[result.values for result in row] for row in block] for block in results])
    made = {
        "technique": "explain",
        "overlay": overlay,
        "scale": scale,
        "cmap": cmap,
        "axes": ["target", "model", "method", "image", "height", "width"],
        "results": [[[result.provenance for result in row] for row in block] for block in results],
        **command(),
    }
    return Explanation(values, made, results, overlay, scale, cmap)


def _one(
    models: Sequence[Model], task: tuple[Wanted, int, Method], *, image: ImageInput, common: Mapping[str, Any]
) -> Attribution:
    """One method for one target in one of the models."""
    target, which, method = task
    run, own = _method(method)
    known = set(inspect.signature(run).parameters) - ({"layer"} if hasattr(run, "input_first") else set())
    settings = {name: value for name, value in {**common, "target": target}.items() if name in known}
    return run(models[which], image, **{**settings, **own})


def _method(given: Method) -> tuple[Callable[..., Attribution], Mapping[str, Any]]:
    name, own = (given, {}) if isinstance(given, str) else given
    known = {**methods(), **controls()}
    check_known("method", name, known)
    return known[name], own
