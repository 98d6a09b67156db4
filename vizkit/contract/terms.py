"""The words of the contract: a layer, a call, where weights came from, a mode, and what a network answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import ShapeError
from .ops import Array, Tensor
from .rules import Evaluated, Rules

FACTORS = np.random.default_rng(0).uniform(1.0, 2.0, 4096).astype(np.float32)
"""What neighbouring values are multiplied by in :func:`sums`."""
AS_GIVEN = "as given"
"""The origin of the weights of a user's own network."""
OUTPUT = "output"
"""The name of the network's last result, its logits, in every model."""


@dataclass(frozen=True)
class Layer:
    """One observable activation: its canonical name, the kind of module in its framework's own words, which people read
    and nothing depends on, and its shape for a batch of one."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """How a network is called. ``inputs`` are what it gets beside the picture, by position or by name: an array with a
    leading axis of 1 is repeated for each picture, anything else is handed on as it is. ``output`` says which of its
    results counts: an index or a key, or a function of what the network returns; None takes the only one there is."""

    inputs: tuple[Any, ...] | Mapping[str, Any] = ()
    output: int | str | Callable[[Any], Tensor] | None = None


PLAIN = Call()
"""With a picture alone, for one tensor."""


@dataclass(frozen=True)
class Weights:
    """Where a network's parameters came from: ``source`` as the user asked for it, and the file when there was one."""

    source: str
    file: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Prediction:
    """One class of a prediction; ``probability``, in 0..1, is the softmax over all logits, or the sigmoid of a single
    one. Of a network that ends in one of them, or in a sigmoid for each class, it is what the network gives, and
    ``logit`` what goes in: of a softmax, which takes away what is common to all, the probability's logarithm."""

    index: int
    label: str
    probability: float
    logit: float


@dataclass(frozen=True)
class Box:
    """What a detector found: a class, its score in 0..1, and ``corners``, left, top, right and bottom, in pixels of the
    picture as the network sees it."""

    index: int
    label: str
    score: float
    corners: tuple[float, ...]


@dataclass(frozen=True)
class Mode:
    """How a forward pass differs from plain inference.

    ``training``: training-mode semantics, i.e. batch norm on the batch's own mean and biased variance, and dropout with
    masks drawn from this generator. For each dropout layer of a rate ``p`` above 0, in the order in which they run, one
    call ``u = training.random(shape, dtype=np.float32)`` with the shape of its input (N, ...), NCHW; values are kept
    where ``u >= p``, and scaled by ``1 / (1 - p)``. Stored statistics are not updated. A backend that cannot raises
    SettingError, as for dropout of whole channels.

    ``rules``: what operations hand back of a gradient instead of their derivative: all of them, whether a module or a
    function calls them, in place or not, once or several times.

    ``noted``: with rules, a list for the operations that follow one, in the order in which they run; such a pass is
    not differentiated. ``beside``: such a list, from a pass of as many other pictures; each operation gets its own of
    it, :attr:`vizkit.contract.rules.Evaluated.beside`.
    """

    training: np.random.Generator | None = None
    rules: Rules | None = None
    noted: list[Evaluated] | None = field(default=None, compare=False)
    beside: Sequence[Evaluated] | None = field(default=None, compare=False)


INFERENCE = Mode()


Term = Tensor | Callable[[Tensor], Tensor]
"""What is added to a layer's output, or gives it, of that output."""


def term_of(term: Term, output: Tensor, name: str) -> Tensor:
    """What is to be added to this output of the layer ``name``. Raises ShapeError for one of another shape, which would
    be repeated."""
    found = term(output) if callable(term) else term
    if tuple(found.shape) != tuple(output.shape):
        raise ShapeError(f"add[{name!r}] has shape {tuple(found.shape)}; the layer's output is {tuple(output.shape)}.")
    return found


def digest(parameters: Iterable[tuple[str, Array]]) -> str:
    """SHA-256 over parameters, as float32, in the order given: by sorted canonical name."""
    found = hashlib.sha256()
    for name, value in parameters:
        plain = np.ascontiguousarray(value, dtype="<f4")
        found.update(f"{name}:{plain.shape}:".encode())
        found.update(plain.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def sums(arrays: Iterable[Array]) -> bytes:
    """What differs, but for less than rounding, once a value in one of these arrays was written, or two changed places.
    Every value is read, as fast as memory gives it."""
    factors = {4: FACTORS, 8: FACTORS.astype(np.float64)}
    found = [np.empty(0, np.float32)]
    for values in arrays:
        flat = values.reshape(-1)
        whole = flat.size - flat.size % FACTORS.size
        if whole:
            found.append(flat[:whole].reshape(-1, FACTORS.size) @ factors.get(flat.itemsize, FACTORS))
        found.append(flat[whole:])
    return np.concatenate(found).tobytes()
