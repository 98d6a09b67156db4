"""Trains the ``shapes`` network on freshly drawn pictures: ``python -m benchmarks.train_shapes --out FOLDER``.

Writes three files into FOLDER: ``shapes.safetensors`` (the weights under torchvision's names, float32),
``shapes-training.json`` (the curves, the accuracy on pictures never trained on, and how it was run) and
``shapes-training.png`` (the curves). The same seed gives the same weights, byte for byte, on one machine with one
version of PyTorch and NumPy. Every picture shows one object, and none is seen twice: each step has its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from vizkit.support.files import replacing
from vizkit.support.progress import steps_bar
from vizkit.zoo.shapes import CLASSES, INPUT_SIZE, MEAN, STD, Samples, sample
from vizkit_torch.shapes import ShapesNet

STEPS = 1600
BATCH = 64
RATE = 4e-3
DECAY = 0.02
FIRST_DECAY = 0.5
"""Weight decay of the first convolution: strong, so that its filters show what was learned, not what was drawn."""

THREADS = 2
HELD_OUT = 6000
WATCHED = 600
CURVE_SEED, FINAL_SEED = 1, 0
"""Seeds of the ``"test"`` split: that of the accuracy curve, and that of the figures reported at the end."""

_CHUNK = 30
"""Batches drawn at once."""

_EVERY = 50


@dataclass
class Curves:
    """What the training saw, each list as long as its steps."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    held_out_step: list[int] = field(default_factory=list)
    held_out_accuracy: list[float] = field(default_factory=list)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """PyTorch seeded, deterministic and on two threads inside; its global state as it was afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            torch.set_num_threads(THREADS)
            torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.set_num_threads(threads)


def batches(seed: int, steps: int, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """``steps`` batches of the ``"train"`` split: inputs (B, 3, 96, 96) float32 and labels (B,) int64."""
    for step in range(steps):
        chunk, place = divmod(step, _CHUNK)
        if place == 0:
            drawn = sample(min(_CHUNK, steps - step) * batch, seed * 1_000_000 + chunk, split="train")
        part = slice(place * batch, (place + 1) * batch)
        yield as_input(drawn.images[part]), torch.from_numpy(drawn.labels[part])


def train(seed: int, steps: int, batch: int = BATCH) -> tuple[ShapesNet, Curves]:
    """Trains a fresh network with AdamW under a one-cycle rate.

    Example:
        >>> network, curves = train(seed=0, steps=2)
        >>> curves.step
        [2]
    """
    curves, watched = Curves(), sample(WATCHED, CURVE_SEED)
    with repeatable(seed), steps_bar("training", steps) as advance:
        network = ShapesNet().to(memory_format=torch.channels_last).train()
        first, *rest = network.parameters()
        groups: list[dict[str, Any]] = [{"params": [first], "weight_decay": FIRST_DECAY}, {"params": rest}]
        optimiser = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(steps, 2), pct_start=0.2)
        losses: list[float] = []
        right: list[float] = []
        for step, (x, label) in enumerate(batches(seed, steps, batch), 1):
            answer = network(x)
            loss = nn.functional.cross_entropy(answer, label)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            right.append(float((answer.argmax(1) == label).float().mean()))
            if step % _EVERY == 0 or step == steps:
                curves.step.append(step)
                curves.loss.append(float(np.mean(losses)))
                curves.accuracy.append(float(np.mean(right)))
                losses.clear()
                right.clear()
            if step % (4 * _EVERY) == 0 or step == steps:
                curves.held_out_step.append(step)
                curves.held_out_accuracy.append(_accuracy(network, watched))
            held_out = "".join(f", held out {value:.1%}" for value in curves.held_out_accuracy[-1:])
            advance(step, f"loss {loss.item():.3f}{held_out}")
    return network.eval(), curves


def _accuracy(network: ShapesNet, samples: Samples) -> float:
    return float((scores(network, samples.images).argmax(1) == samples.labels).mean())


def examine(network: ShapesNet, n: int = HELD_OUT) -> dict[str, Any]:
    """The accuracy on ``n`` pictures with one object, overall, per class and as a confusion matrix, and on a fifth
    as many pictures with two: how often the two highest scores are the two classes."""
    one, two = sample(n, FINAL_SEED), sample(max(n // 5, 1), FINAL_SEED, objects=2)
    with repeatable(FINAL_SEED):
        answer = scores(network, one.images).argmax(1)
        pair = np.sort(scores(network, two.images).argsort(1)[:, -2:], 1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (one.labels, answer), 1)
    return {
        "samples": n,
        "seed": FINAL_SEED,
        "accuracy": float((answer == one.labels).mean()),
        "per_class": {
            name: float(row[i] / row.sum()) if row.sum() else None
            for i, (name, row) in enumerate(zip(CLASSES, confusion, strict=True))
        },
        "confusion": confusion.tolist(),
        "two_objects": {"samples": len(two), "both_named": float((pair == np.sort(two.labels, 1)).all(1).mean())},
    }


def draw(curves: Curves) -> bytes:
    """The curves as a PNG."""
    figure = Figure(figsize=(8, 3), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(curves.step, curves.loss, color="#0072b2")
    left.set(xlabel="step", ylabel="loss (cross-entropy)", yscale="log")
    right.plot(curves.step, curves.accuracy, color="#0072b2", label="training batches (dropout on)")
    right.plot(curves.held_out_step, curves.held_out_accuracy, "o-", ms=3, color="#d55e00", label="held out")
    right.set(xlabel="step", ylabel="accuracy", ylim=(0, 1.02))
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def as_input(images: NDArray[np.uint8]) -> torch.Tensor:
    """The network's input (N, 3, 96, 96) float32, normalised, from pictures (N, 96, 96, 3) uint8."""
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 255
    return (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


@torch.no_grad()
def scores(network: ShapesNet, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The class scores (N, 12) of pictures (N, 96, 96, 3), with dropout off and batch norm's stored statistics."""
    was_training = network.training
    network.eval()
    found = [network(as_input(images[start : start + 240])).numpy() for start in range(0, len(images), 240)]
    network.train(was_training)
    return np.concatenate(found)


def weights_file(network: ShapesNet) -> bytes:
    """The safetensors file: float32 tensors under torchvision's names, and what is needed to use them."""
    tensors = {
        name: tensor.detach().contiguous().numpy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    about = {
        "format_version": "1",
        "input_size": str(INPUT_SIZE),
        "labels": json.dumps(CLASSES),
        "mean": json.dumps(MEAN),
        "model": "shapes",
        "std": json.dumps(STD),
    }
    content = save(tensors, about)
    # safetensors writes the strings in an order that changes from run to run: put them back in ours.
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]) | {"__metadata__": about}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[start:]


def main(
    out: Annotated[Path, typer.Option(help="Folder for the three files; made where it does not exist.")],
    seed: Annotated[int, typer.Option(min=0, help="Fixes the first weights, the pictures and the dropout.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help=f"Batches of {BATCH} fresh pictures.")] = STEPS,
) -> None:
    """Train the shapes network and store its weights, its curves and its accuracy."""
    began = time.perf_counter()
    network, curves = train(seed, steps)
    seconds = time.perf_counter() - began
    result = examine(network)
    weights = weights_file(network)
    report = {
        "model": "shapes",
        "held_out": result,
        "settings": {"seed": seed, "steps": steps, "threads": THREADS}
        | {"batch": BATCH, "rate": RATE, "decay": DECAY, "first_decay": FIRST_DECAY},
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "curves": asdict(curves),
    }
    out.mkdir(parents=True, exist_ok=True)
    text = (json.dumps(report, indent=1) + "\n").encode()
    for end, content in ((".safetensors", weights), ("-training.json", text), ("-training.png", draw(curves))):
        with replacing(out / f"shapes{end}") as temporary:
            temporary.write_bytes(content)
    typer.echo(
        f"Held-out accuracy {result['accuracy']:.2%} on {result['samples']} pictures, "
        f"both of two objects named on {result['two_objects']['both_named']:.2%}; "
        f"{len(weights):,} bytes of weights after {seconds:.0f} s in {out}",
        err=True,
    )


if __name__ == "__main__":
    typer.run(main)
