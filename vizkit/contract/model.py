"""A network as every technique sees it."""

from __future__ import annotations

import shlex
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from operator import methodcaller
from types import MappingProxyType
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from . import answers
from .axes import channel_axes, query_layers
from .errors import LayerError, SettingError, ShapeError, check_known, unknown
from .graph import Graph
from .grid import Grid, arranged, grid_of, undecided, unlikely
from .ops import Array, Ops, Step, Tensor
from .probabilities import among
from .spec import InputSpec
from .terms import INFERENCE, OUTPUT, Box, Call, Layer, Mode, Prediction, Term, Weights, digest

__all__ = ["Box", "Call", "Layer", "Mode", "Model", "Prediction", "Weights"]

SPACINGS = 32
"""Distances between neighbouring floating-point numbers by which a long chain of sums may be off."""
SHORT = {"bfloat16": 2.0**-6, "tf32": 2.0**-9}
"""Twice the distance between neighbours of those numbers, near 1."""
STARTING = threading.Lock()
TURNS: WeakValueDictionary[int, AbstractContextManager[bool]] = WeakValueDictionary()
"""By the address of a network, whose models hold both."""


class Model(ABC):
    """One network in one framework.

    ``name`` its canonical name, ``backend`` the backend's name, ``native`` the framework's own network, ``spec`` what
    it expects as input, ``ops`` the framework's functions on ``device``, ``weights`` their origin. ``dtype`` is what
    the network computes in, ``ops.dtype`` that of every tensor that goes in or out: float32 for bfloat16 and tf32, else
    equal.
    """

    name: str
    backend: str
    device: str
    dtype: str
    native: Any
    spec: InputSpec
    ops: Ops
    weights: Weights
    versions: dict[str, str]
    detects: bool = False
    """Whether the output is a detector's boxes, (N, boxes, 4 + classes): left, top, right and bottom in pixels, and the
    score of the box in its class' column; rows of zeros are no box."""
    layout: Mapping[str, Grid] = MappingProxyType({})
    """How layers cover the picture, where the user has said it; see :func:`vizkit.wrap`."""
    reader: ClassVar[Callable[..., Any]]
    """Makes a user's pictures the network's input: :func:`vizkit.images.prepare`, once it is there."""
    reused: Collection[str] = ()
    """Layers that run more than once in a pass, so that their names do not mean one activation."""
    optimise: bool = True
    """Whether a backend may prepare the network, without loss, for being read; see :func:`vizkit.load`."""

    recipe: Callable[[str | None], Model] | None = None
    """Builds this network anew, on the device of that name, or on its own for None: what a worker in another process
    gets. :func:`vizkit.load` and :func:`vizkit.wrap` set it; who makes a model otherwise may."""

    named: str = ""
    """What the command line knows the network by: the name of :func:`vizkit.load`, or FILE.py:NAME; "" where none."""
    file_sha256: str = ""
    """Of the user's file that gave the network, where the command line ran one."""

    _lock: AbstractContextManager[bool] | None = None
    _hash: tuple[object, str] | None = None
    _held: object = None
    _attention: Mapping[str, Layer] | None = None
    _axes: Mapping[str, int | None] | None = None
    _queries: frozenset[str] | None = None

    @property
    def rounding(self) -> float:
        """How far rounding alone may move a logit, as a part of the largest: :data:`SPACINGS` distances between
        neighbouring numbers, or two of the shorter numbers that are multiplied, where sums are still kept in
        float32."""
        return SHORT[self.dtype] if self.dtype in SHORT else SPACINGS * float(np.finfo(self.dtype).eps)

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """Every observable layer by name, in the order in which they finish; found with one pass, once."""

    @property
    def attention(self) -> Mapping[str, Layer]:
        """Every layer of attention probabilities by name, in order of computation; found with one pass, once.

        Of shape (1, heads, T, T): each row, over the T tokens that are looked at, adds up to one. Where there are
        windows, the first axis counts them, or one more. Some are among :attr:`layers`, blocks that give nothing else.
        Where a function computes them inside of a block, they are named after it, ``"BLOCK:attention"`` (the second in
        one block ``":attention2"``), if the backend can see that. :attr:`layers` does not list those, but
        :meth:`forward` keeps and adds to them all.
        """
        if self._attention is None:
            self._attention = self._find_attention()
        return self._attention

    def _find_attention(self) -> Mapping[str, Layer]:
        """What :attr:`attention` promises, as far as it is among :attr:`layers`."""
        return among(self.ops, self.layers, self.spec.shape, self.forward)

    def layer(self, name: str) -> Layer:
        """The layer of this name, among :attr:`layers` or :attr:`attention`, or the output.

        Raises UnknownNameError, LayerError.
        """
        if name == OUTPUT:
            return Layer(OUTPUT, "", self.output_shape)
        if name not in self.layers and name not in self.attention:
            self.check_layer(name)
        return self.layers[name] if name in self.layers else self.attention[name]

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the network's last result for a batch of one, (1, classes) of a classifier; no pass of its own."""

    def grid(self, layer: str) -> Grid | None:
        """How a layer's output covers the picture; None where it does not.

        Where the shape alone leaves open which axis holds the channels, the graph tells; None, too, where it cannot. Of
        pictures channels come first where the backend shows no graph.
        """
        if layer in self.layout:
            return self.layout[layer]
        found, size = self.layer(layer), self.spec.extent or self.spec.size
        if undecided(found.shape, size) or unlikely(found, size):
            axes = self._channel_axes
            if axes or len(size) != 2:
                return self._of_picture(layer, arranged(found, size, axes.get(layer)))
        return self._of_picture(layer, grid_of(found, size))

    def _of_picture(self, layer: str, grid: Grid | None) -> Grid | None:
        """None where the tokens are queries, which may be as many as a picture has places."""
        if grid is None or grid.order != "NTC":
            return grid
        if self._queries is None:
            try:
                self._queries = query_layers(self.graph())
            except SettingError:
                self._queries = frozenset()
        return None if layer in self._queries else grid

    @property
    def _channel_axes(self) -> Mapping[str, int | None]:
        """By layer the axis of its channels, as far as the graph tells; found once."""
        if self._axes is None:
            try:
                self._axes = channel_axes(self.graph())
            except SettingError:
                self._axes = {}
        return self._axes

    def has_relu(self) -> bool:
        """Whether ReLUs, also with an upper bound, are among the network's operations, so that another backward rule
        for them means something. A backend that says so honours the rules of :class:`Mode`; here it shows none."""
        return False

    def graph(self) -> Graph:
        """Every operation and what it reads, as the framework computes them for one image; found once. A backend makes
        it by :func:`vizkit.contract.graph.build`, whose module says in which words.

        Raises SettingError when the framework cannot show it, as here.
        """
        raise SettingError(f"{self.backend} does not show the graph of {self.name}.")

    def biases(self) -> dict[str, Array]:
        """The constant (C,), float64, that each observable affine layer adds to its output, per channel: the bias of a
        convolution or dense layer; of a batch norm, in inference, ``beta - gamma * mean / sqrt(variance + eps)``.

        Raises SettingError when the backend cannot tell, as here.
        """
        raise SettingError(f"{self.backend} does not show what the layers of {self.name} add.")

    def bias_axis(self, layer: str) -> int:
        """The axis of the layer's output along which its constants of :meth:`biases` lie: here the second, whatever it
        is. A backend says where it is another, as of a dense layer, or of a batch norm over channels that come last."""
        return 1

    @abstractmethod
    def _forward(self, x: Tensor, keep: Sequence[str], add: Mapping[str, Term], mode: Mode) -> dict[str, Tensor]:
        """What :meth:`forward` promises, for names that exist."""

    @abstractmethod
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all parameters and stored statistics by canonical name, e.g. ``features.0.weight``."""

    @abstractmethod
    def parameter(self, name: str) -> Array:
        """A float32 copy of one parameter."""

    @abstractmethod
    def _state(self) -> object:
        """Something that differs whenever a parameter has been written since; compared with ``==``."""

    @property
    def _turn(self) -> AbstractContextManager[bool]:
        """Held by the thread that runs the network, so that a pass sees nothing of another's hooks and settings: one
        for all models of a network."""
        if self._lock is None:
            with STARTING:
                self._lock = TURNS.setdefault(id(self.native), threading.RLock())
        return self._lock

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block the network is taken to be as it is at its start: it is looked over once, and not at every
        pass. For loops in which nobody has a say between two passes: leave it before a user's callback is called."""
        with self._turn:
            before = self._held
            self._held = self._state() if before is None else before
            try:
                yield
            finally:
                self._held = before

    def looked(self) -> object:
        """What :meth:`_state` is now, or was when :meth:`held` began."""
        return self._state() if self._held is None else self._held

    def recorded(self, step: Step, key: Hashable = None) -> Step:
        """``step``, to be called again and again with tensors of the same names and shapes.

        A backend may record what it does, and replay that as long as the network stays as it is. So a step must do
        the same each time: no random numbers of the host's, nothing brought to the device but by ``ops.constant``,
        nothing read from it. ``key`` says that it is the same step as in another call: all that it closes over, but for
        the network's state. Here it is just called.
        """
        return step

    @abstractmethod
    def _with_parameters(self, changes: Mapping[str, Array]) -> Model:
        """What :meth:`with_parameters` promises, for arrays that fit, before ``weights`` say so."""

    def with_parameters(self, changes: Mapping[str, npt.ArrayLike]) -> Model:
        """This network with other values of some parameters or stored statistics, by canonical name.

        A new model; this one, and the user's network, stay as they are. What is not named has the values it has now.
        The new model's ``native`` is the backend's own affair: in Gluon it is still the user's network, beside which
        the new values lie. Raises UnknownNameError for a parameter that does not exist, ShapeError for another shape.
        """
        shapes = self.parameter_shapes()
        arrays = {name: np.asarray(value) for name, value in changes.items()}
        for name, value in arrays.items():
            check_known(f"parameter of {self.name}", name, shapes)
            if value.shape != tuple(shapes[name]):
                raise ShapeError(f"{name} of {self.name} has shape {tuple(shapes[name])}; got {value.shape}.")
        model = self._with_parameters(arrays)
        model._hash = model._held = None
        model.recipe = None if self.recipe is None else Changed(self.recipe, methodcaller("with_parameters", arrays))
        model.weights = replace(self.weights, note=f"{len(arrays)} of {len(shapes)} parameters replaced")
        return model

    def forward(
        self,
        x: Tensor,
        keep: Sequence[str] = (OUTPUT,),
        add: Mapping[str, Term] | None = None,
        mode: Mode = INFERENCE,
    ) -> dict[str, Tensor]:
        """The activations named in ``keep``, by name: of :attr:`layers` and :attr:`attention`, and the output.

        Stops right after the last one that is needed. ``add={layer: t}`` adds ``t``, of the same shape, to that layer's
        output before anything else reads it; a zero tensor added there, and differentiated, is the gradient at that
        layer. ``t`` may be a function of that output, which is no operation of the network's, so that no rule is asked
        about it. Works inside and outside ``ops.value_and_grad``. Dropout is off and batch norm uses its stored
        statistics, whatever mode the user left the network in, unless ``mode`` says otherwise; the network is as before
        afterwards.

        Raises UnknownNameError for a layer that does not exist, LayerError for one that runs more than once in a pass
        or never, ShapeError for an input that the network cannot take or a ``t`` of another shape, SettingError for a
        rule that no ReLU can follow.
        """
        add = {} if add is None else add
        if not keep:
            raise SettingError("forward(keep=()) keeps nothing; name at least one layer, or 'output' for the logits.")
        if self.spec.extent and len(x.shape) == 4 and tuple(x.shape[2:]) == self.spec.size:
            x = self.ops.reshape(x, (-1, *self.spec.shape))
        if len(x.shape) != 1 + len(self.spec.shape) or x.shape[1] != self.spec.channels:
            axes = {2: "T", 3: "H, W", 4: "D, H, W"}[len(self.spec.shape)]
            raise ShapeError(
                f"{self.name} takes a batch of shape (N, {self.spec.channels}, {axes}); got {tuple(x.shape)}. "
                "One image needs a leading axis of 1."
            )
        for name in {*keep, *add} - self.layers.keys() - {OUTPUT}:
            if name not in self.attention:
                self.check_layer(name)
        if mode.rules is not None and mode.rules.needs_relu and not self.has_relu():
            raise SettingError(
                f"The rule {mode.rules} is one for ReLUs, max(0, x), and {self.name} has none, or none that "
                f"{self.backend} shows, so that its map would be that of vizkit.saliency. Take that, or wrap a network "
                "that calls ReLU."
            )
        with self._turn:
            return self._forward(x, tuple(keep), add, mode)

    def check_layer(self, name: str) -> None:
        """Raise UnknownNameError, with the nearest names, unless ``name`` is among :attr:`layers`, or the output; for
        attention inside of a block, and for :attr:`reused`, LayerError."""
        if name == OUTPUT or name in self.layers:
            return
        if name in self.reused:
            raise LayerError(
                f"Layer {name!r} of {self.name} runs more than once in a forward pass, so its name does not mean one "
                "activation. Take the layer before or after it."
            )
        if name in self.attention:
            raise LayerError(
                f"{name!r} of {self.name} is attention that is computed inside of a block, {self.attention[name].shape}"
                ": it has no channels over the picture. vizkit.attention maps it, vizkit.feature_maps and "
                "model.forward give it as it is; for anything else name a layer of model.layers."
            )
        known = {**self.layers, **self.attention}
        count = len(known if self.named else self.layers)
        raise unknown(f"layer of {self.name}", name, known, f"{self.listing} lists all {count}.")

    @property
    def listing(self) -> str:
        """What lists the layers: a command where the command line knows the network, else Python."""
        return f"`vizkit layers {shlex.quote(self.named)}`" if self.named else "`list(model.layers)`"

    def weight(self, layer: str) -> Array:
        """A float32 copy of a layer's weights: (O, I, kH, kW) of a convolution, (O, I) of a dense layer.

        Raises UnknownNameError when the layer does not exist, LayerError when it has no such weights.
        """
        if len(self._weight_shapes().get(layer, ())) in (2, 4):
            return self.parameter(f"{layer}.weight")
        self.check_layer(layer)
        names = self.filter_layers()
        some = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
        raise LayerError(f"Layer {layer!r} of {self.name} has no filters. Layers with filters: {some}.")

    def architecture(self) -> str:
        """The network as its framework prints it."""
        return repr(self.native)

    def filter_layers(self) -> list[str]:
        """Names of the layers with convolution weights, in order."""
        return [name for name, shape in self._weight_shapes().items() if len(shape) == 4]

    def _weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by layer, in order."""
        shapes = self.parameter_shapes().items()
        return {name.removesuffix(".weight"): shape for name, shape in shapes if name.endswith(".weight")}

    def sha256(self) -> str:
        """SHA-256 over all parameters by sorted canonical name, as float32: the same weights give the same digest in
        every backend and file format. Computed again only after a parameter was written."""
        state = self.looked()
        if self._hash is None or self._hash[0] != state:
            self._hash = (state, digest((name, self.parameter(name)) for name in sorted(self.parameter_shapes())))
        return self._hash[1]

    def logits(self, image: Any, *, fit: str = "crop") -> Array:
        """Logits (N, classes), in the model's dtype, of an image or a list of images."""
        batch = self.reader(image, self.spec, fit=fit)
        return self.ops.numpy(self.forward(self.ops.asarray(batch.tensor))[OUTPUT])

    def predict(self, image: Any, top: int = 5, *, fit: str = "crop") -> list[Any]:
        """The ``top`` most probable classes: a list of :class:`Prediction` for one image, a list of such lists for a
        list of images.

        >>> import vizkit
        >>> model = vizkit.load("squeezenet1_0", weights="random:7")  # doctest: +SKIP
        >>> model.predict("photo.jpg")[0].label                        # doctest: +SKIP
        """
        logits = self.logits(image, fit=fit).astype(np.float64)
        if logits.ndim != 2:
            other = "model.detections" if self.detects else "model.logits"
            raise ShapeError(
                f"{self.name} gives an output of shape {logits.shape}; a prediction needs (N, classes). See {other}."
            )
        if top < 1:
            raise SettingError(f"top={top}: ask for at least one class.")
        rows = answers.predictions(self.spec, logits, top, self.ending(logits))
        return rows if isinstance(image, list | tuple) or len(rows) != 1 else rows[0]

    def detections(self, image: Any, *, fit: str = "crop") -> list[Any]:
        """The boxes that a detector finds, the surest first: a list of :class:`Box` for one image, a list of such lists
        for a list of images. ``target=vizkit.targets.Detection(i)``, or ``"box:i"``, explains the one at place i.

        Raises SettingError for a network that is no detector.
        """
        if not self.detects:
            raise SettingError(f"{self.name} detects no boxes; its output is {self.output_shape}.")
        rows = [answers.boxes(self.spec, found) for found in self.logits(image, fit=fit).astype(np.float64)]
        return rows if isinstance(image, list | tuple) or len(rows) != 1 else rows[0]

    def ending(self, outputs: Array) -> str:
        """What the network's own last step made of its logits, given some of its outputs (N, classes): "softmax",
        "sigmoid", or "" where these are logits, or where the framework does not show it."""
        return answers.ending(outputs, self.rounding, self.graph)

    def __repr__(self) -> str:
        where = f"{self.name} in {self.backend} on {self.device}, {self.dtype}"
        return f"<vizkit model {where}, weights {self.weights.source}>"


