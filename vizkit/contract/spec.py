"""What a network expects as input and what its outputs are called."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import prod
from typing import Any

from numpy import ndim

from .errors import SettingError, UnknownNameError, unknown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@lru_cache(maxsize=1)
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 class names of ILSVRC 2012, by index."""
    text = (files("vizkit.zoo") / "data" / "imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@dataclass(frozen=True)
class InputSpec:
    """Size (height, width) in pixels, the shorter side before the centre crop, and the normalisation per channel:
    ``(pixel / 255 - mean) / std``. ``labels`` name the outputs, None when nobody said."""

    size: tuple[int, int]
    resize: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    labels: tuple[str, ...] | None = None
    extent: tuple[int, ...] = ()
    """Axes behind the channels where they are not two: (T,) of signals, (D, H, W) of volumes. Then ``size`` is how they
    lie as a picture: (1, T), (D * H, W)."""

    @property
    def channels(self) -> int:
        """Channels: 3 of colour pictures, 1 of gray ones, any number of others."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input, (C, H, W), (C, T) or (C, D, H, W), as the network takes it."""
        return (self.channels, *(self.extent or self.size))

    @property
    def said(self) -> dict[str, Any]:
        """How pictures become inputs, ready for JSON: of these channels and sides, by what :func:`vizkit.wrap` calls
        ``resize``, ``mean`` and ``std``."""
        mean, std = list(self.mean), list(self.std)
        return {"shape": list(self.shape), "resize": self.resize or None, "mean": mean, "std": std}

    def label(self, index: int) -> str:
        """The name of an output, ``class 7`` where there is none."""
        if self.labels is not None and 0 <= index < len(self.labels):
            return self.labels[index]
        return f"class {index}"

    def index(self, target: int | str, classes: int) -> int:
        """The output that ``target`` means: an index, a label, or a label's words in any case. Digits in a text are a
        label where there is one of them, as of a network that reads digits, else an index.

        Raises UnknownNameError with the nearest labels, or when several outputs carry the name.
        """
        labels = () if self.labels is None else self.labels
        if isinstance(target, str) and target.strip().lstrip("-").isdigit() and target.strip() not in labels:
            target = int(target)
        if not isinstance(target, str):
            if not 0 <= target < classes:
                raise UnknownNameError(
                    f"Target {target} is outside this network's {classes} classes, 0 to {classes - 1}."
                )
            return int(target)
        wanted = target.strip().lower()
        found = [i for i, label in enumerate(labels) if label.lower() == wanted]
        if len(found) > 1:
            raise UnknownNameError(f"The label {target!r} names {len(found)} classes: {found}. Give the index instead.")
        if not found:
            if not labels:
                raise UnknownNameError(f"This network has no labels, so {target!r} means nothing; give an index.")
            raise unknown("label", target, labels, "Or give the class index.")
        return found[0]


def make_spec(
    input_size: int | Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    labels: tuple[str, ...] | None = None,
    resize: int | None = None,
) -> InputSpec:
    """A checked spec; the shorter side before the crop is :func:`usual_resize` unless given. 0 stands for a network of
    which nobody said: that, too, but a picture of the network's size is taken as it is."""
    mean, std = _each_channel("mean", mean), _each_channel("std", std)
    size = _sides(input_size)
    if not 1 <= len(size) <= 3 or min(size) < 1:
        raise SettingError(
            f"input_size={input_size!r}: give one positive side in pixels, or (height, width); (samples,) of a signal, "
            "(depth, height, width) of a volume."
        )
    if len(mean) != len(std) or not mean:
        raise SettingError(
            f"mean has {len(mean)} values and std {len(std)}; give one for each channel, 3 for RGB or 1 for gray."
        )
    _check_unit(mean, size)
    if min(std) <= 0:
        raise SettingError(f"std={tuple(std)}: every value must be positive, since pixels are divided by it.")
    side = usual_resize(size) if resize is None else resize
    names = None if labels is None else tuple(str(label) for label in labels)
    extent = () if len(size) == 2 else size
    flat = (prod(size[:-1]), size[-1])
    return InputSpec(flat, side, mean, std, names, extent)


def usual_resize(size: Sequence[int]) -> int:
    """The shorter side before the centre of ``size`` is cut out: 256/224 of its own, as ImageNet's networks have it."""
    return round(min(size) * 256 / 224)


def _sides(given: Any) -> tuple[int, ...]:
    """One side twice, or those given; none of what are no whole numbers."""
    try:
        return (operator.index(given),) * 2 if ndim(given) == 0 else tuple(map(operator.index, given))
    except TypeError:
        return ()


def _each_channel(name: str, given: Any) -> tuple[float, ...]:
    try:
        return tuple(map(float, given))
    except (TypeError, ValueError):
        raise SettingError(
            f"{name}={given!r}: give one number for each channel, ({given!r},) * 3 for RGB or a single one for gray."
            if isinstance(given, int | float)
            else f"{name}={given!r}: expected one number for each channel."
        ) from None


def _check_unit(mean: tuple[float, ...], size: tuple[int, ...]) -> None:
    """SettingError for the mean of pictures of 0..255, where that of 0..1 is meant."""
    if len(size) == 2 and len(mean) in (1, 3) and max(mean) > 1:
        raise SettingError(
            f"mean={mean}: pixels lie in 0..1 when the mean is subtracted, so it cannot exceed 1. Divide mean and std "
            "of pixels of 0..255 by 255; of a network that takes floats of your own as they are, mean=0 and std=1 are "
            "as good."
        )
