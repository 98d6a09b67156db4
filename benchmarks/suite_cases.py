"""What the suite times: one small function for each case, which gives contestants that were checked to agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import vizkit
from benchmarks import floor, peers, timing
from benchmarks.timing import Contestant
from vizkit import images
from vizkit.techniques.dreams.recipe import Recipe

SIZE = 224
STEPS, SAMPLES, NOISE = 50, 25, 0.15
CAM_LAYERS = {"vgg19": "features.35", "resnet152": "layer4", "googlenet": "inception5b"}


@dataclass
class Setting:
    """One network in one backend, optimised and plain, and a batch of noise for it."""

    backend: str
    name: str
    batch: int
    model: Any
    plain: Any
    pictures: list[Any]
    x: Any
    index: int

    def there(self) -> Any:
        """The batch as PyTorch's tensor."""
        import torch

        return torch.from_numpy(self.x)

    @property
    def options(self) -> dict[str, Any]:
        """What every technique here is given."""
        return {"target": self.index, "fit": "squash"}

    @property
    def recipe(self) -> Recipe:
        """The published dream's loss at this network's layer."""
        return Recipe(floor.DREAM_LAYERS[self.name], (25,), 0.5, 1.0, 1.0, 1.0, "scharr")


@dataclass
class Trial:
    """Contestants by name; ``base`` is the one that ratios refer to, ``apart`` how far each result is from vizkit's
    plain one, as ``kind`` says."""

    contestants: dict[str, Contestant]
    base: str
    apart: dict[str, float]
    kind: str = "relative L2"


def setting(backend: str, name: str, batch: int) -> Setting:
    """Load both models and make the input."""
    pictures = [images.noise(0, 255, size=SIZE, seed=1 + k) for k in range(batch)]
    model = vizkit.load(name, backend=backend, weights="random:7")
    plain = vizkit.load(name, backend=backend, weights="random:7", optimise=False)
    x = images.prepare(pictures, model.spec, fit="squash").tensor
    index = int(np.argmax(plain.ops.numpy(plain.forward(plain.ops.asarray(x[:1]))["output"])[0]))
    return Setting(backend, name, batch, model, plain, pictures, x, index)


def saliency(at: Setting) -> Trial:
    """Gradient at the input; by hand, by captum, and in Gluon the homework's way."""
    contestants = pair(at, lambda model: vizkit.saliency(model, at.pictures, **at.options).values)
    if at.batch == 1:
        by_hand = {"torch": floor.torch_floor, "gluon": floor.gluon_floor}[at.backend]
        other = vizkit.load(at.name, backend=at.backend, weights="random:7")
        contestants["floor"] = by_hand(other, at.x, at.index, at.recipe)[0]
    if at.backend == "gluon" and at.batch == 1:
        other = vizkit.load(at.name, backend="gluon", weights="random:7")
        by_hand(other, at.x, at.index, at.recipe)
        contestants["homework"] = floor.gluon_homework(other, at.x, at.index)
    if at.backend == "torch":
        contestants["captum"] = peers.captum_saliency(at.plain.native, at.there, at.index)
    return compared(contestants, "floor" if at.batch == 1 else "vizkit plain")


def gradcam(at: Setting) -> Trial:
    """Grad-CAM of the last layer with extent; peers' maps are scaled, so correlation says whether they agree."""
    layer = CAM_LAYERS[at.name]

    def run(model: Any) -> Any:
        return vizkit.gradcam(model, at.pictures, layer=layer, **at.options).extra["cam"]

    contestants = pair(at, run)
    if at.backend == "torch":
        contestants["floor"] = tail_by_hand(at, layer)
        contestants["captum"] = peers.captum_cam(at.plain.native, at.there, at.index, layer)
        contestants["pytorch-grad-cam"] = peers.grad_cam(at.plain.native, at.x, at.index, layer)
        contestants["torch-cam"] = peers.torch_cam(at.plain, at.x, at.index, layer)
    return compared(contestants, "floor" if at.backend == "torch" else "vizkit plain", "1 - correlation")


