"""Saliency and a dream step against a hand-written minimal loop in the same framework, in one run.

    python -m benchmarks.floor --backend torch --backend gluon --out benchmarks/results/floor.json

The floor is what an expert would write by hand: frozen parameters, inference semantics, nothing else. In Gluon,
"homework" is the published notebook's way, with a gradient for every weight. Results are checked to be equal before
they are timed. Each backend runs in a process of its own, with the number of threads stated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import vizkit
from benchmarks.peers import Upto
from benchmarks.timing import Contestant, child, paired, spread, write
from vizkit import images
from vizkit.techniques.dreams.recipe import Recipe

SIZE = 224
DREAM_LAYERS = {"vgg19": "features.18", "resnet152": "layer2", "googlenet": "inception4a"}


def torch_floor(model: Any, x: Any, index: int, recipe: Recipe) -> tuple[Contestant, Contestant]:
    """Saliency and the gradient of one dream step by hand."""
    import torch
    import torch.nn.functional as F

    network, maps = model.native, Upto(model.native, recipe.layer)
    kernels = model.ops.asarray(np.stack([_scharr(), _scharr().T] * 3)[:, None])

    def saliency() -> Any:
        leaf = torch.from_numpy(x).requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(leaf)[0, index], leaf)
        return gradient.abs().amax(1).numpy()

    def dream() -> Any:
        leaf = torch.from_numpy(x).requires_grad_(True)
        activation = maps(leaf)[:, recipe.units[0]].pow(2).mean().sqrt()
        slopes = F.conv2d(leaf, kernels, groups=3)
        loss = -0.5 * activation + leaf.pow(2).mean().sqrt() + slopes.pow(2).mean().sqrt()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient.numpy()

    return saliency, dream


def gluon_floor(model: Any, x: Any, index: int, recipe: Recipe) -> tuple[Contestant, Contestant]:
    """The same in Gluon: training-mode recording with dropout and batch norm fixed, which alone is right on a CPU."""
    import mxnet as mx
    from mxnet import autograd, nd

    network, nodes = model.native, _gluon_prefix(model, recipe.layer)
    for block in _blocks(network):
        if isinstance(block, mx.gluon.nn.BatchNorm):
            block._kwargs["use_global_stats"] = True
        if isinstance(block, mx.gluon.nn.Dropout):
            block._rate = 0
    kernels = model.ops.asarray(np.stack([_scharr(), _scharr().T] * 3)[:, None])

    def dream() -> Any:
        leaf = nd.array(x)
        leaf.attach_grad()
        with autograd.record():
            maps = nodes(leaf)
            activation = nd.sqrt(nd.mean(maps[:, recipe.units[0]] ** 2))
            slopes = nd.Convolution(leaf, kernels, kernel=(3, 3), num_filter=6, num_group=3, no_bias=True)
            loss = -0.5 * activation + nd.sqrt(nd.mean(leaf**2)) + nd.sqrt(nd.mean(slopes**2))
        loss.backward()
        return leaf.grad.asnumpy()

    return gluon_saliency(network, x, index), dream


def gluon_homework(model: Any, x: Any, index: int) -> Contestant:
    """The notebook's way: every parameter keeps ``grad_req="write"``."""
    for parameter in model.native.collect_params().values():
        if not parameter.name.endswith(("running_mean", "running_var")):
            parameter.grad_req = "write"
    return gluon_saliency(model.native, x, index)


def gluon_saliency(network: Any, x: Any, index: int) -> Contestant:
    """The gradient of one logit, recorded in training mode."""
    from mxnet import autograd, nd

    def saliency() -> Any:
        leaf = nd.array(x)
        leaf.attach_grad()
        with autograd.record():
            score = network(leaf)[0, index]
        score.backward()
        return nd.max(nd.abs(leaf.grad), axis=1).asnumpy()

    return saliency


