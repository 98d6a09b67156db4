"""What a unit can see, and what it looks at: theoretical and effective receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import images
from ..backend import Array, Model, Tensor
from ..errors import SettingError, ShapeError
from ..images import Batch, ImageInput
from ..network.receptive import Field, fields
from ..progress import steps_bar
from ..results import Result, provenance
from ._checks import pictures_only

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INPUT = "input"
ALL = "all"
REACH = 1 - 0.9545
"""The share of the largest gradient above which a pixel belongs to the effective field: two standard deviations of a
Gaussian, as Luo et al. count."""


@dataclass(frozen=True, repr=False)
class ReceptiveFields(Result):
    """``values`` (L, H, W) float64 >= 0: for each of L layers the gradient of its middle unit, each layer's largest
    value 1 (all zero where the unit does not react). ``layers`` their names, ``theoretical`` their fields; ``units``
    the (row, column) of the middle unit, (0, 0) of a dense layer; ``boxes`` (top, left, bottom, right) of what that
    unit can see, within the picture; ``sizes`` the effective size in pixels."""

    layers: tuple[str, ...]
    theoretical: tuple[Field, ...]
    units: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    sizes: tuple[float, ...]
    batch: Batch

    def arrays(self) -> dict[str, Array]:
        return {
            "values": self.values,
            "layers": np.array(self.layers),
            "boxes": np.array(self.boxes),
            "sizes": np.array(self.sizes),
            "pictures": self.batch.pictures,
        }

    def figure(self) -> Figure:
        """The photo once for each layer, with the theoretical field as a frame and the effective one as a glow."""
        from . import _receptive_plot

        return _receptive_plot.draw([self])

    def records(self) -> list[dict[str, Any]]:
        """A row a layer: the theoretical size and stride, the middle unit's box within the picture, the effective
        size in pixels."""
        return [
            {"layer": name, "size": field.size, "stride": field.stride}
            | dict(zip(("top", "left", "bottom", "right"), box, strict=True))
            | {"effective": size}
            for name, field, box, size in zip(self.layers, self.theoretical, self.boxes, self.sizes, strict=True)
        ]

    def table(self) -> str:
        """A line for each layer: the theoretical size, the stride, the middle unit's pixels, the effective size."""
        made = self.provenance
        width = max(len("layer"), *(len(name) for name in self.layers))
        lines = [
            f"{made['model']} in {made['backend']}: the unit in the middle of each layer",
            f"  {'layer':<{width}}  {'theoretical':<14}  {'stride':<8}  {'rows':<11}  {'columns':<11}  effective",
        ]
        for name, field, box, size in zip(self.layers, self.theoretical, self.boxes, self.sizes, strict=True):
            stride = "" if field.stride is None else f"{field.stride[0]:g} x {field.stride[1]:g}"
            top, left, bottom, right = box
            rows, columns = f"{top}..{bottom - 1}", f"{left}..{right - 1}"
            lines.append(
                f"  {name:<{width}}  {field.text():<14}  {stride:<8}  {rows:<11}  {columns:<11}  {size:.1f} px"
            )
        return "\n".join(lines)


