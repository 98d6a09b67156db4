"""Group-CAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...contract.grid import Grid
from ...inputs.references import reference
from ..common.maps import stretched
from ..common.method import Attribution, ImageInput, Leaves, Model, Ops, Probe, SettingError, Target, Tensor, held
from ..common.passes import Pass
from .combining import by_weights, choose_layer


@held
def group_cam(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    layer: str | None = None,
    groups: int = 32,
    percentile: float = 70.0,
    baseline: str = "blurred",
    output: str | None = None,
    relu: bool = True,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """Group-CAM (Zhang, Rao & Yang 2021, arXiv 2103.13859): Score-CAM of a few groups of channels, which Grad-CAM
    weights, instead of every channel.

    ``M = relu(sum_g s_g m_g)``, ``m_g = norm(up(d(relu(sum of w_k A_k over group g))))`` with Grad-CAM's ``w_k``; ``d``
    sets to zero what is not above the group's percentile, ``norm`` is that of :func:`vizkit.scorecam`.
    ``s_g = S(m_g I + (1 - m_g) B) - S(B)``, with ``B`` the blurred picture and ``S`` the probability. Groups are
    channels side by side, as many in each. The authors' blur is a box of 51 pixels all but in name; here that of
    :func:`vizkit.references.blurred`.

    Args: as :func:`vizkit.gradcam` has them, and groups: at most so many. percentile: see above. baseline: "blurred",
        "mean" or "black". output: "probability" or "logit"; None is the probability, and the logit where the target has
        none. ``batch_size`` is the number of masked images scored together.

    Returns:
        :class:`Attribution` (N, H, W); ``extra["cam"]`` (N, h, w), ``extra["scores"]`` (N, G) are the ``s_g``.

    Raises: as :func:`vizkit.gradcam`; SettingError for settings that cannot be.

    Believe:
        Believe it much as Score-CAM, at a fraction of its price; not where the blurred picture still shows the class.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.group_cam(model, vizkit.images.sample(), target="tabby", groups=4).extra["scores"].shape
        (1, 4)
    """
    if groups < 1 or not 0 <= percentile < 100:
        raise SettingError(f"groups={groups}, percentile={percentile}: expected at least 1, and 0 to below 100.")
    job = Probe(
        "group_cam", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        groups=groups, percentile=percentile, baseline=baseline,
    )  # fmt: skip
    (name, grid), ops = choose_layer(model, layer), model.ops
    found = job.passes(Grouped(name, grid, -(-grid.channels // groups)), layers=(name,), at_input=False)["groups"]
    floors = np.percentile(found, percentile, axis=(2, 3), keepdims=True)
    # Sums that reach from 0 to 1 once they are enlarged, which is linear.
    sums = [ops.asarray(one[None]) for one in np.where(found > floors, found, 0.0)]
    groups_of = [stretched(ops, one, grid.enlarged(ops, one, model.spec)) for one in sums]
    behind = reference(baseline, job.batch, model.spec)
    hidden = job.uploaded(behind)

    def masked(i: int, which: range) -> Tensor:
        layer = ops.transpose(groups_of[i][:, which.start : which.stop], (1, 0, 2, 3))
        return job.mixed(i, grid.enlarged(ops, layer, model.spec), hidden(i))

    without = job.read(job.tables(behind, job.technique), job.chosen, job.outputs)
    scores = np.stack(job.variants(found.shape[1], masked)) - without[:, None]
    return by_weights(job, name, grid, scores, groups_of.__getitem__, relu, {"scores": scores})


@dataclass(frozen=True)
class Grouped:
    """A reduction of a pass: Grad-CAM's weighted channels, added up in groups of ``size`` side by side, clipped."""

    layer: str
    grid: Grid
    size: int

    def __call__(self, ops: Ops, done: Pass) -> Leaves:
        activations, gradients = (self.grid.maps(ops, one[self.layer]) for one in (done.activations, done.gradients))
        products = ops.mean(gradients, (2, 3), keepdims=True) * activations
        starts = range(0, self.grid.channels, self.size)
        groups = [ops.sum(products[:, at : at + self.size], 1, keepdims=True) for at in starts]
        return {"groups": ops.maximum(ops.concat(groups, 1), 0.0)}