def tail_by_hand(at: Setting, layer: str) -> Contestant:
    """Grad-CAM that cuts the graph at the layer, so that only the tail is differentiated."""
    import torch

    network, found = at.plain.native, []

    def cut(_module: Any, _inputs: Any, output: Any) -> Any:
        found[:] = [output.detach().clone().requires_grad_(True)]
        return found[0].clone()

    def run() -> Any:
        handle = network.get_submodule(layer).register_forward_hook(cut)
        score = network(torch.from_numpy(at.x))[:, at.index].sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, found)
        cam = (gradient.mean((2, 3), keepdim=True) * found[0]).sum(1).relu()
        return cam.detach().numpy()

    return run


def integrated_gradients(at: Setting) -> Trial:
    """50 Gauss-Legendre points from black."""
    contestants = pair(
        at, lambda model: vizkit.integrated_gradients(model, at.pictures, steps=STEPS, **at.options).values
    )
    if at.backend == "torch":
        contestants["captum"] = peers.captum_path(at.plain, at.x, at.index, STEPS)
    return compared(contestants, "vizkit plain")


def smoothgrad(at: Setting) -> Trial:
    """25 samples. captum draws noise of its own, so it is compared where the noise is all but nothing."""

    def make(noise: float) -> dict[str, Contestant]:
        def run(model: Any) -> Any:
            return vizkit.smoothgrad(model, at.pictures, samples=SAMPLES, noise=noise, **at.options).values

        made = pair(at, run)
        if at.backend == "torch":
            made["captum"] = peers.captum_noise(at.plain, at.x, at.index, SAMPLES, noise)
        return made

    checked = compared(make(1e-7), "vizkit plain")
    return Trial(make(NOISE), "vizkit plain", checked.apart)


def scorecam(at: Setting) -> Trial:
    """Score-CAM, a pass for each channel. pytorch-grad-cam enlarges masks with aligned corners and weighs them by
    softmax, so its map is another one: it is timed, its distance stated, and not asked to be equal."""
    layer = CAM_LAYERS[at.name]
    contestants = pair(at, lambda model: vizkit.scorecam(model, at.pictures, layer=layer, **at.options).values)
    checked = compared(contestants, "vizkit plain", "1 - correlation")
    if at.backend == "torch":
        contestants["pytorch-grad-cam"] = peers.grad_cam(at.plain.native, at.x, at.index, layer, "ScoreCAM")
    return Trial(contestants, "vizkit plain", checked.apart, checked.kind)


def feature_maps(at: Setting) -> Trial:
    """Every layer's activation in one pass, beside the bare forward pass, which is the base."""
    layers = tuple(at.model.layers)

    def run(model: Any) -> Any:
        kept = model.forward(model.ops.asarray(at.x), (*layers, "output"))
        return model.ops.numpy(kept["output"])

    contestants = pair(at, run) | {"forward": bare(at)}
    return compared(contestants, "forward")


def bare(at: Setting) -> Contestant:
    """The framework's own forward pass."""
    network = at.plain.native
    if at.backend == "gluon":
        return lambda: network(at.plain.ops.asarray(at.x)).asnumpy()
    import torch

    def run() -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(at.x)).numpy()

    return run


def dream(at: Setting) -> Trial:
    """The published schedule, 46 sizes with 20 steps each; the first half size of the activation's trace must agree."""
    layer, stages, steps = at.recipe.layer, 46, 20
    unit = alive(at, 1)[0]

    def run(model: Any) -> Any:
        return vizkit.dream(model, layer, unit, stages=stages, steps=steps).step_activation[:, 0]

    contestants = pair(at, run)
    if has_blog(at):
        contestants["blog"] = peers.blog_dream(at.plain, layer, unit, stages, steps, noise_28(at.plain))
    return compared(contestants, "blog" if has_blog(at) else "vizkit plain", first=10)


