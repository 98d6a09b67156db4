"""A Gluon network behind the contract: its graph, evaluated with the network's current parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mxnet import autograd

from vizkit.backend import AS_GIVEN, OUTPUT, Array, Layer, Mode, Model, Weights
from vizkit.errors import LayerError
from vizkit.zoo.spec import InputSpec

from .execute import Executor
from .ops import GluonOps
from .trace import resolve, trace

NDArray = Any


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
        versions: dict[str, str],
        device: str,
        dtype: str,
        paths: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.native = native
        self.spec = spec
        self.name = name
        self.weights = weights
        self.versions = versions
        self.device = device
        self.dtype = dtype
        self.ops: GluonOps = GluonOps(device, dtype)
        self._graph = trace(native)
        own = native._collect_params_with_prefix() if native._children else dict(native.collect_params().items())
        self._parameters = own if parameters is None else {key: own[path] for key, path in parameters.items()}
        self._named = dict(native.collect_params().items())
        self._executor = Executor(self._graph, lambda name: self._named[name].data(self.ops.context))
        self._paths = self._ordered(paths)
        self._layers: dict[str, Layer] | None = None

    def _ordered(self, paths: Mapping[str, str] | None) -> dict[str, str]:
        """Layer names to paths, in the order in which the layers finish."""
        if paths is None:
            return {path: path for path in self._graph.layers}
        order = {path: i for i, path in enumerate(self._graph.layers)}

        def position(item: tuple[str, str]) -> tuple[float, int]:
            name, path = item
            before = 0.5 if path.endswith(":input") else 0.0
            return order.get(path.removesuffix(":input"), len(order)) - before, -name.count(".")

        return dict(sorted(paths.items(), key=position))

    @property
    def layers(self) -> Mapping[str, Layer]:
        if self._layers is None:
            shapes = self._graph.shapes((1, self.spec.channels, *self.spec.size))
            self._layers = {
                name: Layer(name, self._kind(path), tuple(shapes[resolve(self._graph, path)]))
                for name, path in self._paths.items()
            }
        return self._layers

    def _kind(self, path: str) -> str:
        if path.endswith(".act:input"):
            return self._graph.kinds[path.removesuffix(".act:input")]
        return self._graph.kinds.get(path, type(getattr(self.native, path, None)).__name__)

    def check_layer(self, name: str) -> None:
        if name not in self._paths and name in self._graph.reused:
            raise LayerError(
                f"Layer {name!r} of {self.name} runs more than once in a forward pass, so its name does not mean one "
                "activation. Take the layer before or after it."
            )
        super().check_layer(name)

    def _forward(self, x: NDArray, keep: Sequence[str], add: Mapping[str, NDArray], mode: Mode) -> dict[str, NDArray]:
        names = [name for name in (*self._paths, OUTPUT) if name in keep or name in add]
        entries = {name: resolve(self._graph, self._paths.get(name, OUTPUT)) for name in names}
        with autograd.pause() if not autograd.is_recording() else autograd.record(train_mode=True):
            kept = self._executor.run(x, {name: entries[name] for name in keep}, add, list(entries.items()), mode)
        return {name: kept[name] for name in keep}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in self._parameters.items()}

    def parameter(self, name: str) -> Array:
        value: Array = self._parameters[name].data(self.ops.context).astype("float32").asnumpy()
        return value

    def _state(self) -> object:
        # MXNet does not tell whether an array was written: only the networks that vizkit loaded are taken as unchanged.
        return object() if self.weights.source == AS_GIVEN else self.weights
