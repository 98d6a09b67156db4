"""RISE maps: the score of randomly masked images, laid back on the pixels that each mask let through."""

from __future__ import annotations

import numpy as np

from ...inputs.references import reference
from ..common.method import Attribution, ImageInput, Model, Probe, SettingError, Target, Tensor, held, pictures_only
from .masks import rise_masks


@held
def rise(
    model: Model,
    image: ImageInput,
    *,
    target: Target = None,
    samples: int = 1000,
    grid: int = 7,
    keep: float = 0.5,
    baseline: str = "mean",
    output: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
) -> Attribution:
    """RISE (Petsiuk, Das & Saenko 2018, arXiv 1806.07421).

    ``M[p] = 1 / (N keep) sum_i S(I * m_i) m_i[p]`` over N random masks. A mask is a grid of cells, each 1 with
    probability ``keep`` and else 0, enlarged bilinearly to one cell more than the image on each axis and cut out at a
    random place. Masked pixels take the baseline. The authors' enlargement mirrors the outer half cell, this one (the
    project's ``resize``) repeats it; all else is theirs. The same masks serve every image.

    Args: as :func:`vizkit.occlusion` has them, without windows, and
        samples: masks; the paper takes 4000 to 8000, the map's noise falls with their square root.
        grid: cells on each side.
        keep: probability that a cell is kept, between 0 and 1.
        baseline: "mean" (the paper's), "black" or "blurred", see :func:`vizkit.references.reference`.
        output: "probability" or "logit"; None is the paper's probability, and the logit when a target is "all".
        seed: of the masks; mask i depends on the seed and i alone.

    Returns:
        :class:`Attribution` with ``values`` (N, H, W): the expected score where the pixel is kept, up to the masks'
        noise; in 0..about 1 for probabilities. Only differences between pixels mean something, zero does not.

    Raises:
        ImageError, UnknownNameError (label), SettingError, ShapeError.

    Believe:
        Believe it as occlusion by many random masks, once two seeds agree.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_1", weights="random:7")
        >>> vizkit.rise(model, vizkit.images.sample(), target=281, samples=8).values.shape
        (1, 224, 224)
    """
    if samples < 1 or grid < 1 or not 0 < keep < 1:
        raise SettingError(f"samples={samples}, grid={grid}, keep={keep}: expected two positive numbers, 0 < keep < 1.")
    pictures_only(model, "rise")
    job = Probe(
        "rise", model, image, target, output=output, input_range=input_range, fit=fit, batch_size=batch_size,
        samples=samples, grid=grid, keep=keep, baseline=baseline, seed=seed,
    )  # fmt: skip
    ops, fill = model.ops, job.uploaded(reference(baseline, job.batch, model.spec))
    total: list[Tensor | None] = [None] * len(job)
    masks: list[Tensor] = []

    def masked(i: int, which: range) -> Tensor:
        masks[:] = [rise_masks(ops, job.size, grid, keep, seed, which)]
        return job.mixed(i, masks[0], fill(i))

    def lay(i: int, which: range, scores: Tensor) -> None:
        flat = ops.double(ops.reshape(masks[0], (len(which), -1)))
        laid = ops.matmul(ops.reshape(scores, (1, len(which))), flat)
        before = total[i]
        total[i] = laid if before is None else before + laid

    job.variants(samples, masked, lay)
    maps = np.stack([ops.numpy(one).reshape(job.size) for one in total])
    return job.result(maps / (samples * keep))
