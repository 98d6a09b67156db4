"""Layer-wise relevance propagation and DeepLIFT against saliency on the same network, in one run.

    python -m benchmarks.relevance --out benchmarks/results/relevance.json

Every composite, DeepLIFT with both of its rules, and in PyTorch, where the network has no batch norms, zennit's
composites of the same names. Each backend, network and batch runs in a process of its own, with the number of threads
stated; freed memory is kept for everyone.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import vizkit
from benchmarks.timing import Contestant, child, paired, spread, write
from vizkit import images

NETWORKS = ("vgg11", "resnet18", "googlenet", "squeezenet1_0")
ZENNIT = {
    "epsilon_plus_flat": "EpsilonPlusFlat",
    "epsilon_alpha2_beta1": "EpsilonAlpha2Beta1",
    "epsilon_gamma_box": "EpsilonGammaBox",
}


def zennit(model: Any, x: Any, targets: list[int]) -> dict[str, Contestant]:
    """zennit's composites on the model's own network; none where it would have to merge batch norms."""
    import torch

    if any(isinstance(module, torch.nn.BatchNorm2d) for module in model.native.modules()):
        return {}
    try:
        from zennit import attribution, composites
    except ImportError:
        return {}
    mean, std = (torch.tensor(one).reshape(1, 3, 1, 1) for one in (model.spec.mean, model.spec.std))
    marks = torch.eye(model.output_shape[1])[targets]

    def run(name: str) -> Any:
        box = {"low": -mean / std, "high": (1 - mean) / std} if name == "EpsilonGammaBox" else {}
        with attribution.Gradient(model.native, getattr(composites, name)(**box)) as peer:
            return peer(torch.from_numpy(x), lambda out: marks * out)[1].sum(1).numpy()

    return {f"zennit {name}": partial(run, peer) for name, peer in ZENNIT.items()}


def measure(backend: str, name: str, batch: int, threads: int, rounds: int, clock: str) -> list[dict[str, Any]]:
    """The rows of one backend, network and batch."""
    vizkit.set_threads(threads)
    vizkit.keep_memory()
    pictures = [images.noise(0, 255, size=224, seed=seed) for seed in range(batch)]
    model = vizkit.load(name, backend=backend, weights="random:7")
    targets = [int(index or 0) for index in vizkit.saliency(model, pictures).targets]
    given: dict[str, Any] = {"target": targets}
    contestants: dict[str, Contestant] = {"saliency": lambda: vizkit.saliency(model, pictures, **given)}
    for rules in vizkit.rules.COMPOSITES:
        contestants[f"lrp {rules}"] = partial(vizkit.lrp, model, pictures, rules=rules, **given)
    for rule in ("rescale", "reveal_cancel"):
        contestants[f"deeplift {rule}"] = partial(vizkit.deeplift, model, pictures, rule=rule, **given)
    if backend == "torch":
        contestants |= zennit(model, images.prepare(pictures, model.spec).tensor, targets)
    found = paired("saliency", contestants, rounds, clock=clock)
    return [
        {
            "backend": backend, "model": name, "batch": batch, "who": who, "median_ms": 1000 * timing.median,
            "ratio": timing.ratio, "ratio_quartiles": spread(timing.ratios), "rounds": rounds, "clock": clock,
            "load": os.getloadavg()[0],
        }
        for who, timing in found.items()
    ]  # fmt: skip


def main(
    backend: Annotated[list[str] | None, typer.Option()] = None,
    model: Annotated[list[str] | None, typer.Option()] = None,
    batch: Annotated[list[int] | None, typer.Option()] = None,
    rounds: int = 5,
    threads: int = 1,
    clock: Annotated[str, typer.Option(help="wall, or cpu: processor time, which other work disturbs less.")] = "cpu",
    out: Path | None = None,
    is_child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Measure, print a table, and write JSON with versions and processor."""
    installed = {info.name: info for info in vizkit.backends() if info.installed}
    backends, models, batches = backend or list(installed), model or list(NETWORKS), batch or [1, 4]
    if is_child:
        typer.echo(json.dumps(measure(backends[0], models[0], batches[0], threads, rounds, clock)))
        return
    rows = []
    for count in batches:
        for one in backends:
            for name in models:
                options = ["--backend", one, "--model", name, "--batch", count, "--rounds", rounds, "--clock", clock]
                found = child("benchmarks.relevance", "--child", *options, "--threads", threads, threads=threads)
                rows += found
                for row in found:
                    low, high = row["ratio_quartiles"]
                    typer.echo(
                        f"{one:6} {name:13} {count} {row['who']:30} {row['median_ms']:9.1f} ms   "
                        f"{row['ratio']:.2f} x saliency ({low:.2f} to {high:.2f})"
                    )
                versions = {key: installed[key].versions for key in backends}
                write(out, {"threads": threads, "versions": versions, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
