"""Many methods, targets and models on the same pictures, in one figure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import techniques
from .backend import Array, Model
from .errors import SettingError, unknown
from .images import ImageInput
from .overlay import DIVERGING, PERCENTILE
from .overlay import end as end_of
from .results import Attribution, Result
from .targets import Score, Target, Wanted
from .techniques._attention import attends
from .techniques._checks import pictures_only

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = ("each", "common")
STRONGEST = 0.9
"""How much of the picture in gray the strongest places of a map hide."""
Method = str | tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, repr=False)
class Explanation(Result):
    """``results[target][model][method]`` are the :class:`Attribution` results; ``values`` (targets, models, methods, N,
    H, W) all their maps, in the model's units, never scaled."""

    results: tuple[tuple[tuple[Attribution, ...], ...], ...]
    overlay: bool
    scale: str
    cmap: str

    def arrays(self) -> dict[str, Array]:
        """``values``, ``pictures``, and each result's further arrays as "TARGET/MODEL/METHOD/NAME", by number."""
        out = {"values": self.values, "pictures": self.results[0][0][0].batch.pictures}
        for t, of_target in enumerate(self.results):
            for m, of_model in enumerate(of_target):
                for k, result in enumerate(of_model):
                    out |= {f"{t}/{m}/{k}/{name}": value for name, value in result.extra.items()}
        return out

    def figure(self) -> Figure:
        """Methods as columns, beside the picture; a row for each picture, target and model. Every map, or every column
        for ``scale="common"``, states where its colours end."""
        return _figure(self)

    def __repr__(self) -> str:
        t, m, k, n = self.values.shape[:4]
        return f"<explanation: {k} methods of {n} pictures, {t} targets, {m} models>"


NEEDS: Mapping[str, tuple[Callable[[Model], bool], str]] = {
    "needs_relu": (lambda model: model.has_relu(), "has no ReLUs to follow their rules"),
    "needs_attention": (attends, "has no attention, or not all of it over the whole picture"),
}
"""Marks of methods that not every network takes: whether one does, and what is to be said of one that does not."""


def methods(models: Sequence[Model] = ()) -> dict[str, Callable[..., Attribution]]:
    """Every method that gives maps over pixels, by name: whatever :mod:`vizkit.techniques` exports that returns an
    :class:`Attribution`, without those that need ReLUs, or attention, where one of ``models`` has none."""
    every = ((name, getattr(techniques, name)) for name in techniques.__all__)
    found = {name: one for name, one in every if inspect.signature(one).return_annotation == Attribution.__name__}
    for need, (has, _) in NEEDS.items():
        if not all(map(has, models)):
            found = {name: one for name, one in found.items() if not hasattr(one, need)}
    return found


