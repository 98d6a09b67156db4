"""The suite's networks in MXNet Gluon."""

from __future__ import annotations

from functools import partial
from typing import Any

import mxnet as mx
from mxnet.gluon import HybridBlock, nn

from vizkit.contract.backend import Model, Weights
from vizkit.contract.probes import Case
from vizkit.testing import Kit
from vizkit.zoo.catalog import CATALOG, imagenet_spec
from vizkit_gluon import doctor, networks
from vizkit_gluon.model import GluonModel


def without_values(name: str) -> GluonModel:
    """A network of Gluon's zoo that has a graph, layers and shapes, and whose parameters wait for their values."""
    vision = mx.gluon.model_zoo.vision
    native, paths = networks.build(name) if name in CATALOG else (vision.get_model(name), {})
    spec, made = imagenet_spec(), {"device": "cpu", "dtype": "float32", "paths": paths or None}
    model = GluonModel(native, spec, name=name, weights=Weights("none"), **made)
    model.graph = partial(Model.graph, model)  # type: ignore[method-assign] - which needs values
    return model


def parameter_shapes_of(name: str, found: Any = None) -> dict[str, tuple[int, ...]]:
    """Of a canonical network with the classes that ``found`` has, by canonical names, as MXNet infers them."""
    native, paths = networks.build(name, found)
    shapes = networks._shapes(native, imagenet_spec())
    return {key: shapes[own] for key, own in networks.parameter_paths(native, paths).items()}


class Reuse(HybridBlock):
    """One ReLU block, run twice."""

    def __init__(self, conv: Any, relu: Any, last: Any) -> None:
        super().__init__()
        self.conv, self.relu, self.last = conv, relu, last

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.last(self.relu(self.relu(self.conv(x)) - 0.1))


class Side(HybridBlock):
    """``side`` runs and its result is thrown away."""

    turned = False
    """What goes around the layer is the first of what is added up, after which MXNet's own functions hand back nothing
    where no gradient is asked of it."""

    def __init__(self, conv: Any, side: Any, last: Any) -> None:
        super().__init__()
        self.conv, self.side, self.last = conv, side, last

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = self.conv(x)
        self.side(y)
        around = F.sum(x, axis=1, keepdims=True)
        return self.last(F.relu(F.broadcast_add(around, y) if self.turned else F.broadcast_add(y, around)))


class GluonKit(Kit):
    """See :class:`vizkit.testing.Kit`."""

    backend = "gluon"
    complete = True

    def build(self, parts: Any, dtype: str) -> Any:
        return doctor.build(Case("", tuple(parts), (3, 1, 1)), "cpu", dtype)

    def reuse(self, size: int = 6) -> Any:
        return Reuse(*self.sequential([("conv", 3, 2, 3, 1), ("relu",), ("dense", 2 * size * size, 4)]))

    def side(self, size: int = 6) -> Any:
        return Side(*self.sequential([("conv", 3, 2, 3, 1), ("conv", 2, 2, 3, 1), ("dense", 2 * size * size, 4)]))

    def variants(self, native: Any) -> dict[str, Any]:
        again = nn.HybridSequential()
        again.add(*native._children.values())
        again.hybridize(static_alloc=True)
        return {"plain": native, "hybridised": again}

    def snapshot(self, native: Any) -> Any:
        """Hybridisation, hooks, attributes, grad_req, gradients, values, autograd's mode."""

        def walk(block: Any) -> Any:
            own = (
                getattr(block, "_active", None),
                len(block._forward_hooks),
                len(block._forward_pre_hooks),
                sorted(block.__dict__),
                str(getattr(block, "_kwargs", "")),
            )
            return own, {name: walk(child) for name, child in block._children.items()}

        values = {
            name: (
                parameter.grad_req,
                parameter.data().asnumpy().tolist(),
                None if parameter._grad is None else parameter.grad().asnumpy().tolist(),
            )
            for name, parameter in native._collect_params_with_prefix().items()
        }
        return walk(native), values, mx.autograd.is_recording(), mx.autograd.is_training()

    def leave_gradients(self, native: Any, x: Any) -> None:
        with mx.autograd.record():
            total = native(mx.nd.array(x, dtype=x.dtype)).sum()
        total.backward()

    def write(self, native: Any, name: str, values: Any) -> None:
        parameter = native._collect_params_with_prefix()[name]
        parameter.set_data(mx.nd.array(values, dtype=parameter.dtype))

    def watch(self, native: Any, name: str) -> list[int]:
        """Of calls on arrays."""
        calls: list[int] = []
        block = native
        for part in name.split("."):
            block = block._children[part]
        original = block.forward

        def counted(x: Any, *rest: Any) -> Any:
            if isinstance(x, mx.nd.NDArray):
                calls.append(1)
            return original(x, *rest)

        block.forward = counted
        return calls


KIT = GluonKit()
