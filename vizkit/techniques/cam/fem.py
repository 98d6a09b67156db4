"""FEM, the feature explanation method."""

from __future__ import annotations

from dataclasses import dataclass

from ...contract.grid import Grid
from ...contract.spec import InputSpec
from ..common.method import Attribution, ImageInput, Job, Leaves, Model, Ops, SettingError, Target, held
from .combining import choose_layer, finish, shown, weighted


@held
def fem(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    sigmas: float = 2.0,
    binary: bool = True,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """FEM (Fuad et al. 2020, IPTA, 10.1109/IPTA50016.2020.9286629): where a layer's channels are rare and strong,
    whatever the class.

    ``M = up(relu(sum_k mean(A_k) B_k))`` with ``B_k`` one where ``A_k > mean(A_k) + sigmas * std(A_k)``, else zero;
    means and deviations over the positions. With ``binary=False`` as pytorch-grad-cam has it, which is another map:
    ``M = up(relu(sum_k mean(B_k) A_k))``, the activations themselves, weighted by the share of strong positions.

    Args: ``model``, ``image``, ``target``, ``layer``, ``relu``, ``batch_size``, ``input_range``, ``fit`` as
        :func:`vizkit.gradcam` has them, and sigmas: how far above its mean a channel is strong. binary: see above.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w). It is the same for every ``target``, which is only
        noted.

    Raises: as :func:`vizkit.gradcam`; SettingError for sigmas below zero.

    Believe:
        Believe it as a first look at where a layer is active beyond its usual; never as a reason for a class.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> bool((vizkit.fem(model, vizkit.images.sample(), layer="features.5").values >= 0).all())
        True
    """
    if not sigmas >= 0:
        raise SettingError(f"sigmas={sigmas}: give 0 or more; 2 is usual.")
    job = Job(
        "fem", model, image, target, input_range=input_range, fit=fit, batch_size=batch_size, sigmas=sigmas,
        binary=binary,
    )  # fmt: skip
    name, grid = choose_layer(model, layer)
    maps = job.inferences(Strong(name, grid, sigmas, binary, relu, model.spec), (name,))
    cause = "no channel of the layer stands out anywhere; take another layer, or fewer sigmas."
    return finish(job, maps, name, relu, cause=cause)


@dataclass(frozen=True)
class Strong:
    """A reduction of a forward pass to FEM's maps."""

    layer: str
    grid: Grid
    sigmas: float
    binary: bool
    relu: bool
    spec: InputSpec

    def __call__(self, ops: Ops, kept: Leaves) -> Leaves:
        a = self.grid.maps(ops, kept[self.layer])
        mean = ops.mean(a, (2, 3), keepdims=True)
        deviation = ops.sqrt(ops.mean((a - mean) * (a - mean), (2, 3), keepdims=True))
        zeros = 0.0 * a
        strong = ops.where(ops.maximum(a - mean - self.sigmas * deviation, 0.0), zeros + 1.0, zeros)
        maps = weighted(ops, *((mean, strong) if self.binary else (ops.mean(strong, (2, 3), keepdims=True), a)))
        return shown(ops, ops.maximum(maps, 0.0) if self.relu else maps, self.grid, self.spec)
