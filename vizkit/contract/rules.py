"""Backward rules: what an operation hands back in the place of its derivative, written once for all frameworks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from .ops import Ops, Tensor

Rule = Callable[["Evaluated", Tensor], Sequence[Tensor]]
"""From an operation, and what came back to its output, what goes back to each of its inputs; linear in the latter.
With an attribute ``pulls = False`` it never calls the operation's own :meth:`Evaluated.pull`, and nothing is kept for
that."""


def pulls(rule: Rule) -> bool:
    """Whether a rule may call :meth:`Evaluated.pull`."""
    return getattr(rule, "pulls", True)


class Evaluated(ABC):
    """One operation as it was computed in a forward pass. Tensors are native, and cut from any recorded computation.

    ``kind`` in the words of :mod:`vizkit.contract.graph`; a product with a constant matrix is ``linear``. ``inputs``
    are those that depend on the picture; ``parameters`` of a ``conv``, ``conv_transpose`` and ``linear`` are the weight
    and, where there is one, the bias, else none. ``nonnegative``: what computed them tells that the inputs have no
    negative values. ``beside``: the same operation in the pass that :attr:`vizkit.contract.terms.Mode.beside` holds.
    ``source``: the operation whose output is the first input as it is, where that follows a rule, too. ``left``: what a
    rule leaves for that of its source.
    """

    ops: Ops
    kind: str
    inputs: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    output: Tensor
    nonnegative: bool = False
    beside: Evaluated | None = None
    source: Evaluated | None = None
    left: Tensor | None = None

    @abstractmethod
    def pull(self, gradient: Tensor, parameters: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        """The true derivative: what ``gradient`` (as the output) becomes at each input. To be called once; with other
        ``parameters`` of an operation that is linear in its one input, which it may be without them, as often as one
        likes."""

    @abstractmethod
    def again(self, inputs: Sequence[Tensor] = (), parameters: Sequence[Tensor] = ()) -> Evaluated:
        """The same operation on other inputs, with other parameters; those of this one where none, or fewer, are
        given."""


class Rules(ABC):
    """Which operations follow which rule in a pass. Equal and of one hash where they are the same rules."""

    merges: ClassVar[bool] = False
    """Whether a batch norm that alone reads a convolution is computed as one with it, however the model was loaded.
    Where a pass hands out what lies between the two, they stay apart."""

    @property
    def needs_relu(self) -> bool:
        """Whether a map by these rules means nothing where the network has no ReLU."""
        return False

    @abstractmethod
    def rule(self, kind: str, inputs: int, affine: int) -> Rule | None:
        """For an operation of that kind which reads so many tensors that depend on the picture; None is the true
        derivative. ``affine`` counts the affine operations (:data:`vizkit.contract.graph.AFFINE`) that ran before it on
        what depends on the picture, whether they follow a rule or not; 0 is where the first of them is.

        Raises SettingError for a kind for which there is none.
        """
