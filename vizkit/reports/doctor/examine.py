"""Examining one backend, on each of its devices. As a program it does so in a process of its own: what is broken there,
or writes where it should not, ends there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np

from ...contract import backend as contract
from ...contract.backend import OUTPUT, Array, Backend, Leaves, Model, Tensor
from ...contract.errors import VizkitError, one_of
from ...contract.probes import Case, Run, cases, exact, inputs
from . import reference
from .result import LIMITS, OWN, Check, Examination

DRAWS = 3
"""Inputs that every case is tried on; the worst counts, since garbage may agree once."""
Draw = tuple[Array, Array, Array, Array]
"""Input, cotangent, and the true output and gradient."""


def examine(backend: Backend, device: str, dtype: str = "float32", seed: int = 0) -> Examination:
    """Every case in vizkit's own way and in each of the framework's. A case that fails is reported in its place.

    Raises SettingError for a backend without probes.
    """
    one_of("dtype", dtype, LIMITS)
    checks: list[Check] = []
    advice: dict[str, str] = {}
    for case, draws in problems(seed):
        try:
            probe = backend.probe(case, device, dtype)
        except VizkitError:
            raise
        except Exception as error:  # whatever a broken framework throws is what is to be told
            checks.append(Check(case.name, OWN, dtype, error=_told(error)))
            continue
        ways = {OWN: own(probe.model, case)} | {way.name: way.run for way in probe.ways}
        advice |= {way.name: way.advice for way in probe.ways}
        checks += [_check(case.name, name, run, ways[OWN], draws, dtype) for name, run in ways.items()]
    return Examination(backend.name, device, backend.versions(), backend.threads(), tuple(checks), advice)


def own(model: Model, case: Case) -> Run:
    """How vizkit itself computes: the contract's functions alone, as every technique calls them."""
    ops = model.ops
    last = case.parts[-1]

    def output(x: Tensor) -> Tensor:
        if last.kind == "resize":
            return ops.resize(x, (last.whole("height"), last.whole("width")))
        return model.forward(x)[OUTPUT]

    def run(x: Array, cotangent: Array) -> tuple[Array, Array]:
        weight = ops.asarray(cotangent)

        def score(leaves: Leaves) -> tuple[Tensor, Tensor]:
            y = output(leaves["x"])
            return ops.sum(y * weight, tuple(range(1, cotangent.ndim))), y

        _, gradients, y = ops.value_and_grad(score, {"x": ops.asarray(x)})
        return ops.numpy(y), ops.numpy(gradients["x"])

    return run


@lru_cache(maxsize=1)
def problems(seed: int) -> tuple[tuple[Case, tuple[Draw, ...]], ...]:
    """Every case with its inputs and the truth."""
    found = []
    for k, case in enumerate(cases(seed)):
        rng = np.random.default_rng([seed, k])
        found.append((case, tuple(_draw(case, rng) for _ in range(DRAWS))))
    return tuple(found)


def _draw(case: Case, rng: np.random.Generator) -> Draw:
    x = inputs(case, rng)
    y = reference.forward(case, x)
    cotangent = exact(rng.normal(size=y.shape))
    return x, cotangent, y, reference.gradient(case, x, cotangent)


def _check(layer: str, way: str, run: Run, before: Run, draws: Sequence[Draw], dtype: str) -> Check:
    """The worst of all draws. What a framework forgets to write is whatever lay in memory, which may be an earlier,
    right answer: so the negated picture goes before, whose largest values are this one's smallest."""
    forward = gradient = 0.0
    try:
        for x, cotangent, output, slope in draws:
            before(-x, -cotangent)
            found = run(x, cotangent)
            forward = max(forward, deviation(found[0], output))
            gradient = max(gradient, deviation(found[1], slope))
    except Exception as error:  # as above
        return Check(layer, way, dtype, error=_told(error))
    return Check(layer, way, dtype, forward, gradient)


def deviation(found: Array, truth: Array) -> float:
    """Relative L2 norm of the difference; infinite where values are not finite or the shape is another."""
    if found.shape != truth.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm(found.astype(np.float64) - truth) / np.linalg.norm(truth))


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def examinations(
    backend: str, devices: Sequence[str] | None, dtype: str, seed: int, threads: int | None
) -> list[Examination]:
    """One for each device; what cannot be examined carries its error."""
    if threads is not None:
        contract.set_threads(threads)
    try:
        started = contract.get(backend)
        known = list(devices or started.devices())
    except VizkitError as error:
        return [Examination(backend, "", error=str(error))]
    found = []
    for device in known:
        try:
            found.append(examine(started, device, dtype, seed))
        except VizkitError as error:
            found.append(Examination(backend, device, started.versions(), started.threads(), error=str(error)))
    return found


def main(arguments: Sequence[str]) -> None:
    """``examine ORDER``, a JSON object {backend, devices, dtype, seed, threads}: prints a JSON list of examinations."""
    order = json.loads(arguments[0])
    print(json.dumps([asdict(one) for one in examinations(**order)]))


if __name__ == "__main__":
    main(sys.argv[1:])
