"""A network of tinynet behind the contract: layer by layer, kept, added to, and stopped."""

from functools import reduce

import numpy as np
import tinynet

from vizkit.contract.backend import AS_GIVEN, INFERENCE, OUTPUT, Layer, Model, Weights, term_of
from vizkit.contract.errors import SettingError, ShapeError

from .ops import NumpyOps, windows


class NumpyModel(Model):
    """See :class:`vizkit.backend.Model`. Layers are called by their places, "0", "1", and so on."""

    backend, device = "numpy", "cpu"
    layers = output_shape = None  # found with one pass, at the start

    def __init__(self, native, spec, name, dtype, versions):
        self.native, self.spec, self.name, self.dtype, self.versions = native, spec, name, dtype, versions
        self.ops, self.weights = NumpyOps(dtype), Weights(AS_GIVEN)
        kinds = {str(i): kind for i, (kind, _) in enumerate(native.layers)}
        kept = self._forward(self.ops.zeros((1, *spec.shape)), (*kinds, OUTPUT), {}, INFERENCE)
        self.layers = {name: Layer(name, kind, kept[name].shape) for name, kind in kinds.items()}
        self.output_shape = kept[OUTPUT].shape

    def _forward(self, x, keep, add, mode):
        if mode.training is not None:
            raise SettingError(f"{self.name} is a network of tinynet, which does not train.")
        given, kept, waiting = x, {}, {*keep, *add}
        for name in (*map(str, range(len(self.native.layers))), OUTPUT):
            try:
                x = x if name == OUTPUT else self._layer(int(name), x)
            except ValueError as error:
                raise ShapeError(f"{self.name} cannot take an input of shape {given.shape}: {error}") from error
            kept[name] = x = x + term_of(add[name], x, name) if name in add else x
            waiting.discard(name)
            if not waiting:
                break
        return {name: kept[name] for name in keep}

    def _layer(self, i, x):
        """What the layer at place ``i`` makes of ``x``, in inference."""
        (kind, settings), ops = self.native.layers[i], self.ops
        own = [name for name in self.native.parameters if name.startswith(f"{i}.")]
        arrays = {name.partition(".")[2]: ops.asarray(self.native.parameters[name]) for name in own}
        if kind == "conv":
            out = ops.conv(x, arrays["weight"], padding=settings["padding"])
            return out + ops.reshape(arrays["bias"], (1, -1, 1, 1))
        if kind == "linear":
            return ops.matmul(x, ops.transpose(arrays["weight"], (1, 0))) + arrays["bias"]
        if kind == "norm":
            weight, bias, mean, var = (ops.reshape(one, (1, -1, 1, 1)) for one in arrays.values())
            return (x - mean) / np.sqrt(var + settings["eps"]) * weight + bias
        if kind in ("max_pool", "avg_pool"):
            parts = [part for _, _, part in windows(x, settings["size"], settings["size"], settings["size"])]
            return reduce(np.maximum, parts) if kind == "max_pool" else reduce(np.add, parts) / len(parts)
        if kind == "flatten":
            return ops.reshape(x, (len(x), -1))
        return ops.relu(x) if kind == "relu" else x  # dropout is off

    def parameter_shapes(self):
        return {name: value.shape for name, value in self.native.parameters.items()}

    def parameter(self, name):
        return self.native.parameters[name].astype(np.float32)

    def _state(self):
        return [value.tobytes() for value in self.native.parameters.values()]

    def _with_parameters(self, changes):
        own = {name: value.astype(self.dtype) for name, value in (self.native.parameters | changes).items()}
        return NumpyModel(tinynet.Network(self.native.layers, own), self.spec, self.name, self.dtype, self.versions)
