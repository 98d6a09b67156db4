"""The image patches to which units respond most, over a folder of any size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from ...contract.backend import Model
from ...contract.errors import SettingError, one_of
from ...contract.units import units_of
from ...inputs.folders import Pictures, collect, stream
from ...inputs.images import ImageInput
from ...results.files import provenance
from ...results.folders import TopPatches
from ..common.layers import by_unit
from ..relevance.composites import Composite
from ..relevance.crp import unit_relevance
from .best import Best, assemble

BY = ("activation", "relevance")


def top_patches(
    model: Model,
    pictures: Pictures | ImageInput,
    layer: str | Sequence[str],
    unit: int | Sequence[int] | None = None,
    *,
    k: int = 9,
    by: str = "activation",
    target: int | str | None = None,
    rules: str | Composite = "epsilon_plus_flat",
    state: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> TopPatches:
    """What makes a unit fire: the patches of a folder's images at which it responds most (Zeiler & Fergus 2013, arXiv
    1311.2901; Girshick et al. 2014, arXiv 1311.2524).

    By "relevance": at which it has most part in the logit (Achtibat et al. 2023, arXiv 2206.03208), ``A`` its share of
    that by :func:`vizkit.lrp`.

    For unit ``u`` and image ``i`` with map ``A``: ``v = max_yx A_i[u, y, x]``; the k images of highest ``v``, each
    cropped to the receptive field of the (first) position of its maximum. One patch an image. The numbers do not depend
    on the batch size, and memory not on the number of images; files are read while the network computes.

    Args:
        model: a network.
        pictures: a folder, a list of files, or whatever :func:`vizkit.folders.collect` takes.
        layer: a layer, or several that are done in one pass.
        unit: a channel, several, or None for all.
        k: patches for each unit.
        by: "activation", or "relevance" for ``target``: an index, a label, or None for each picture's top-1; ``rules``
            as :func:`vizkit.lrp` has them.
        state, workers, scheduler, input_range, fit, batch_size: as :func:`vizkit.folders.stream` has them.

    Returns:
        :class:`TopPatches` with ``values`` (R, k), a row for each unit in the order of ``layer`` and ``unit``. Images
        that cannot be read are named in the provenance.

    Raises:
        ImageError, UnknownNameError, LayerError, ShapeError, SettingError, DivergedError.

    Example:
        >>> import vizkit
        >>> model = vizkit.load("shapes")
        >>> found = vizkit.top_patches(model, vizkit.zoo.shapes.sample(24, seed=1).images, "features.9", [3, 5], k=4)
        >>> found.values.shape, found.patches(0)[0].shape[2]
        ((2, 4), 3)
    """
    if k < 1:
        raise SettingError(f"k={k}: ask for at least one patch.")
    one_of("by", by, BY)
    layers = [layer] if isinstance(layer, str) else list(dict.fromkeys(layer))
    wanted = {name: list(dict.fromkeys(units_of(model, name).chosen(unit))) for name in layers}
    listed = collect(pictures)
    best = Best(wanted, k, model.ops.dtype)
    more = {} if by == "activation" else {"by": by, "target": target, "rules": str(rules)}
    passed = stream(
        model, listed, layers, best, label="patches", fit=fit, input_range=input_range, batch_size=batch_size,
        state=state, workers=workers, scheduler=scheduler, settings={"units": list(wanted.values()), "k": k, **more},
        looking=partial(unit_relevance, layers=layers, target=target, rules=rules)
        if more
        else partial(by_unit, layers=layers),
    )  # fmt: skip
    settings = {"layer": layers, "unit": unit, "k": k, "input_range": input_range, "fit": fit, **more}
    return assemble(model, listed, best, provenance(model, "top_patches", settings) | {"images": passed.described()})
