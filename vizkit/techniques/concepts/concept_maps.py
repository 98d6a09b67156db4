"""Where concepts lie in a picture."""

from __future__ import annotations

import numpy as np

from ...contract.backend import Array, Model
from ...contract.errors import SettingError
from ...inputs import images as pixels
from ...inputs.images import ImageInput
from ...results.concepts import ConceptBank, ConceptMaps
from ...results.files import provenance
from ...support import batching
from .crops import grid_for, non_negative
from .factors import read
from .gathering import needs_sklearn


def concept_maps(
    model: Model,
    bank: ConceptBank,
    image: ImageInput,
    *,
    input_range: str = "imagenet",
    fit: str = "crop",
    batch_size: int | None = None,
) -> ConceptMaps:
    """Where the concepts of a bank lie in a picture (Fel et al. 2023, arXiv 2211.10154): at each position of the layer
    the non-negative shares ``u`` of least ``|a - u W|``, enlarged to the input's size.

    Args:
        model: the network that the bank is of, in either backend.
        bank: what :func:`concept_bank` found.
        image: one or several pictures.
        input_range, fit: see :func:`vizkit.images.prepare`.
        batch_size: images in one pass; None fits the memory.

    Returns:
        :class:`vizkit.results.ConceptMaps` with ``values`` (N, concepts, H, W).

    Raises:
        SettingError for a bank of another network or negative activations, ImageError.

    Believe:
        It shows where the layer has the concept, not that the class depends on it: that is its importance.

    Example:
        >>> import vizkit
        >>> model, drawn = vizkit.load("shapes"), vizkit.zoo.shapes.sample(12, seed=3)
        >>> bank = vizkit.concept_bank(model, drawn.images, "features.16", target="ring", concepts=3, designs=2)
        >>> vizkit.concept_maps(model, bank, drawn.images[:2]).values.shape
        (2, 3, 96, 96)
    """
    needs_sklearn("concept_maps")
    if bank.provenance["weights"]["sha256"] != model.sha256():
        raise SettingError(
            f"These concepts are of {bank.provenance['model']} with weights {bank.provenance['weights']['source']}, "
            f"not of this {model.name} with {model.weights.source}. Make a bank of this network."
        )
    ops, grid = model.ops, grid_for(model, bank.layer)
    batch = pixels.prepare(image, model.spec, fit=fit, input_range=input_range)

    def step(start: int, stop: int) -> tuple[Array, Array]:
        kept = model.forward(ops.asarray(batch.tensor[start:stop]), (bank.layer,))[bank.layer]
        maps = ops.numpy(ops.transpose(grid.maps(ops, kept), (0, 2, 3, 1))).astype(np.float64)
        shares = read(non_negative(maps.reshape(-1, grid.channels), bank.layer), bank.values)
        own = shares.reshape(stop - start, grid.height, grid.width, -1).transpose(0, 3, 1, 2)
        return own, ops.numpy(grid.enlarged(ops, ops.asarray(own), model.spec))

    parts = batching.collected(model, len(batch), batch_size, step, "concept maps")
    found, enlarged = (np.concatenate(some) for some in zip(*parts, strict=True))
    of_bank = {name: bank.provenance["settings"][name] for name in ("concepts", "crop", "target", "seed")}
    settings = {"layer": bank.layer, "bank": of_bank, "input_range": batch.input_range, "fit": fit}
    made = provenance(model, "concept_maps", settings, batch)
    return ConceptMaps(enlarged, made, found, bank.importance, bank.layer, batch)
