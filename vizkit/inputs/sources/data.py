"""Data sets of other libraries, whose pictures have a number: Hugging Face's, PyTorch's, Gluon's and one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.backend import Array
from ...contract.errors import ImageError
from ..compact import Coded, Computed, Numbered
from ..pictures import Pictures
from ..reading import Reference

IMAGE, LABEL = "image", "label"


@dataclass(frozen=True)
class Entry(Reference):
    """A picture of a data set by its number."""

    data: Any
    number: int
    image: str | int

    def read(self) -> Any:
        """What the data set gives as the picture. Raises ImageError, whatever it raises."""
        try:
            found = self.data[self.number]
        except Exception as error:
            raise ImageError(f"Picture {self.number} of the data set cannot be read: {error!r}") from None
        if isinstance(found, Mapping):
            if self.image not in found:
                raise ImageError(f"The data set gives {', '.join(map(str, found))}, and no {self.image!r}.")
            return found[self.image]
        return found[0] if isinstance(found, list | tuple) else found

    def state(self) -> bytes:
        """What names the data set: its fingerprint where it has one (Hugging Face), else its class and length."""
        named = getattr(self.data, "_fingerprint", None) or f"{type(self.data).__name__} {len(self.data)}"
        return f"{named} {self.number} {self.image}".encode()


@dataclass(eq=False, repr=False)
class Entries(Computed[Entry]):
    """Pictures of a data set by their numbers."""

    data: Any
    numbers: Array
    image: str | int
    by_place = ("numbers",)

    def one(self, at: int) -> Entry:
        return Entry(self.data, int(self.numbers[at]), self.image)


def is_dataset(given: Any) -> bool:
    """Whether it is a data set, a loader or a stream, and not a list, a path or an array."""
    plain = isinstance(given, str | bytes | list | tuple)
    if plain or any(hasattr(given, name) for name in ("__array__", "__array_interface__", "asnumpy", "__dlpack__")):
        return False
    return isinstance(given, Iterable) or (hasattr(given, "__getitem__") and hasattr(given, "__len__"))


def is_table(given: Any) -> bool:
    """Whether it is a Hugging Face data set, whose rows have names."""
    return is_dataset(given) and hasattr(given, "column_names")


def dataset(data: Any, *, image: str = IMAGE, label: str = LABEL) -> Pictures:
    """The pictures of a data set: a Hugging Face ``Dataset``, any data set of PyTorch or Gluon with a length, whatever
    else gives picture number ``k`` for ``data[k]``, or a PyTorch or Gluon data loader of one.

    What ``data[k]`` gives is the picture, or a tuple that begins with it, or a mapping with it under ``image``: a
    Pillow image, a uint8 array (H, W, 3), or an array or tensor of floats in the network's own shape, which is used as
    it is. Of a loader the pictures of its sampler are taken, once each, in the order of the data set: vizkit reads
    ahead and makes the batches itself. Read by several processes the data set is sent to them with every part of the
    work, so it should be small to pickle, as one of file names or of Hugging Face's mapped files is.

    Args:
        data: the data set or loader.
        image: the pictures' key, where there are keys.
        label: the labels' key: a column of Hugging Face's. Labels of others come from what torchvision (``targets``
            and ``classes``) and Gluon (``items`` and ``synsets``) call them; else they are unknown.

    Returns:
        :class:`vizkit.folders.Pictures`, named by their numbers.

    Raises:
        ImageError for what has no length or no numbers, such as a stream.

    Example:
        >>> from vizkit import sources, zoo
        >>> found = sources.dataset(list(zoo.shapes.sample(5, seed=1).images))
        >>> len(found), found.names[4]
        (5, 'image 4')
    """
    if isinstance(data, Mapping):
        raise ImageError(f"{type(data).__name__} holds several data sets, {', '.join(map(str, data))}: give one.")
    loaded = _loaded(data)
    held = data if loaded is None else loaded
    if not hasattr(held, "__getitem__") or not hasattr(held, "__len__"):
        raise ImageError(
            f"{type(held).__name__} gives its pictures in one stream and not by number. Give a data set with a length, "
            "or its files: tar shards and Parquet files are read as they are (vizkit.sources)."
        )
    numbers = np.arange(len(held))
    if loaded is not None:
        numbers = np.array(sorted({int(number) for batch in _batches(data) for number in batch}), np.int64)
    if not len(numbers):
        raise ImageError(f"The data set {type(held).__name__} is empty.")
    labels = _labels(held, label)
    some = Coded(np.full(len(numbers), -1, np.int32), ()) if labels is None else labels.pick(numbers)
    return Pictures(Entries(held, numbers, image), Numbered(numbers), some)


def _loaded(data: Any) -> Any:
    """The data set of a loader; None for what is none."""
    if not hasattr(data, "__iter__") or _batches(data) is None:
        return None
    return getattr(data, "dataset", getattr(data, "_dataset", None))


def _batches(loader: Any) -> Any:
    return getattr(loader, "batch_sampler", None) or getattr(loader, "_batch_sampler", None)


def _labels(data: Any, label: str) -> Coded | None:
    """The label of each picture, without reading pictures; None where nobody knows."""
    columns = getattr(data, "column_names", None)
    if columns is not None:
        if label not in columns:
            return None
        names: Sequence[str] | None = getattr(data.features[label], "names", None)
        return Coded.of(data.with_format(None).select_columns([label])[:][label], names)
    values, known = getattr(data, "targets", None), getattr(data, "classes", None)
    if values is None and hasattr(data, "synsets"):
        values, known = [item[1] for item in data.items], data.synsets
    if values is None or len(values) != len(data):
        return None
    return Coded.of(values, known)
