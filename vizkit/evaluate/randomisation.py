"""Sanity checks: a map that stays when the network, or the class, is another one does not explain it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.backend import Array, Model
from ..contract.errors import SettingError, one_of
from ..inputs.images import ImageInput
from ..inputs.targets import Target
from ..support.progress import steps_bar
from ..techniques.common.noise import generator
from ..techniques.common.probe import Probe
from ..zoo import weights
from ._maps import Method, explain
from .statistics import SIMILARITIES

Similarity = Callable[[Array, Array], float]
ORDERS = ("cascading", "independent")


@dataclass(frozen=True)
class Randomisation:
    """``similarity`` (L, N) of each image's map to its map of the trained network, after each of these ``layers`` was
    randomised, in this order, from the output down."""

    layers: tuple[str, ...]
    similarity: Array


def parameter_randomisation(
    model: Model,
    image: ImageInput,
    method: Method,
    *,
    target: Target = None,
    layers: Sequence[str] | None = None,
    order: str = "cascading",
    similarity: str = "spearman",
    absolute: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Randomisation:
    """Model parameter randomisation (Adebayo et al. 2018, arXiv 1810.03292). Lower is better.

    Layer after layer, from the output down, loses its trained parameters for random ones, and the map is compared with
    that of the trained network. A map that hardly changes does not depend on what the network has learned.

    Args:
        model, image, target, batch_size, input_range, fit: as for :func:`vizkit.occlusion`; the target is chosen by the
            trained network. The user's network is not changed.
        method: a technique, or any ``method(model, image, target=...)`` that gives an attribution or maps (N, H, W).
        layers: layers with parameters, in the order in which they are randomised; None takes all, the last first.
        order: "cascading" (layers stay randomised) or "independent" (one layer at a time).
        similarity: "spearman" or "pearson" correlation over pixels; 0 where a map is constant.
        absolute: compare absolute values, as the paper does beside the signed ones.
        seed: of the parameters, drawn as ``weights="random:SEED"`` draws them, by name.

    Returns:
        :class:`Randomisation`.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.evaluate.parameter_randomisation(
        ...     model, vizkit.images.sample(), vizkit.edge_map, layers=["classifier.1"]
        ... )
        >>> found.layers, found.similarity.round(6).tolist()
        (('classifier.1',), [[1.0]])
    """
    one_of("order", order, ORDERS)
    compare = _similarity(similarity)
    owned = parameters_by_layer(model)
    names = list(reversed(owned)) if layers is None else list(layers)
    for name in names:
        if name not in owned:
            model.check_layer(name)
            raise SettingError(f"Layer {name!r} of {model.name} has no parameters to randomise.")
    if not names:
        raise SettingError("layers=[]: name at least one layer to randomise.")
    job = Probe("randomisation", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    shape = np.abs if absolute else np.asarray
    trained = shape(explain(method, model, job.batch, job.handed))
    drawn = weights.draw(model.parameter_shapes(), seed).arrays
    changes: dict[str, Array] = {}
    found = np.empty((len(names), len(job)))
    with steps_bar("randomisation", len(names)) as advance:
        for row, name in enumerate(names):
            own = {parameter: drawn[parameter] for parameter in owned[name]}
            changes = changes | own if order == "cascading" else own
            maps = shape(explain(method, model.with_parameters(changes), job.batch, job.handed))
            found[row] = [compare(a, b) for a, b in zip(maps, trained, strict=True)]
            advance(row + 1, name)
    return Randomisation(tuple(names), found)


def parameters_by_layer(model: Model) -> dict[str, list[str]]:
    """Names of the parameters of each layer that has some, layers in the order in which they run."""
    owned: dict[str, list[str]] = {}
    for parameter in model.parameter_shapes():
        owned.setdefault(parameter.rpartition(".")[0], []).append(parameter)
    place = {name: i for i, name in enumerate(model.layers)}
    return dict(sorted(owned.items(), key=lambda item: place.get(item[0], len(place))))


def random_logit(
    model: Model,
    image: ImageInput,
    method: Method,
    *,
    target: Target = None,
    similarity: str = "spearman",
    absolute: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Array:
    """The random-logit check (Sixt, Granz & Landgraf 2020, arXiv 1912.09818, after Adebayo et al. 2018, arXiv
    1810.03292). Lower is better.

    The similarity of a class's map to the map of another class, drawn at random: a map that stays does not depend on
    what it is asked about.

    Args:
        model, image, target, batch_size, input_range, fit: as for :func:`vizkit.occlusion`; "all" is no class.
        method: a technique, or any ``method(model, image, target=...)`` that gives an attribution or maps (N, H, W).
        similarity, absolute: as for :func:`parameter_randomisation`.
        seed: of the other class.

    Returns:
        (N,) in -1..1.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> float(vizkit.evaluate.random_logit(model, vizkit.images.sample(), vizkit.edge_map)[0].round(6))
        1.0
    """
    compare = _similarity(similarity)
    job = Probe("random_logit", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size)
    classes = job.table.dense.classes
    if any(index is None or index >= classes for index in job.chosen) or classes < 2:
        raise SettingError(f"target={target!r} of {classes} classes: the check needs a class, and another one.")
    known = [index for index in job.chosen if index is not None]
    others = [(index + 1 + int(generator(seed, index).integers(classes - 1))) % classes for index in known]
    shape = np.abs if absolute else np.asarray
    asked = shape(explain(method, model, job.batch, job.handed))
    other = shape(explain(method, model, job.batch, others))
    return np.array([compare(a, b) for a, b in zip(asked, other, strict=True)])


def _similarity(name: str) -> Similarity:
    one_of("similarity", name, SIMILARITIES)
    return SIMILARITIES[name]
