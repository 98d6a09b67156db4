"""What a user has in hand besides picture files: arrays and tensors of any framework, batches, loaders, folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..contract.backend import Array
from ..contract.errors import ImageError
from ..contract.spec import InputSpec
from .listing import find
from .reading import Reference
from .sources import SHARDS, dataset
from .sources.data import is_table

NUMPY_SUFFIX = ".npy"


def each(given: Any, spec: InputSpec) -> Iterator[tuple[str, Any]]:
    """Every image that is meant, by name: a path, a Pillow image or a uint8 picture (H, W) or (H, W, 3), which are yet
    to be fitted; other whole numbers (C, H, W), which are, too; or a float array in the network's own
    shape, which is used as it is. Raises ImageError."""
    for i, (name, one) in enumerate(_flat(given, spec)):
        yield name or f"image {i}", one


def _flat(given: Any, spec: InputSpec) -> Iterator[tuple[str, Any]]:
    """The name of each, empty where it has none, and what it is."""
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if path.is_dir() or path.suffix.lower() in SHARDS:
            for item in find(path).items:
                yield from (_flat(item, spec) if isinstance(item, Reference) else [(Path(item).name, item)])
        elif path.suffix == NUMPY_SUFFIX and path.is_file():
            yield from (("", one) for one in _arrays(_load(path), spec))
        else:
            yield path.name, given
    elif isinstance(given, Image.Image):
        yield "", given
    elif isinstance(given, Reference):
        name = Path(getattr(given, "name", "")).name
        yield from ((name, one) for _, one in _flat(given.read(), spec))
    elif (array := plain(given)) is not None:
        yield from (("", one) for one in _arrays(array, spec))
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _flat(one, spec)
    elif is_table(given):
        yield from _flat(list(dataset(given).items), spec)
    elif isinstance(given, Iterable) and not isinstance(given, Mapping | bytes):
        # A loader gives batches, most of them with their labels.
        for one in given:
            yield from _flat(one[0] if isinstance(one, list | tuple) and one else one, spec)
    else:
        yield "", given


def plain(value: Any) -> Array | None:
    """A NumPy array of what a framework's tensor holds; None for something else."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str | os.PathLike | Image.Image | list | tuple):
        return None
    if hasattr(value, "asnumpy"):
        return np.asarray(value.asnumpy())
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        return np.asarray((value if value.element_size() != 2 else value.float()).numpy())
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return np.asarray(value) if hasattr(value, "__array__") else None


def _load(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read as an array: {error}") from None


def _arrays(array: Array, spec: InputSpec) -> Iterator[Array]:
    if array.dtype.kind not in "fub" or 0 in array.shape:
        raise ImageError(_refused(array, spec))
    if array.dtype == np.uint8 and spec.channels in (1, 3) and not spec.extent:
        gray = spec.channels == 1 and array.ndim == 3 and array.shape[1:] == spec.size
        yield from (array if gray else _pictures(array, spec))  # as floats: the network's own shape, without channels
        return
    own = spec.shape
    last = (*own[1:], own[0])
    whole = array.dtype.kind != "f"
    for batch, candidate in ((False, array), (True, array)):
        shape = candidate.shape[1:] if batch else candidate.shape
        items = candidate if batch else candidate[None]
        if shape == own or (whole and _fittable(shape, own, 0)):
            yield from items
            return
        if shape == last or (whole and _fittable(shape, own, -1)):
            yield from np.moveaxis(items, -1, 1)
            return
        if own[0] == 1 and (shape == own[1:] or (whole and not batch and array.ndim == len(own) - 1 == 2)):
            yield from items[:, None]
            return
    raise ImageError(_refused(array, spec))


def _fittable(shape: tuple[int, ...], own: tuple[int, ...], axis: int) -> bool:
    """Whether a picture of whole numbers has these channels there; it can be given another size."""
    return len(own) == 3 and len(shape) == 3 and shape[axis] == own[0]


def _pictures(array: Array, spec: InputSpec) -> Iterator[Array]:
    """uint8 pictures: (H, W), (H, W, 3), (3, H, W), (H, W, 1), (1, H, W), or a batch of the latter four; of a gray
    network :func:`_arrays` has taken (N, H, W) in its size for a batch before."""
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3):
        yield array
    elif array.ndim == 3 and array.shape[0] in (1, 3):
        yield np.moveaxis(np.broadcast_to(array, (3, *array.shape[1:])), 0, 2)
    elif array.ndim == 4 and array.shape[3] == 3:
        yield from array
    elif array.ndim == 4 and array.shape[1] in (1, 3):
        yield from np.moveaxis(np.broadcast_to(array, (len(array), 3, *array.shape[2:])), 1, 3)
    elif array.ndim in (3, 4) and array.shape[-1] == 1:
        yield from array[..., 0] if array.ndim == 4 else [array[..., 0]]
    else:
        raise ImageError(_refused(array, spec))


def _refused(array: Array, spec: InputSpec) -> str:
    axes = "(C, H, W)" if not spec.extent else "(C, T)" if len(spec.extent) == 1 else "(C, D, H, W)"
    whole = " or uint8 pictures (H, W, 3)" if spec.channels in (1, 3) and not spec.extent else ""
    return (
        f"An array of {array.dtype} and shape {array.shape}: expected floats {axes} = {spec.shape}, normalised as the "
        f"network reads them, channels first or last, one or a batch (N, ...), which are used as they are; or unsigned "
        f"whole numbers, which are divided by the largest of their kind{whole}."
    )
