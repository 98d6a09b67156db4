"""A PyTorch network behind the contract: forward hooks that capture, add, and stop."""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.utils.weight_norm import WeightNorm

from vizkit.contract.backend import INFERENCE, OUTPUT, PLAIN, Array, Call, Layer, Mode, Model, Term, Weights, term_of
from vizkit.contract.errors import LayerError, MapWarning, ShapeError
from vizkit.contract.graph import Graph
from vizkit.contract.model import check_rows
from vizkit.contract.ops import Step
from vizkit.contract.spec import InputSpec

from . import refused
from .apart import ANSWERS, Across, depends, examples
from .attention import observed, probe
from .call import Caller
from .graph import trace
from .inference import inference
from .listing import versions
from .modules import ALIAS, Modules, copied, module_of, shapes
from .modules import names as names_of
from .ops import TorchOps
from .precision import settled
from .prepare import BATCH_NORMS, Finder, Pair, Preparation, ReadError, affine
from .record import Recorder
from .rules import Written, check_shown
from .still import Still, generators
from .watch import Watch

AFFINE = (nn.Linear, nn.modules.conv._ConvNd)


class _Stop(BaseException):
    """Leaves the network's forward once all that is needed has been seen. Not an Exception: nobody's business."""


def _is(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether these are the same values in the same place."""
    return one is other or (one.data_ptr() == other.data_ptr() and one.shape == other.shape)


def _merges(mode: Mode) -> bool:
    return mode.rules is not None and mode.rules.merges


class TorchModel(Model):
    """See :class:`vizkit.backend.Model`."""

    backend = "torch"

    def __init__(
        self,
        native: nn.Module,
        spec: InputSpec,
        *,
        name: str,
        weights: Weights,
        device: str,
        dtype: str,
        call: Call = PLAIN,
    ) -> None:
        self.native = native
        self.spec = spec
        self.name = name
        self.weights = weights
        self.versions = versions()
        self.device = device
        self.dtype = dtype
        self.ops: TorchOps = TorchOps(device, dtype)
        self._caller = Caller(native, call, self.ops)
        self.detects = self._caller.classes > 0 and call.output is None
        self._layers: dict[str, Layer] | None = None
        self._written: set[str] = set()
        """Layers whose result the network overwrites later: in-place ReLUs, `out += identity`."""
        self._relu = False
        self._still = False
        """Whether dropout or batch norm is called as a function, in training."""
        self._places: dict[str, int] = {}
        """In the order in which modules finish."""
        self._preparation: Preparation | None = None
        self._modules = Modules(native)
        self._watch = Watch(device)
        self._recorder = Recorder(self)
        self._recorded_state: object = None
        self._graph: Graph | None = None
        self._output: tuple[int, ...] = ()
        self._aliased = False
        """Whether the module that is called as the result is gives something else."""

    @contextmanager
    def held(self) -> Iterator[None]:
        outermost = self._held is None
        with super().held(), self._modules.held():
            try:
                yield
            finally:
                if outermost:
                    self._recorded_state = None

    def recorded(self, step: Step, key: Hashable = None) -> Step:
        return step if self.device == "cpu" else self._recorder.step(step, key)

    def recordable(self) -> bool:
        """Whether nothing would be left out where a recording is replayed: somebody's hook, another ``forward``, or
        what the network keeps from pass to pass."""
        return self._modules.untouched() and not self._modules.wrote

    def recorded_state(self) -> object:
        """What differs once a recording of the network is not what the network does; the same while it is held."""
        if self._recorded_state is None:
            self._recorded_state = self.looked(), self.optimise, self._modules.attributes()
        return self._recorded_state

    @property
    def layers(self) -> Mapping[str, Layer]:
        with self._turn:
            if self._layers is None:
                self._layers = self._probe()
        return self._layers

    @property
    def output_shape(self) -> tuple[int, ...]:
        _ = self.layers
        return self._output

    def has_relu(self) -> bool:
        _ = self.layers
        return self._relu and not self._modules.scripted()

    def graph(self) -> Graph:
        if self._graph is None:
            _ = self.layers
            blank = self.ops.asarray(np.zeros((1, *self.spec.shape)))
            with self._turn, settled(self.device, self.dtype), self._inference(INFERENCE):
                self._graph = trace(self.native, self._names(), blank, self._run)
        return self._graph

    def check_layer(self, name: str) -> None:
        if name not in {OUTPUT, *self.layers, *self.reused} and self._modules.scripted():
            raise LayerError(
                f"{self.name} has no layer {name!r} that PyTorch shows: TorchScript keeps its layers to itself. Wrap "
                "the module it was made from; the parameters of a saved one fit by their names: "
                "network.load_state_dict(torch.jit.load(file).state_dict())."
            )
        super().check_layer(name)

    def _names(self) -> dict[nn.Module, str]:
        """Every module but the network, by the layer that it is."""
        return {one: ALIAS if self._aliased and name == OUTPUT else name for one, name in names_of(self.native).items()}

    def _probe(self) -> dict[str, Layer]:
        """One pass over a blank image: which modules run exactly once and return one tensor, and in what order."""
        self._aliased = True  # until it is seen what the result is
        every = self._names().items()
        names = {module: name for module, name in every if not isinstance(module, torch.jit.ScriptModule)}
        runs: Counter[str] = Counter()
        seen: dict[str, Layer] = {}
        held: dict[str, tuple[torch.Tensor, int]] = {}
        places: dict[str, int] = {}
        finder = Finder()
        drawn, contents = generators(self.device, self._modules.known), self._modules.contents()

        def see(module: nn.Module, inputs: object, output: object) -> None:
            name = names[module]
            runs[name] += 1
            finder.see(name, module, inputs, output)
            places[name] = sum(runs.values())
            if not isinstance(output, torch.Tensor) or output.dtype.is_complex:
                return
            if not is_functorch_wrapped_tensor(output):
                seen[name] = Layer(name, type(module).__name__, tuple(output.shape))
                held[name] = (output, output._version)

        blank = self.ops.asarray(np.zeros((1, *self.spec.shape)))
        with settled(self.device, self.dtype), ExitStack() as stack, torch.no_grad():
            stack.enter_context(self._inference(INFERENCE, keep=True))
            for module in names:
                stack.callback(module.register_forward_hook(see).remove)
            stack.enter_context(finder)
            still, across = stack.enter_context(Still()), stack.enter_context(Across())
            try:
                result = self._run(blank)
                self._output = tuple(result.clone().shape)  # read, as by whoever asks for it
            except (RuntimeError, AssertionError) as error:
                meant = refused.of_probe(self, error)
                if meant is None:
                    raise
                raise meant from error
        check_rows(self, self._output)
        if still.together:
            self._warn(
                "has batch norm without stored statistics, which takes those of the batch: a map depends on the "
                "pictures, noise samples or masks that happen to be computed with it. Explain pictures one by one, "
                "with batch_size=1, or let it learn statistics (track_running_stats=True)."
            )
        if drawn != generators(self.device, self._modules.known):
            self._warn(
                "draws random numbers though it is in inference mode, such as dropout that was traced in training: "
                "maps differ from call to call, and so may the passes that one is made of. Trace it again after "
                "network.eval(), or switch off what draws."
            )
        elif across.seen or self._modules.wrote or contents != self._modules.contents():
            self._check_apart()
        self._aliased = ALIAS in seen and not _is(held[ALIAS][0], result)
        if self._aliased:
            self._warn(
                f"has a module {OUTPUT!r} whose result is not the network's. Here {OUTPUT!r} means the network's "
                f"result; the module's is the layer {ALIAS!r}."
            )
        called = {ALIAS: OUTPUT} if not self._aliased else {}
        self._places, self._relu, self._still = places, finder.relu, still.needed
        self._written = {name for name, (output, version) in held.items() if output._version != version}
        self.reused = {called.get(name, name) for name, count in runs.items() if count > 1}
        pairs = finder.pairs({module for module, name in names.items() if runs[name] == 1})
        self._preparation = Preparation(self._modules.known, pairs, lowered=self.dtype == "bfloat16")
        once = {name: layer for name, layer in seen.items() if runs[name] == 1}
        return {called.get(name, name): replace(layer, name=called.get(name, name)) for name, layer in once.items()}

    def _check_apart(self) -> None:
        """Warn where the answer to a picture depends on others."""

        def run(x: torch.Tensor) -> torch.Tensor:
            with settled(self.device, self.dtype), self._inference(INFERENCE), torch.no_grad():
                return self._run(x.clone())

        found = depends(run, self.ops.asarray(examples(self.spec.shape)))
        if found in ANSWERS:
            self._warn(ANSWERS[found])

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.name} {what}", MapWarning, stacklevel=2)

    def _find_attention(self) -> Mapping[str, Layer]:
        _ = self.layers
        once = self._places.keys() - self.reused
        modules = {module: name for module, name in self._names().items() if name in once}
        picture = np.random.default_rng(0).normal(size=(1, *self.spec.shape))
        with self._turn, settled(self.device, self.dtype), self._inference(INFERENCE), torch.no_grad():
            return probe(modules, self.ops, lambda: self._caller.run(self.ops.asarray(picture)))

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        return self._caller.output(self._caller.run(x), self.name)

    def _forward(
        self, x: torch.Tensor, keep: Sequence[str], add: Mapping[str, Term], mode: Mode
    ) -> dict[str, torch.Tensor]:
        _ = self.layers
        prepared = mode.training is None and (self.optimise or self.dtype == "bfloat16")
        preparation = self._preparation if prepared or _merges(mode) else None
        apart: set[Pair] = set()
        while True:
            try:
                return self._pass(x, keep, add, mode, preparation, apart)
            except ReadError as read:  # Which pairs are one says something to rules that merge them, else to none.
                apart |= {read.pair} if preparation is None or _merges(mode) else {*preparation.pairs}

    def _pass(
        self,
        x: torch.Tensor,
        keep: Sequence[str],
        add: Mapping[str, Term],
        mode: Mode,
        preparation: Preparation | None,
        apart: Collection[Pair],
    ) -> dict[str, torch.Tensor]:
        kept: dict[str, torch.Tensor] = {}
        versions: dict[str, int] = {}
        waiting = {*keep, *add}
        lowered = preparation is not None and preparation.lowered

        def at(name: str, output: torch.Tensor) -> torch.Tensor:
            if name not in waiting:
                raise LayerError(
                    f"Layer {name!r} of {self.name} runs more than once on this input, though not on a blank one, so "
                    "its name does not mean one activation. Take the layer before or after it."
                )
            with torch._C.DisableTorchFunction():  # What is added and kept is no operation of the network's.
                output = written.now(output)
                if name in add:
                    output = output + term_of(add[name], output, name).to(output.dtype)
                if name in keep:
                    kept[name] = output.to(x.dtype)
                    versions[name] = kept[name]._version
            waiting.discard(name)
            if not waiting:
                raise _Stop
            return output.clone() if name in self._written and kept.get(name) is output else output

        def hook(name: str) -> Callable[[nn.Module, Any, torch.Tensor], torch.Tensor]:
            return lambda _module, _inputs, output: at(name, output)

        inside = waiting - self.layers.keys() - {OUTPUT}
        with ExitStack() as stack:
            stack.enter_context(settled(self.device, self.dtype))
            if inside:
                stack.enter_context(observed(self.native, self.attention, at, inside))
            written = stack.enter_context(self._inference(mode))
            if lowered:
                stack.enter_context(torch.autocast(self.device.partition(":")[0], torch.bfloat16, cache_enabled=False))
            if preparation is not None:
                last = math.inf if OUTPUT in waiting else max(self._places.get(name, math.inf) for name in waiting)
                fold, ruled = self.optimise or _merges(mode), mode.rules is not None
                stack.enter_context(preparation.use(self._modules, self.looked, waiting, last, fold, ruled, apart))
            for name in sorted(waiting - inside - {OUTPUT}):
                module = module_of(self.native, name)
                stack.callback(module.register_forward_hook(hook(name)).remove)
            try:
                # A copy, since a network may begin with an in-place module; as bfloat16's kernels read it.
                order = torch.channels_last if x.dim() == 4 else torch.contiguous_format
                # By its gradient the rules know what depends on the picture, also where only a layer's is asked for.
                unmarked = mode.noted is not None or (mode.rules is not None and not x.requires_grad)
                begin = x.detach().requires_grad_() if unmarked else x
                given = begin.to(torch.bfloat16, copy=True, memory_format=order) if lowered else begin.clone()
                output = self._caller.run(given)
            except _Stop:
                output = None
            except refused.BY_PASSES as error:
                meant = refused.of_pass(self, tuple(x.shape), error)
                if meant is None:
                    raise
                raise meant from error
        if OUTPUT in waiting:
            kept[OUTPUT] = written.now(self._caller.output(output, self.name)).to(x.dtype)
            if len(kept[OUTPUT]) != len(x):
                raise ShapeError(
                    f"{self.name} returns {tuple(kept[OUTPUT].shape)} for {len(x)} inputs; expected a row for each. "
                    "Take batch_size=1, or wrap a network that keeps pictures apart."
                )
            if OUTPUT in add:
                kept[OUTPUT] = kept[OUTPUT] + term_of(add[OUTPUT], kept[OUTPUT], OUTPUT)
            waiting.discard(OUTPUT)
        late = {name for name, version in versions.items() if kept[name]._version != version}
        if late:  # On this input the network writes what it did not write before.
            self._written |= late
            return self._pass(x, keep, add, mode, preparation, apart)
        if waiting:
            raise LayerError(
                f"{self.name} did not run {' and '.join(map(repr, sorted(waiting)))} on this input, though on a blank "
                "one. Name a layer that every picture reaches."
            )
        if mode.rules is not None:
            check_shown(begin, kept.values(), self.name, written.ruled)
        return {name: kept[name] for name in keep}

    def _inference(self, mode: Mode, keep: bool = False) -> AbstractContextManager[Written]:
        self._modules.every()
        return inference(self._modules, mode, self._still, self.ops, keep or self._modules.wrote)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return shapes(self.native)

    def _weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Also of weights that are computed from parameters: in inference, or that may change buffers."""
        found, modules = super()._weight_shapes(), dict(self.native.named_modules())
        with self._turn, settled(self.device, self.dtype), self._inference(INFERENCE):
            made = {
                name: tuple(module.weight.shape)
                for name, module in modules.items()
                if name and name not in found and isinstance(getattr(module, "weight", None), torch.Tensor)
            }
        order = list(modules)
        return dict(sorted({**found, **made}.items(), key=lambda one: order.index(one[0]))) if made else found

    def parameter(self, name: str) -> Array:
        found: Any = self.native
        with self._turn, settled(self.device, self.dtype), self._inference(INFERENCE):
            for part in name.split("."):
                if part == "weight":
                    for hook in found._forward_pre_hooks.values():
                        if isinstance(hook, WeightNorm):  # which computes it in each pass, and not when it was written
                            hook(found, None)
                found = getattr(found, part)
        value: Array = found.detach().cpu().float().numpy().copy()
        return value

    def biases(self) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for name in self.layers:
            module = module_of(self.native, name)
            bias = getattr(module, "bias", None)
            if isinstance(module, BATCH_NORMS):
                stored = module.running_mean is not None and module.running_var is not None
                bias = affine(module)[1] if stored else None
            elif not isinstance(module, AFFINE):
                continue
            if bias is not None:
                found[name] = bias.detach().cpu().double().numpy().copy()
        return found

    def bias_axis(self, layer: str) -> int:
        return -1 if isinstance(module_of(self.native, layer), nn.Linear) else 1

    def _with_parameters(self, changes: Mapping[str, Array]) -> TorchModel:
        network = copied(self.native)
        state = network.state_dict(keep_vars=True)
        with torch.no_grad():
            for name, value in changes.items():
                state[name].copy_(torch.from_numpy(np.array(value)))
        model = copy.copy(self)
        model.native = network
        model._modules, model._watch = Modules(network), Watch(self.device)
        model._modules.wrote = self._modules.wrote
        model._recorder, model._caller = Recorder(model), self._caller.of(network)
        if self._preparation is not None:
            model._preparation = self._preparation.moved(model._modules.known)
        return model

    def _state(self) -> object:
        self._modules.every()
        return self._watch.state(self._modules.tensors())
