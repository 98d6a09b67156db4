"""Folders of many pictures: how they are listed, read, shared among workers, and what a million would take.

    python -m benchmarks.folders --out benchmarks/results/folders.json     # half an hour on two cores
    python -m benchmarks.folders --only workers --only cluster             # some of it, added to the file

Each measurement is a process of its own. Only public functions are called, as a user would.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

import vizkit
from benchmarks.timing import child, processor
from vizkit import folders

OUT = Path(__file__).parent / "results" / "folders.json"
NETWORK, LARGE = "squeezenet1_0", "resnet50"
LAYERS = ["features.3", "features.7", "features.12"]
SHALLOW = ["features.2"]
PHOTO = (500, 375)
"""Width and height of ImageNet's photos, mostly."""


def photos(root: Path, count: int, size: tuple[int, int] = PHOTO) -> Path:
    """So many different JPEG photos, of about as many bytes as ImageNet's."""
    width, height = size
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    for k in range(count):
        rng = np.random.default_rng(k)
        a, b, c = rng.uniform(3, 30, 3)
        waves = np.stack([np.sin(a * across + b * down), np.cos(b * across * down), np.sin(c * down)], 2)
        pixels = 127 + 90 * waves + rng.normal(0, 12, (height, width, 1))
        folder = root / f"class{k % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{k:06}.jpg", quality=92)
    return root


def small(root: Path, count: int) -> Path:
    """So many different small pictures, in folders of a thousand."""
    for k in range(count):
        folder = root / f"{k // 1000:04}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{k:06}.png", compress_level=1)
    return root


