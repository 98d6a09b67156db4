"""A Gluon network behind the contract: its graph, evaluated with the network's current parameters."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd

from vizkit.contract.backend import OUTPUT, PLAIN, Array, Call, Layer, Mode, Model, Term, Weights
from vizkit.contract.errors import SettingError
from vizkit.contract.graph import Graph
from vizkit.contract.model import check_rows, wrong_size
from vizkit.contract.spec import InputSpec

from .call import given, output
from .execute import execute
from .graph import graph
from .legacy import legacy
from .listing import versions
from .operations import rectifier
from .ops import GluonOps, Watch, first_line
from .prepare import Folding, affine
from .trace import NORMS, Entry, parts, resolve, trace

NDArray = Any
AFFINE = ("Convolution", "Deconvolution", "FullyConnected")


class GluonModel(Model):
    """See :class:`vizkit.backend.Model`. ``paths`` maps canonical layer names to structural paths, ``parameters``
    canonical parameter names to structural ones; None for a network without canonical names."""

    backend = "gluon"

    def __init__(
        self,
        native: Any,
        spec: InputSpec,
        *,
        name: str,
        weights: Weights,
        device: str,
        dtype: str,
        paths: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        call: Call = PLAIN,
    ) -> None:
        self.native = native
        self.spec = spec
        self.name = name
        self.weights = weights
        self.versions = versions()
        self.device = device
        self.dtype = dtype
        self.ops: GluonOps = GluonOps(device, dtype)
        self._given = given(native, call, self.ops)
        blank = (1, *spec.shape)
        self._graph = trace(native, blank, self._given, lambda result: output(result, call, name))
        self._parts = parts(native)
        if dtype == "float64" and any(node.op == "LRN" for node in self._graph.nodes):
            raise SettingError(f"{name} has an LRN, which MXNet computes in float32 alone: cast it to float32.")
        self.reused = self._graph.reused
        own = native._collect_params_with_prefix() if native._children else dict(native.collect_params().items())
        self._parameters = own if parameters is None else {key: own[path] for key, path in parameters.items()}
        self._named = dict(native.collect_params().items())
        self._changes: dict[str, NDArray] = {}
        self._folding = Folding(self._graph, self._value, self.looked)
        self._watch = Watch()
        variables = (node.name for node in self._graph.nodes if node.op == "null" and node.name in self._named)
        self._read = list(dict.fromkeys((*(one.name for one in self._parameters.values()), *variables)))
        """Names of all that a pass or a digest reads."""
        self._paths = self._ordered(paths)
        self._layers: dict[str, Layer] | None = None
        self._drawn: Graph | None = None

    def _ordered(self, paths: Mapping[str, str] | None) -> dict[str, str]:
        """Layer names to paths, in the order in which the layers finish."""
        if paths is None:
            return {path: path for path in self._observed()}
        order = {path: i for i, path in enumerate(self._graph.layers)}

        def position(item: tuple[str, str]) -> tuple[float, int]:
            name, path = item
            before = 0.5 if path.endswith(":input") else 0.0
            return order.get(path.removesuffix(":input"), len(order)) - before, -name.count(".")

        return dict(sorted(paths.items(), key=position))

    def _observed(self) -> Iterator[str]:
        """Paths of all results that a block returns; and what enters a block straight from an affine operator and is no
        block's own result, as of ``Conv2D(activation="relu")``, which calls its block ``act``."""
        seen = {self._graph.output, *self._graph.repeated, *self._graph.layers.values()}
        for path in self._graph.layers:
            source = self._graph.entering[path]
            if source not in seen and self._graph.nodes[source[0]].op in (*AFFINE, *NORMS) and source[1] == 0:
                seen.add(source)
                yield f"{path}:input"
            yield path

    @property
    @legacy()
    def layers(self) -> Mapping[str, Layer]:
        if self._layers is None:
            shapes = self._shapes()
            self._layers = {
                name: Layer(name, self._kind(path), tuple(shapes[resolve(self._graph, path)]))
                for name, path in self._paths.items()
            }
        return self._layers

    @property
    @legacy()
    def output_shape(self) -> tuple[int, ...]:
        return tuple(self._shapes()[self._graph.output])

    def _shapes(self) -> dict[Entry, tuple[int, ...]]:
        """Of all results, for one input."""
        try:
            found = self._graph.shapes((1, *self.spec.shape), self._given.shapes())
        except mx.base.MXNetError as error:
            further = " and ".join(map(str, self._given.shapes().values()))
            beside = f" With it went inputs= of shape {further}." if further else ""
            raise wrong_size(self, f"{first_line(str(error))}.{beside}") from None
        check_rows(self, tuple(found[self._graph.output]))
        return found

    @legacy()
    def graph(self) -> Graph:
        if self._drawn is None:
            size = (1, *self.spec.shape)
            shapes = {name: tuple(self._value(name).shape) for name in self._read}
            self._drawn = graph(self._graph, self._paths, size, shapes, self._given.shapes())
        return self._drawn

    def biases(self) -> dict[str, Array]:
        names: dict[Entry, str] = {}
        for name, path in self._paths.items():
            names.setdefault(resolve(self._graph, path), name)
        found: dict[str, Array] = {}
        for i, node in enumerate(self._graph.nodes):
            own = [self._graph.nodes[k].name for k, _ in node.inputs[1:]]
            if (i, 0) not in names or not all(name in self._named for name in own):
                continue
            if node.op in NORMS:
                found[names[i, 0]] = affine(node, [self._value(name).asnumpy() for name in own])[1]
            elif node.op in AFFINE and len(own) == 2:
                found[names[i, 0]] = self._value(own[1]).asnumpy().astype(np.float64)
        return found

    def bias_axis(self, layer: str) -> int:
        node = self._graph.nodes[resolve(self._graph, self._paths[layer])[0]]
        if node.op in NORMS:
            return int(node.attrs.get("axis", "1"))
        return -1 if node.op == "FullyConnected" or node.attrs.get("layout", "None").endswith("C") else 1

    def _kind(self, path: str) -> str:
        if path.endswith(":input"):
            own = self._graph.kinds.get(path.removesuffix(".act:input"))
            return own or self._graph.nodes[resolve(self._graph, path)[0]].op
        return self._graph.kinds.get(path, type(getattr(self.native, path, None)).__name__)

    def has_relu(self) -> bool:
        return any(rectifier(node.op, node.attrs) for node in self._graph.nodes)

    @legacy()
    def _forward(self, x: NDArray, keep: Sequence[str], add: Mapping[str, Term], mode: Mode) -> dict[str, NDArray]:
        self._check_parts()
        names = [name for name in (*self._paths, OUTPUT) if name in keep or name in add]
        entries = {name: resolve(self._graph, self._paths.get(name, OUTPUT)) for name in names}
        self._given.count = x.shape[0]
        training = mode.training is not None
        with autograd.record(True) if autograd.is_recording() else autograd.pause(train_mode=training):
            wanted, at = {name: entries[name] for name in keep}, list(entries.items())
            merges = mode.rules is not None and mode.rules.merges
            prepares = merges or (self.optimise and not training and self.device == "cpu")
            folds = self._folding.use(entries.values()) if prepares else {}
            kept = execute(self._graph, self._value, x, wanted, add, at, mode, folds, self.ops)
        return {name: kept[name] for name in keep}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(self._value(value.name).shape) for name, value in self._parameters.items()}

    def parameter(self, name: str) -> Array:
        value: Array = self._value(self._parameters[name].name).astype("float32", copy=False).asnumpy()
        return value

    def _value(self, name: str) -> NDArray:
        """The current array of a variable of the graph."""
        if name in self._given:
            return self._given[name]
        changed = self._changes.get(name)
        return self._named[name].data(self.ops.context) if changed is None else changed

    def _with_parameters(self, changes: Mapping[str, Array]) -> GluonModel:
        model = copy.copy(self)
        model._changes = self._changes | {
            self._parameters[name].name: self.ops.asarray(value) for name, value in changes.items()
        }
        model._folding = Folding(self._graph, model._value, model.looked)
        model._watch = Watch()
        return model

    def _check_parts(self) -> None:
        now = parts(self.native)
        if len(now) != len(self._parts) or not all(map(operator.is_, now, self._parts)):
            raise SettingError(
                f"{self.name} has other blocks than when it was wrapped, and a Gluon network is traced to a graph "
                "once: wrap it again with vizkit.wrap. Values that are written into its parameters are seen."
            )

    def _state(self) -> object:
        self._check_parts()
        return self._watch.state([self._value(name) for name in self._read])
