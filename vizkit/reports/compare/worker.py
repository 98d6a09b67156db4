"""What one fresh process computes: one technique of one network in one framework, on each image in turn.

``python -m vizkit.reports.compare.worker`` reads a request (JSON) from its input and writes an event (one JSON
a line) to its output for each cell that is begun, done or failed. Whatever else is printed goes to the error stream.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import results
from ...contract.backend import OUTPUT, Array, Model
from ...contract.errors import MapWarning, SettingError, VizkitError
from ...inputs import images
from ...inputs.images import Batch
from ...support.memory import peak, reset_peak, resident
from ...zoo.loading import load, set_threads
from . import cells
from .plan import FEATURE_MAPS, PREDICT, techniques

Request = Mapping[str, Any]
Arrays = dict[str, Array]
Outcome = tuple[Arrays, dict[str, Any]]


def selected(model: Model, layers: str | list[str]) -> list[str]:
    """The layers to compare: "all", or "blocks", those whose name has two parts at most, or the names given."""
    if isinstance(layers, list):
        for name in layers:
            model.check_layer(name)
        return layers
    return [name for name in model.layers if layers == "all" or name.count(".") <= 1]


def technique(model: Model, request: Request) -> Callable[[Batch], Outcome]:
    """The computation that is timed: images to raw arrays, and their provenance."""
    name = request["technique"]
    shared = {key: request[key] for key in ("fit", "input_range")}
    if name in (FEATURE_MAPS, PREDICT):
        keep = selected(model, request["layers"]) if name == FEATURE_MAPS else []

        def forward(batch: Batch) -> Outcome:
            kept = model.forward(model.ops.asarray(batch.tensor), (*keep, OUTPUT))
            found = {f"layers/{layer}": model.ops.numpy(kept[layer])[0] for layer in keep}
            found["logits"] = model.ops.numpy(kept[OUTPUT])[0]
            settings = {"layers": keep, **shared} if keep else shared
            return found, {**results.provenance(model, name, settings, batch), "signed": True}

        return forward
    run = techniques()[name]
    if run is None:
        raise SettingError(f"{name} is no technique of a study.")
    known = inspect.signature(run).parameters
    common = {**shared, "target": request["target"], "seed": request["seed"]}
    settings = {key: value for key, value in common.items() if key in known} | request["settings"]

    def attribute(batch: Batch) -> Outcome:
        found = run(model, batch, **settings)
        extra = {f"extra/{key}": value for key, value in found.extra.items()}
        return {"values": found.values[0], **extra}, {**found.provenance, "signed": found.signed}

    return attribute


def measure(run: Callable[[Batch], Outcome], batch: Batch, repeats: int) -> tuple[Outcome, Arrays]:
    """The outcome, the seconds of each of ``repeats`` runs after one that is not counted, and bytes of memory: what the
    process holds before, and its peak during the runs (the whole process' where the system cannot begin anew)."""
    memory = {"loaded_bytes": resident()}
    memory["peak_is_of_the_runs"] = reset_peak()
    outcome = run(batch)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        outcome = run(batch)
        taken.append(time.perf_counter() - start)
    memory["peak_bytes"] = peak()
    return outcome, {"seconds": np.array(taken), **{key: np.array(value) for key, value in memory.items()}}


def cell(
    model: Model, run: Callable[[Batch], Outcome], request: Request, one: Request, held: Arrays, folder: Path
) -> None:
    """Compute one cell and write its file; ``held`` is the memory that loading the network took."""
    shared = {key: request[key] for key in ("fit", "input_range")}
    path = Path(one["path"])
    batch = images.prepare(images.read(path), model.spec, **shared)
    batch = Batch(batch.tensor, batch.pictures, (one["image"],), batch.input_range)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MapWarning)
        (arrays, made), measured = measure(run, batch, request["repeats"])
    if "logits" not in arrays:
        arrays["logits"] = model.logits(batch)[0]
    made["weights"]["source"] = request["weights_name"]
    about = {
        **made,
        "identity": json.loads(one["identity"]),
        "labels": [model.spec.label(k) for k in np.argsort(-arrays["logits"], kind="stable")[:5]],
        "warnings": sorted({str(found.message) for found in caught if issubclass(found.category, MapWarning)}),
        "parameters": sum(int(np.prod(shape)) for shape in model.parameter_shapes().values()),
    }
    cells.write(folder / one["file"], {**arrays, **measured, **held, "picture": batch.pictures[0]}, about)


def kept(path: Path, model: Model) -> bool:
    """Whether the cell is there already, of the very same weights."""
    found = cells.read(path) if path.exists() else None
    return found is not None and found["weights"]["sha256"] == model.sha256()


def serve(request: Request, say: Callable[..., None]) -> None:
    """Every cell of the request; what goes wrong is said of the cell, and the next one is tried."""
    folder = Path(request["folder"])
    set_threads(request["threads"])
    try:
        how = {key: request[key] for key in ("backend", "weights", "device", "dtype")}
        model = load(request["model"], **how)
        model.sha256()  # here, so that its copies of the parameters do not count as the technique's memory
        held = {"loading_peak_bytes": np.array(peak())}
        run = technique(model, request)
    except VizkitError as error:
        for one in request["cells"]:
            say(failed=one["file"], error=str(error))
        return
    for one in request["cells"]:
        say(begun=one["file"])
        try:
            if not kept(folder / one["file"], model):
                cell(model, run, request, one, held, folder)
        except VizkitError as error:
            say(failed=one["file"], error=str(error))
        except Exception as error:
            say(failed=one["file"], error=f"{type(error).__name__}: {error}")
        else:
            say(done=one["file"])


def main() -> None:
    """Read the request and serve it; frameworks that print cannot disturb the events."""
    request = json.load(sys.stdin)
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as events:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(request, lambda **event: print(json.dumps(event), file=events, flush=True))


if __name__ == "__main__":
    main()