def _gluon_prefix(model: Any, layer: str) -> Any:
    """A plain function that runs the network's own blocks up to a layer."""
    network = model.native
    if model.name == "googlenet":
        names = [name for name in network._children if name not in ("avgpool", "dropout", "fc")]
        blocks = [network._children[name] for name in names[: names.index(layer) + 1]]
    else:
        count = {"vgg19": 19, "resnet152": 6}[model.name]
        blocks = list(network.features._children.values())[:count]

    def run(x: Any) -> Any:
        for block in blocks:
            x = block(x)
        return x

    return run


def _blocks(block: Any) -> list[Any]:
    return [block, *(inner for child in block._children.values() for inner in _blocks(child))]


def _scharr() -> Any:
    return np.array([[-3.0, 0, 3], [-10, 0, 10], [-3, 0, 3]])


def measure(backend: str, name: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """All rows of one backend and model."""
    vizkit.set_threads(threads)
    picture = images.noise(0, 255, size=SIZE, seed=1)
    model = vizkit.load(name, backend=backend, weights="random:7", optimise=False)
    x = images.prepare(picture, model.spec, fit="squash").tensor
    index = int(vizkit.saliency(model, picture, fit="squash").targets[0] or 0)
    recipe = Recipe(DREAM_LAYERS[name], (25,), 0.5, 1.0, 1.0, 1.0, "scharr")
    kernels = recipe.kernels(model.ops, 3)

    def saliency() -> Any:
        return vizkit.saliency(model, picture, target=index, fit="squash").values

    def dream() -> Any:
        leaves = {"x": model.ops.asarray(x)}
        _, gradients, _ = model.ops.value_and_grad(lambda given: recipe.loss(model, given["x"], kernels), leaves)
        return model.ops.numpy(gradients["x"])

    floor = {"torch": torch_floor, "gluon": gluon_floor}[backend]
    by_hand = floor(model, x, index, recipe)
    rows = []
    for what, ours, theirs in (("saliency", saliency, by_hand[0]), ("dream step", dream, by_hand[1])):
        contestants: dict[str, Contestant] = {"floor": theirs, "vizkit": ours}
        if backend == "gluon" and what == "saliency":
            other = vizkit.load(name, backend=backend, weights="random:7", optimise=False)
            gluon_floor(other, x, index, recipe)
            contestants["homework"] = gluon_homework(other, x, index)
        values = {key: np.asarray(run()) for key, run in contestants.items()}
        far = {key: float(np.linalg.norm(v - values["floor"]) / np.linalg.norm(v)) for key, v in values.items()}
        if max(far.values()) > 2e-2:
            raise SystemExit(f"{name} in {backend}, {what}: results differ, {far}; a timing would mean nothing.")
        for key, timing in paired("floor", contestants, rounds).items():
            rows.append({
                "backend": backend, "model": name, "what": what, "who": key, "median_ms": 1000 * timing.median,
                "ratio": timing.ratio, "ratio_quartiles": spread(timing.ratios), "relative_L2_to_floor": far[key],
            })  # fmt: skip
    return rows


def main(
    backend: Annotated[list[str] | None, typer.Option()] = None,
    model: Annotated[list[str] | None, typer.Option()] = None,
    rounds: int = 15,
    threads: int = 1,
    out: Path | None = None,
    is_child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Measure, print a table, and write JSON with versions and processor."""
    if is_child:
        rows = measure((backend or ["torch"])[0], (model or ["googlenet"])[0], threads, rounds)
        typer.echo(json.dumps(rows))
        return
    installed = {info.name: info for info in vizkit.backends() if info.installed}
    rows = []
    for one in backend or installed:
        for name in model or DREAM_LAYERS:
            options = ["--child", "--backend", one, "--model", name, "--rounds", rounds, "--threads", threads]
            found = child("benchmarks.floor", *options)
            rows += found
            for row in found:
                low, high = row["ratio_quartiles"]
                typer.echo(
                    f"{one:6} {name:10} {row['what']:10} {row['who']:9} {row['median_ms']:9.1f} ms   "
                    f"{row['ratio']:.3f} x floor ({low:.3f} to {high:.3f})"
                )
    versions = {name: installed[name].versions for name in backend or installed}
    write(out, {"threads": threads, "rounds": rounds, "versions": versions, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