def gallery(at: Setting) -> Trial:
    """Ten units at once, 46 sizes of one step, beside the blog's loop for each."""
    layer, stages, units = at.recipe.layer, 46, alive(at, 10)

    def run(model: Any) -> Any:
        return vizkit.dream(model, layer, units, stages=stages, steps=1).step_activation

    contestants = pair(at, run)
    if has_blog(at):
        start = noise_28(at.plain)
        loops = [peers.blog_dream(at.plain, layer, unit, stages, 1, start) for unit in units]
        contestants["blog"] = lambda: np.stack([loop() for loop in loops], axis=1)
    return compared(contestants, "blog" if has_blog(at) else "vizkit plain", first=5)


def has_blog(at: Setting) -> bool:
    """Whether the blog's loop can run: it takes the picture of 28 pixels through the whole network, which VGG19's last
    pool does not survive."""
    return at.backend == "torch" and at.name != "vgg19"


def alive(at: Setting, count: int) -> tuple[int, ...]:
    """The units that the dream's first picture excites most; a silent one would have nothing to climb."""
    layer = at.recipe.layer
    maps = at.plain.ops.numpy(at.plain.forward(at.plain.ops.asarray(noise_28(at.plain)), (layer,))[layer])
    return tuple(int(unit) for unit in np.argsort(-np.abs(maps[0]).mean((1, 2)))[:count])


def noise_28(model: Any) -> Any:
    """The dream's first picture."""
    start = np.random.default_rng(0).random((1, 3, 28, 28))
    return images.normalise(start, model.spec).astype(np.float32)


def pair(at: Setting, run: Callable[[Any], Any]) -> dict[str, Contestant]:
    """vizkit with its preparation and without."""
    return {"vizkit": lambda: run(at.model), "vizkit plain": lambda: run(at.plain)}


def compared(
    contestants: dict[str, Contestant], base: str, kind: str = "relative L2", first: int | None = None
) -> Trial:
    """Run each once and see how far it is from vizkit's plain result; of traces the ``first`` values."""
    values = {who: np.asarray(run(), dtype=np.float64)[:first] for who, run in contestants.items()}
    plain = values["vizkit plain"]
    apart = {who: difference(value, plain, kind) for who, value in values.items()}
    return Trial(contestants, base, apart, kind)


def difference(value: Any, plain: Any, kind: str) -> float:
    """Distance of one result; maps of another size are compared after bilinear enlargement."""
    if value.shape != plain.shape and kind != "relative L2":
        from vizkit.ops import bilinear_matrix

        if value.shape[-1] > plain.shape[-1]:
            rows, columns = (bilinear_matrix(plain.shape[axis], value.shape[axis]) for axis in (-2, -1))
            plain = rows @ plain @ columns.T
    if value.shape != plain.shape:
        raise SystemExit(f"results of shapes {value.shape} and {plain.shape} cannot be compared")
    if kind == "relative L2":
        return timing.apart(value, plain)
    # Picture by picture, since peers scale each map by itself.
    pictures = zip(value, plain, strict=True)
    return float(max(1 - np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pictures))


CASES: dict[str, Callable[[Setting], Trial]] = {
    "saliency": saliency, "gradcam": gradcam, "feature_maps": feature_maps, "dream": dream, "gallery": gallery,
    "smoothgrad": smoothgrad, "integrated_gradients": integrated_gradients, "scorecam": scorecam,
}  # fmt: skip
TOLERANCE = {"relative L2": 5e-2, "1 - correlation": 1e-2}
"""Above this a timing would compare different things. Gradients in float32 part by rounding at ties, up to a few %."""
HEAVY = ("smoothgrad", "integrated_gradients", "scorecam", "dream", "gallery")
BATCHED = ("saliency", "gradcam", "feature_maps")
"""Cases that are measured with 8 pictures, too."""