@dataclass(frozen=True)
class Changed:
    """The recipe of what ``change`` makes of another recipe's network."""

    recipe: Callable[[str | None], Model]
    change: Callable[[Model], Model]

    @property
    def device(self) -> str:
        """The device that was asked for; "" where nobody says."""
        return str(getattr(self.recipe, "device", ""))

    def __call__(self, device: str | None) -> Model:
        return self.change(self.recipe(device))


def wrong_size(model: Model, why: str) -> ShapeError:
    """That a network cannot take the inputs that it was wrapped for."""
    return ShapeError(
        f"{model.name} cannot take an input of shape {(1, *model.spec.shape)}: {why} Say what it takes when it is "
        "wrapped: input_size=224 or (height, width) for pictures, (samples,) for signals (N, C, T), (depth, height, "
        "width) for volumes, and a mean and std for each channel."
    )


def check_rows(model: Model, shape: tuple[int, ...]) -> None:
    """SettingError where what a network returns for one picture, of this shape, is not a row for each picture."""
    if shape[0] != 1:
        raise SettingError(
            f"{model.name} returns {shape} for one picture; expected one row, (1, ...). Of inputs=, a leading axis of "
            "1 is repeated for each picture, and anything else handed on as it is, with however many pictures it goes: "
            "give one row, and explain pictures with rows of their own one by one, a vizkit.wrap each."
        )