def receptive_field(
    model: Model,
    image: ImageInput | None = None,
    layer: str | Sequence[str] | None = None,
    *,
    unit: int | None = None,
    noise: int = 8,
    seed: int = 0,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> ReceptiveFields:
    """Theoretical receptive fields (Araujo, Norris and Sim 2019, doi:10.23915/distill.00021) and effective ones
    (Luo et al. 2016, arXiv 1701.04128).

    The theoretical field follows from kernels, strides and paddings along the graph. The effective one is the mean over
    pictures of ``sum_c |d sum_k y[k, middle] / d x[c, i, j]|``, over its maximum, and its size the square root of the
    number of pixels above 4.55 % of the maximum.

    Args:
        model: a network.
        image: what the fields are drawn on: a path, Pillow image, array, or a list whose gradients are averaged too;
            None takes the bundled photo.
        layer: a layer, or several; "all" for every observable one; None for the last layer at each resolution.
        unit: a channel; None for the sum of all.
        noise: pictures of Gaussian noise (the normalised input's mean 0, deviation 1) to average over in place of the
            photos; 0 averages over the photos themselves.
        seed: of the noise.
        input_range: "imagenet" (normalised) or "unit" (0..1).
        fit: "crop" or "squash", see :func:`vizkit.images.prepare`.

    Returns:
        :class:`ReceptiveFields` with ``values`` (L, H, W).

    Raises:
        ImageError, UnknownNameError, LayerError, SettingError (unit or noise that cannot be), ShapeError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> found = vizkit.receptive_field(model, layer="features.5", noise=2)
        >>> found.theoretical[0].text(), found.boxes[0]
        ('31 x 31', (96, 96, 127, 127))
    """
    pictures_only(model, "receptive_field")
    if noise < 0:
        raise SettingError(f"noise={noise}: give a number of noise pictures, or 0 to average over the photos.")
    names = _chosen(model, layer)
    batch = images.prepare(images.sample() if image is None else image, model.spec, fit=fit, input_range=input_range)
    tensor = batch.tensor
    if noise:
        tensor = np.random.default_rng(seed).normal(size=(noise, *tensor.shape[1:])).astype(np.float32)
    graph = model.graph()
    found = fields(graph)
    theoretical = tuple(found[graph.layers[name]] for name in names)
    units = tuple(_middle(graph[graph.layers[name]].shape) for name in names)
    values = []
    with steps_bar("receptive fields", len(names)) as advance:
        for name, at in zip(names, units, strict=True):
            values.append(_effective(model, replace(batch, tensor=tensor), name, at, unit))
            advance(len(values), name)
    maps = np.stack(values)
    height, width = tensor.shape[-2:]
    boxes = tuple(field.box(*at, (height, width)) for field, at in zip(theoretical, units, strict=True))
    sizes = tuple(float(np.sqrt((one > REACH).sum())) for one in maps)
    settings = {"layer": names, "unit": unit, "noise": noise, "seed": seed, "input_range": input_range, "fit": fit}
    made = provenance(model, "receptive_field", settings, batch)
    return ReceptiveFields(maps, made, names, theoretical, units, boxes, sizes, batch)


def _chosen(model: Model, layer: str | Sequence[str] | None) -> tuple[str, ...]:
    if layer is None:
        return ends(model)
    names = (layer,) if isinstance(layer, str) else tuple(layer)
    if names == (ALL,):
        return tuple(model.layers)
    if not names:
        raise SettingError("layer=[] names no layer; give some, 'all', or None.")
    for name in names:
        model.check_layer(name)
    return names


def ends(model: Model) -> tuple[str, ...]:
    """The last layer at each stride, in order, of those whose units see part of the picture."""
    graph = model.graph()
    found = fields(graph)
    last: dict[tuple[float, float], str] = {}
    for name in model.layers:
        stride = found[graph.layers[name]].stride
        if stride is not None and name.count(".") < 2:
            last[stride] = name
    return tuple(last.values()) or tuple(model.layers)[-1:]


def _middle(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[2] // 2, shape[3] // 2) if len(shape) == 4 else (0, 0)


def _effective(model: Model, batch: Batch, name: str, at: tuple[int, int], unit: int | None) -> Array:
    """(H, W) float64, its largest value 1."""
    ops = model.ops

    def score(leaves: dict[str, Tensor]) -> tuple[Tensor, None]:
        out = model.forward(leaves[INPUT], (name,))[name]
        if len(out.shape) not in (2, 4):
            raise ShapeError(f"Layer {name!r} gives shape {tuple(out.shape)}; expected (N, C, H, W) or (N, C).")
        if unit is not None and not 0 <= unit < out.shape[1]:
            raise SettingError(f"Layer {name!r} has units 0 to {out.shape[1] - 1}; there is no {unit}.")
        values = out[:, :, at[0], at[1]] if len(out.shape) == 4 else out
        return (ops.sum(values, 1) if unit is None else ops.pick(values, [unit] * len(batch.tensor))), None

    _, gradients, _ = ops.value_and_grad(score, {INPUT: ops.asarray(batch.tensor)})
    found = np.abs(ops.numpy(gradients[INPUT]).astype(np.float64)).sum(axis=1).mean(axis=0)
    high = float(found.max())
    return np.asarray(found / high) if high > 0 else found
