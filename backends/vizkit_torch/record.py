"""Steps that are recorded once in a CUDA graph and then replayed: of a small step, the host's work is most of the time.

A recording reads and writes the memory that it was made with. So what is given is copied to where it reads, what it
made is copied away, and it holds all that it reads. It is made anew once the network has changed.
"""

from __future__ import annotations

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch

from vizkit.contract.ops import Leaves, Step
from vizkit.support import batching

Made = TypeVar("Made")
FIRST, FIRST_KEYED = 1, 2
"""Calls before a recording, in which libraries choose and load their kernels, and constants are made: of a step that is
going to be called often, and of one that may be."""
SHARE = 0.15
"""The part of what a device has left that activations, with their gradients, may take: a recording keeps its memory."""
MOST = 24
"""Recordings that are kept for later calls."""


class Recorder:
    """The recordings of one network, a TorchModel."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tape = Tape(model.device)
        self._known: OrderedDict[Hashable, Recording] = OrderedDict()

    def step(self, step: Step, key: Hashable) -> Step:
        """What calls ``step``, or replays it; ``key``: see :meth:`vizkit.backend.Model.recorded`."""
        if key is None:
            return partial(Recording(self, FIRST), step)
        return partial(self._keyed, step, key)

    def plain(self, step: Step, given: Leaves) -> Leaves:
        """Call it; where memory runs out, recordings for other calls leave theirs, so that half as many samples may
        fit."""
        try:
            return step(given)
        except torch.OutOfMemoryError:
            self._known.clear()
            raise

    def _keyed(self, step: Step, key: Hashable, given: Leaves) -> Leaves:
        shapes = tuple((name, tuple(value.shape)) for name, value in given.items())
        found = self._known.setdefault((key, shapes), Recording(self, FIRST_KEYED))
        self._known.move_to_end((key, shapes))
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return found(step, given)


class Recording:
    """One step for tensors of given names and shapes, from its first call on."""

    def __init__(self, recorder: Recorder, first: int) -> None:
        self._recorder = recorder
        self._first = first
        self._calls = 0
        self._refused = False
        self._state: object = None
        self._graph: Any = None
        self._given: Leaves = {}
        self._made: Leaves = {}
        self._held: list[torch.Tensor] = []

    def __call__(self, step: Step, given: Leaves) -> Leaves:
        model = self._recorder.model
        with model.held():
            if self._refused or not model.recordable():
                return self._recorder.plain(step, given)
            state = model.recorded_state()
            if self._state is not state and self._state != state:
                self._graph, self._calls, self._state = None, 0, state
            if self._graph is None and self._calls < self._first:
                self._calls += 1
                self._refused = self._large(given)
                if self._calls < self._first or self._refused:
                    return self._recorder.plain(step, given)
                made = without_waiting(step, given)
                self._refused = made is None
                return made or self._recorder.plain(step, given)
            if self._graph is None:
                try:
                    self._record(step, given)
                except Exception:  # whatever PyTorch cannot record, it can run
                    self._graph, self._refused = None, True
                    return self._recorder.plain(step, given)
            for name, value in given.items():
                self._given[name].copy_(value)
            self._graph.replay()
            return {name: value.clone() for name, value in self._made.items()}

    def _large(self, given: Leaves) -> bool:
        model = self._recorder.model
        own = model.spec.size[0] * model.spec.size[1]
        images = [value.shape for value in given.values() if value.dim() == 4 and value.shape[1] == model.spec.channels]
        pixels = max((n * height * width for n, _, height, width in images), default=own)
        needed = batching.activations(model) * pixels / own
        return bool(needed > SHARE * (model.ops.memory() or 0))

    def _record(self, step: Step, given: Leaves) -> None:
        recorder = self._recorder
        ops = recorder.model.ops
        self._given = {name: value.detach().clone() for name, value in given.items()}
        ops.recording = []
        try:
            self._graph, self._made = recorder.tape.record(lambda: step(self._given))
        finally:
            self._held, ops.recording = ops.recording, None


class Tape:
    """Where recordings of one device are made, and take their memory from: from one pool, since no two of them are
    replayed at once, and what they made is copied away before the next is."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._stream: Any = None
        self._last: Any = None
        """A pool ends with the last graph that uses it."""

    def record(self, make: Callable[[], Made]) -> tuple[Any, Made]:
        """A graph of what ``make`` does, and its result, which the graph's replays write."""
        with torch.cuda.device(self.device), uncollected():
            self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
            graph = torch.cuda.CUDAGraph()
            pool = torch.cuda.graph_pool_handle() if self._last is None else self._last.pool()
            numbers = torch.cuda.default_generators[torch.cuda.current_device()]
            before = numbers.clone_state()
            try:
                with torch.cuda.stream(self._stream):
                    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                    try:
                        made = make()
                    finally:
                        graph.capture_end()
            except BaseException:
                numbers.graphsafe_set_state(before)  # one that broke off leaves it as if it went on
                raise
            torch.cuda.current_stream().wait_stream(self._stream)
        self._last = graph
        return graph, made


def without_waiting(step: Step, given: Leaves) -> Leaves | None:
    """What a step gives; None where it waits for the device, as a network does that looks at a value: a recording would
    break off. Other errors come again when it is called."""
    try:
        before = torch.cuda.get_sync_debug_mode()
        _waiting_is("error")
        try:
            return step(given)
        finally:
            _waiting_is(before)
    except Exception:
        return None


def _waiting_is(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is new in PyTorch
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def uncollected() -> Iterator[None]:
    """Within the block Python collects no garbage: among it may be a recording, whose end disturbs the one at work."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