def used(run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it gives; its wall time, and the processor time of this process and of its children, in seconds."""
    before, began = os.times(), time.perf_counter()
    found = run()
    after = os.times()
    own = after.user + after.system - before.user - before.system
    others = after.children_user + after.children_system - before.children_user - before.children_system
    return found, {"seconds": time.perf_counter() - began, "own_cpu": own, "children_cpu": others}


def peak() -> float:
    """MiB of this process at most."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def listing(count: int, root: Path) -> list[dict[str, Any]]:
    """Empty files, a thousand in a folder, listed and looked at for changes."""
    for folder in range(count // 1000):
        (root / f"n{folder:08}").mkdir()
        for k in range(1000):
            os.close(os.open(root / f"n{folder:08}" / f"n{folder:08}_{k * 7919 % 100_000:05}.JPEG", os.O_CREAT))
    held = resident()
    found, listed = used(lambda: folders.find(root))
    kept = resident() - held
    _, looked = used(found.fingerprint)
    return [{"count": len(found), "kept_MiB": kept, "find": listed, "fingerprint": looked}]


def resident() -> float:
    """MiB of this process now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20


def growth(count: int, root: Path, workers: int | None) -> list[dict[str, Any]]:
    """Health of the network of shapes over generated pictures; memory is this process's, which is the parent."""
    model, found = vizkit.load("shapes"), folders.find(small(root, count))
    vizkit.health(model, found.part(slice(0, 64)), SHALLOW)
    result, took = used(lambda: vizkit.health(model, found, SHALLOW, workers=workers))
    return [{"count": count, "workers": workers, "peak_MiB": peak(), **took, "sum": float(result.values.sum())}]


def workers(count: int, root: Path, rounds: int) -> list[dict[str, Any]]:
    """Health of a network in float64 by no, one and two workers in turn; all values have to be equal bit for bit."""
    model, found = vizkit.load(NETWORK, weights="random:7", dtype="float64"), folders.find(photos(root, count))
    first, rows = None, []
    for _ in range(rounds):
        for many in (None, 1, 2):
            result, took = used(lambda many=many: vizkit.health(model, found, LAYERS, workers=many))
            first = result if first is None else first
            same = bool(np.array_equal(result.values, first.values)) and result.table() == first.table()
            rows.append({"workers": many, "count": count, "same": same, **took})
    return rows


def cluster(count: int, root: Path) -> list[dict[str, Any]]:
    """The same on a local Dask cluster of two workers, and with one of them killed in the middle."""
    from distributed import LocalCluster

    model, found = vizkit.load(NETWORK, weights="random:7", dtype="float64"), folders.find(photos(root, count))
    here, alone = used(lambda: vizkit.health(model, found, LAYERS))
    rows = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as held:
        for kill in (False, True):
            victim = next(iter(held.workers.values())).process.process.pid
            timer = threading.Timer(alone["seconds"] / 2, os.kill, (victim, signal.SIGKILL))
            if kill:
                timer.start()
            result, took = used(lambda: vizkit.health(model, found, LAYERS, scheduler=held.scheduler_address))
            died = kill and not timer.is_alive()
            timer.cancel()
            same = bool(np.array_equal(result.values, here.values)) and result.table() == here.table()
            rows.append({"count": count, "killed": died, "same": same, **took})
    return rows


class Nothing:
    """A reader that keeps nothing, as the plain loop does."""

    grows = False

    def fresh(self) -> Nothing:
        return self

    def take(self, places: Sequence[int], batch: Any, activations: Mapping[str, Any]) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}

    def merge(self, part: Mapping[str, Any]) -> None:
        pass


def loader(count: int, root: Path, rounds: int) -> list[dict[str, Any]]:
    """Pictures a second through one network, by vizkit and by a plain loop over PyTorch's DataLoader, in turn."""
    import torch
    from torchvision import datasets, transforms

    model, found = vizkit.load(NETWORK, weights="random:7"), folders.find(photos(root, count))
    usual = transforms.Compose(
        [transforms.Resize(model.spec.resize), transforms.CenterCrop(model.spec.size), transforms.ToTensor(),
         transforms.Normalize(model.spec.mean, model.spec.std)]
    )  # fmt: skip
    data, native = datasets.ImageFolder(str(root), usual), vizkit.load(NETWORK, weights="random:7").native.eval()

    def plain(processes: int) -> None:
        with torch.inference_mode():
            for x, _ in torch.utils.data.DataLoader(data, batch_size=32, num_workers=processes):
                native(x).numpy()

    who: dict[str, Callable[[], Any]] = {
        "vizkit": lambda: folders.stream(model, found, ["output"], Nothing(), label="", batch_size=32),
        "DataLoader, 0 processes": lambda: plain(0),
        "DataLoader, 2 processes": lambda: plain(2),
    }
    rows = []
    for round_ in range(rounds + 1):
        for name, run in who.items():
            passed, took = used(run)
            waiting = {"waiting": passed.spent.share} if name == "vizkit" else {}
            if round_:
                rows.append({"who": name, "round": round_, "count": count, **took, **waiting})
    return rows


def decoding(count: int, root: Path) -> list[dict[str, Any]]:
    """Seconds to read a photo and make it ready, as large as ImageNet's and of a camera, without and with draft."""
    from vizkit import images

    spec, rows = vizkit.load("squeezenet1_0", weights="random:7").spec, []
    for size, many in ((PHOTO, count), ((4000, 3000), max(2, count // 16))):
        where = photos(root / str(size[0]), many, size)
        for draft in (None, 512):
            found = folders.find(where, draft=draft)
            _, took = used(lambda found=found: [images.prepare([one], spec) for one in found.items])
            bytes_ = sum(path.stat().st_size for path in where.rglob("*.jpg")) / many
            rows.append({"size": size, "draft": draft, "each": took["own_cpu"] / many, "bytes": bytes_})
    return rows


def rates(root: Path) -> list[dict[str, Any]]:
    """Processor time of one picture on one thread for the paper's network: health of all layers, and top patches; how
    large a part of each is, and what taking it up costs, which a run does that goes on from it."""
    vizkit.set_threads(1)
    model, found = vizkit.load(LARGE, weights="random:7"), folders.find(photos(root / "photos", 10))
    layer, rows = list(model.layers)[-4], []
    jobs: dict[str, Callable[..., Any]] = {
        "health of all layers": lambda some, **more: vizkit.health(model, some, **more),
        "top patches of a layer": lambda some, **more: vizkit.top_patches(model, some, layer, **more),
    }
    for k, (name, job) in enumerate(jobs.items()):
        state, some = root / f"state{k}", found.part(slice(0, 2))
        _, few = used(lambda job=job, some=some, state=state: job(some, state=state))
        _, again = used(lambda job=job, some=some, state=state: job(some, state=state))
        _, many = used(lambda job=job: job(found))
        size = sum(file.stat().st_size for file in state.iterdir())
        each = (many["own_cpu"] - few["own_cpu"]) / 8
        rows.append({"what": name, "network": LARGE, "each": each, "part_MB": size / 1e6, "part_cpu": again["own_cpu"]})
    return rows


def sharing(root: Path) -> list[dict[str, Any]]:
    """How long it takes until workers have done something."""
    model, found = vizkit.load("shapes"), folders.find(small(root, 2))
    _, started = used(lambda: vizkit.health(model, found, SHALLOW, workers=2))
    return [{"start": started["seconds"]}]


def tasks(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """The measurements, each by its function's arguments."""
    few = 10 if quick else 1
    return {
        "listing": [{"count": 1_000_000 // (100 if quick else 1)}],
        "decoding": [{"count": 64 // few}],
        "loader": [{"count": 128 // few, "rounds": 1 if quick else 5}],
        "workers": [{"count": 256 // few, "rounds": 1 if quick else 3}],
        "cluster": [{"count": 256 // few}],
        "rates": [{}],
        "sharing": [{}],
        "growth": [{"count": n // few, "workers": many} for many in (None, 2) for n in (2_000, 20_000)],
    }


CASES: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "listing": listing, "decoding": decoding, "loader": loader, "workers": workers, "cluster": cluster,
    "rates": rates, "sharing": sharing, "growth": growth,
}  # fmt: skip


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CASES)}; more of them.")] = None,
    out: Annotated[Path, typer.Option(help="JSON; what is there of other measurements stays.")] = OUT,
    quick: Annotated[bool, typer.Option(help="A tenth of everything, to see that it runs.")] = False,
    one: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure, each in a process of its own."""
    if one is not None:
        name, given = json.loads(one)
        with tempfile.TemporaryDirectory(prefix="vizkit-folders-") as folder:
            print(json.dumps(CASES[name](root=Path(folder), **given)))
        return
    report = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for name in only or CASES:
        rows: list[dict[str, Any]] = []
        for given in tasks(quick)[name]:
            rows += child("benchmarks.folders", "--one", json.dumps([name, given]))
        report[name] = {"rows": rows, "load": os.getloadavg()[1], "cores": os.cpu_count()}
        print(name, json.dumps(rows)[:400], flush=True)
        report |= {"processor": processor()}
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