def explain(
    models: Model | Sequence[Model],
    image: ImageInput,
    methods: Sequence[Method],
    targets: Target = None,
    *,
    layer: str | None = None,
    overlay: bool = True,
    scale: str = "each",
    cmap: str = "viridis",
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Explanation:
    """Draw several methods for the same pictures, targets and models.

    Args:
        models: a network, or several with one input size, for example the same in two backends.
        image: path, Pillow image, uint8 (H, W, 3) array, or a list of them.
        methods: names of attribution methods, such as "gradcam", or (name, settings) for settings of a method's own.
        targets: None (top-1), an index, a label, "all", or a list of these: a row of the figure for each.
        layer: for the methods that look at a layer; None as in :func:`vizkit.gradcam`.
        overlay: lay the maps over the picture in gray, or draw them bare.
        scale: "each" map from zero to its own end, or "common": one end for all maps of a method. Units differ from
            method to method, so there is no scale for all.
        cmap: matplotlib's colour map of maps without signs; the default, viridis, is safe for colour-blind eyes. Signed
            maps are red for and blue against, centred on zero.
        seed, batch_size, input_range, fit: as the methods have them.

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
    if scale not in SCALES:
        raise SettingError(f"scale={scale!r}: expected {' or '.join(map(repr, SCALES))}.")
    every = [models] if isinstance(models, Model) else list(models)
    single = targets is None or isinstance(targets, int | str | Score)
    wanted: list[Wanted] = [targets] if single else list(targets)  # type: ignore[list-item, arg-type]
    chosen = [_method(one) for one in methods]
    if not (every and wanted and chosen):
        raise SettingError("explain needs at least one model, one method and one target.")
    for model in every:
        pictures_only(model, "explain")
    sizes = {model.spec.size for model in every}
    if len(sizes) > 1:
        raise SettingError(f"One figure needs one input size; these models take {sorted(sizes)}.")
    common = {"layer": layer, "seed": seed, "batch_size": batch_size, "input_range": input_range, "fit": fit}

    def one(model: Model, target: Wanted, run: Callable[..., Attribution], own: Mapping[str, Any]) -> Attribution:
        known = inspect.signature(run).parameters
        settings = {name: value for name, value in {**common, "target": target}.items() if name in known}
        return run(model, image, **{**settings, **own})

    results = tuple(
        tuple(tuple(one(model, target, *method) for method in chosen) for model in every) for target in wanted
    )
    values: Array = np.array([[[result.values for result in row] for row in block] for block in results])
    made = {
        "technique": "explain",
        "overlay": overlay,
        "scale": scale,
        "cmap": cmap,
        "axes": ["target", "model", "method", "image", "height", "width"],
        "results": [[[result.provenance for result in row] for row in block] for block in results],
    }
    return Explanation(values, made, results, overlay, scale, cmap)


def _method(given: Method) -> tuple[Callable[..., Attribution], Mapping[str, Any]]:
    name, own = (given, {}) if isinstance(given, str) else given
    known = methods()
    if name not in known:
        raise unknown("method", name, known)
    return known[name], own


def _number(value: float) -> str:
    return f"{value:.2g}" if value else "0, blank"


def _shortened(layer: str, most: int = 28) -> str:
    """A layer's name as it fits over a column: its end tells most."""
    return layer if len(layer) <= most else "…" + layer[1 - most :]


def _figure(shown: Explanation) -> Figure:
    from . import plotting

    first = shown.results[0][0]
    pictures = first[0].batch
    rows = [(i, block) for i in range(len(pictures)) for target in shown.results for block in target]
    ends = [end_of(shown.values[:, :, k]) for k in range(len(first))]
    figure = plotting.new(1.5 + 2.05 * (1 + len(first)), 1.1 + 2.2 * len(rows))
    grid = figure.subplots(len(rows) + 1, 1 + len(first), squeeze=False, height_ratios=[1.0] * len(rows) + [0.05])
    bars = grid[-1]
    bars[0].set_axis_off()
    for r, ((i, block), axes) in enumerate(zip(rows, grid[:-1], strict=True)):
        picture = pictures.pictures[i]
        gray = picture @ np.array([0.299, 0.587, 0.114])
        one = block[0]
        plotting.panel(axes[0], picture, pictures.names[i] if r % (len(rows) // len(pictures)) == 0 else "")
        made = one.provenance
        dtype = "" if made["dtype"] == "float32" else f", {made['dtype']}"
        axes[0].set_ylabel(f"{one.labels[i]}\n{made['model']}\n{made['backend']}{dtype}", fontsize=8)
        for k, (result, axis) in enumerate(zip(block, axes[1:], strict=True)):
            end = ends[k] if shown.scale == "common" else end_of(result.values[i])
            low = -end if result.signed else 0.0
            colours = DIVERGING if result.signed else shown.cmap
            if shown.overlay:
                axis.imshow(gray, cmap="gray", vmin=0, vmax=255)
            strength = np.clip(np.abs(np.nan_to_num(result.values[i])) / (end or 1.0), 0, 1) * STRONGEST
            drawn = plotting.panel(
                axis, result.values[i], cmap=colours, vmin=low, vmax=end or 1.0,
                alpha=strength if shown.overlay else None,
            )  # fmt: skip
            if r == 0:
                where = f"\n{_shortened(result.layer)}" if result.layer else ""
                axis.set_title(f"{result.provenance['technique']}{where}", fontsize=9)
            span = f"±{_number(end)}" if result.signed else f"0 to {_number(end)}"
            if shown.scale == "each" or not end:
                axis.set_xlabel(span, fontsize=7, color=plotting.GRAY, labelpad=2)
            if r == 0:
                _bar(figure, drawn, bars[k + 1], result.signed, end, shown.scale)
    figure.suptitle(_caption(shown), fontsize=9, color=plotting.GRAY)
    return figure


def _bar(figure: Figure, drawn: Any, axes: Any, signed: bool, end: float, scale: str) -> None:
    """The colour bar under a column: numbers on a common scale, else the place of each map's end."""
    bar = figure.colorbar(drawn, cax=axes, orientation="horizontal")
    text = f"{end:.2g}" if scale == "common" else "end"
    high = end or 1.0
    bar.set_ticks([-high, 0, high] if signed else [0, high], labels=[f"−{text}", "0", text] if signed else ["0", text])
    bar.ax.tick_params(labelsize=7)
    if bar.solids is not None:
        bar.solids.set_alpha(1)


def _caption(shown: Explanation) -> str:
    scale = "each map on its own scale, its end below it" if shown.scale == "each" else "one scale for each method"
    return f"{scale}; colours end at the {PERCENTILE}th percentile of the size"
