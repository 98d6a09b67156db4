"""Full-gradient decomposition."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..backend import Array, Leaves, Model, Ops, Tensor
from ..errors import SettingError
from ..grid import Grid
from ..images import ImageInput
from ..results import Attribution
from ..targets import Target
from ..zoo.spec import InputSpec
from ._attribution import INPUT, VALUES, Job, Pass, held
from ._cam import enlarged, quotient
from ._checks import completeness

SCALES = ("channel", "none")
TOTAL, SCORE = "total", "score"


@held
def full_gradient(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    scale: str = "channel",
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """FullGrad (Srinivas & Fleuret 2019, arXiv 1905.00780).

    A network of affine layers, ReLUs and pools has ``S_t = sum(I * dS_t/dI) + sum_l sum(b_l * dS_t/dz_l)`` exactly,
    with ``z_l`` the output of affine layer ``l`` and ``b_l`` its constant: a bias, or a batch norm's implicit one,
    ``beta - gamma mean / sqrt(var + eps)``. The map adds up these terms where they lie: ``M = sum_c psi(I * dS_t/dI) +
    sum_l sum_c psi(b_l * dS_t/dz_l)``, ``psi`` the absolute value, rescaled, then upsampled bilinearly (half-pixel
    centres). Layers without extent (dense) are in the sum, not in the map.

    Args: as :func:`vizkit.saliency` has them, and
        scale: "channel" rescales every channel of every layer to 0..1 before the sum, as the paper does, so that the
            map counts channels; "none" keeps the terms' own size.

    Returns:
        :class:`Attribution` (N, H, W) >= 0; ``extra["completeness_error"]`` (N,), relative: large where a constant
        cannot be observed (functional layers with a bias, layers used twice) or the network has other nonlinearities.

    Raises:
        ImageError, UnknownNameError (label), SettingError. Warns with MapWarning when the completeness error exceeds
        5 %, and of flat or non-finite maps.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.full_gradient(model, vizkit.images.sample()).values.shape
        (1, 224, 224)
    """
    if scale not in SCALES:
        raise SettingError(f"scale={scale!r}: expected {' or '.join(map(repr, SCALES))}.")
    job = Job(
        "full_gradient", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, scale=scale
    )
    biases = model.biases()
    places = tuple(Term(name, len(bias), *_lies(model, name)) for name, bias in biases.items())
    terms = Terms(scale, model.spec, places, np.concatenate([[0.0], *biases.values()]))
    found = job.passes(terms, layers=tuple(biases))
    advice = (
        "Some constants are out of reach (functional layers with a bias, layers used twice), or the network is not "
        "made of affine layers, ReLUs and pools; the map lacks their part."
    )
    error = completeness(found[TOTAL], found[SCORE], job.whats, advice)
    extra = {"completeness_error": error}
    return job.result(found[VALUES], extra=extra, completeness_error=error.tolist())


@dataclass(frozen=True)
class Term:
    """The constants of one affine layer: how many, whether along the last axis of its output or the second, and how
    that covers the picture."""

    layer: str
    count: int
    last: bool
    grid: Grid | None


def _lies(model: Model, name: str) -> tuple[bool, Grid | None]:
    kind, shape = model.layers[name].kind, model.layers[name].shape
    last = "Linear" in kind or kind in ("Dense", "FullyConnected")
    if last and len(shape) == 4 and not model.spec.extent:
        return last, Grid("NHWC", shape[3], shape[1], shape[2])
    return last, model.grid(name)


@dataclass(frozen=True)
class Terms:
    """A reduction of a pass: the map of the terms, their sum, and the score. ``biases``, which belong to the network,
    are a zero and those of all ``layers`` in a row, which are told with how they cover the picture."""

    scale: str
    spec: InputSpec
    layers: tuple[Term, ...]
    biases: Array = field(compare=False)

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        every, at = ops.constant(np.asarray, self.biases), 1
        terms = [done.image * done.gradients[INPUT]]
        grids: list[Grid | None] = [Grid("NCHW", self.spec.channels, *self.spec.size, extent=self.spec.extent)]
        for one in self.layers:
            grids.append(one.grid)
            gradient, stop = done.gradients[one.layer], at + one.count
            shape = [1] * len(gradient.shape)
            shape[-1 if one.last else 1] = one.count
            terms.append(gradient * ops.reshape(every[at:stop], tuple(shape)))
            at = stop
        maps = [
            enlarged(ops, _psi(ops, grid.maps(ops, term), self.scale), grid, self.spec)
            for term, grid in zip(terms, grids, strict=True)
            if grid is not None and grid.positions > 1
        ]
        sums = [ops.sum(ops.double(term), tuple(range(1, len(term.shape)))) for term in terms]
        return {VALUES: sum(maps[1:], maps[0]), TOTAL: sum(sums[1:], sums[0]), SCORE: done.scores}


def _psi(ops: Ops, term: Tensor, scale: str) -> Tensor:
    """(N, C, h, w) to (N, h, w): absolute values, each channel rescaled to 0..1 where asked for, summed."""
    size = ops.abs(term)
    if scale == "channel":
        low, high = (ops.max(one, (2, 3), keepdims=True) for one in (-1.0 * size, size))
        size = quotient(ops, size + low, high + low + 0.0 * size)
    return ops.sum(size, 1)
