"""How often each technique brings something to a GPU, reads from it, and goes through the network: exact numbers,
counted on a device without values. Every step that is recorded there is shown to be one that a recording can hold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.objectives import diversity, unit
from vizkit.parametrisations import Fourier, Pixels
from vizkit.techniques.dreams import checkpoint as _checkpoint
from vizkit.techniques.dreams import trace as _trace
from vizkit.techniques.dreams.ascent import RESCUE, Ascent
from vizkit.techniques.dreams.optimise import optimiser
from vizkit.transforms import STANDARD, Blur, ColourJitter, Crop, Flip, Noise, Pad, Resize

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
from kits import blind
from kits.blind import FORWARD, GRADIENT, READ, UPLOAD
from kits.perturb import SIXTEEN

pytestmark = [
    pytest.mark.filterwarnings("ignore::vizkit.errors.MapWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
Counts = tuple[int, int, int, int]
"""Uploads, readings, passes forward, and gradients, each of which is a pass forward, too."""
CHANNELS, WINDOWS, BASELINES, ENDS = 8, 16, 3, 2
SHAP = 20
"""Samples of Kernel SHAP beyond those of the others: there must be as many as superpixels."""


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
        yield blind.install(monkeypatch)


def counts(device: blind.Device, call: Callable[[], Any]) -> Counts:
    """Of a call, once constants are there."""
    call()
    device.story.clear()
    call()
    uploads, reads, forwards, gradients = map(device.count, (UPLOAD, READ, FORWARD, GRADIENT))
    return uploads, reads, forwards, gradients


class Size:
    """Images, samples of each, and a batch; and how many batches those are."""

    def __init__(self, images: int, samples: int, batch: int) -> None:
        self.n, self.samples, self.batch = images, samples, batch
        self.images = math.ceil(images / batch)
        self.together = self.across(samples)
        self.each = self.apart(samples)

    def across(self, samples: int) -> int:
        """Batches that span images."""
        return math.ceil(self.n * samples / self.batch)

    def apart(self, samples: int) -> int:
        """Batches of each image by itself."""
        return self.n * math.ceil(samples / self.batch)


Expected = Callable[[Size], Counts]
# Images are uploaded in batches where they are seen once, and one by one where they are seen many times. Samples add to
# passes alone, but for the few numbers of RISE's masks and of the superpixels that are on, which come with each batch.
METHODS: dict[str, tuple[Callable[[int], dict[str, Any]], Expected]] = {
    "saliency": (lambda _: {}, lambda s: (s.images + 1, s.images, s.images, s.images)),
    "gradcam": (lambda _: {}, lambda s: (s.images + 1, 2 * s.images, s.images, s.images)),
    "smoothgrad": (
        lambda samples: {"samples": samples},
        lambda s: (2 + s.n, s.n, s.together, s.together),
    ),
    "vargrad": (
        lambda samples: {"samples": samples},
        lambda s: (2 + s.n, 2 * s.n, s.together, s.together),
    ),
    "integrated_gradients": (
        lambda samples: {"steps": samples},
        lambda s: (3 + 2 * s.n, 2 * s.n, s.across(s.samples + ENDS), s.across(s.samples + ENDS)),
    ),
    "gradient_shap": (
        lambda samples: {"samples": samples},
        lambda s: (
            s.images + 5 + 2 * s.n,
            s.images + s.n + 1,
            s.together + s.images + s.across(BASELINES),
            s.together,
        ),
    ),
    "occlusion": (
        lambda _: {"window": 5, "stride": 4},
        lambda s: (s.images + 2 + 3 * s.n, s.images + s.n, s.images + s.apart(WINDOWS), 0),
    ),
    "rise": (
        lambda samples: {"samples": samples, "grid": 3},
        lambda s: (s.images + 3 * s.n + 3 * s.each, s.images + 2 * s.n, s.images + s.each, 0),
    ),
    "lime": (
        lambda samples: {"samples": samples, "segments": SIXTEEN},
        lambda s: (s.images + 4 * s.n + s.each, s.images + s.n, s.images + s.each, 0),
    ),
    "kernel_shap": (
        lambda samples: {"samples": samples + SHAP, "segments": SIXTEEN},
        lambda s: (
            s.images + 5 * s.n + s.n * (s.n > 1) + s.apart(s.samples + SHAP),
            s.images + 2 * s.n,
            s.images + s.n + s.apart(s.samples + SHAP),
            0,
        ),
    ),
    "scorecam": (
        lambda _: {},
        lambda s: (s.images + 2 + s.n, s.images + 1 + 2 * s.n, s.images + s.across(CHANNELS), 0),
    ),
    "ablationcam": (
        lambda _: {},
        lambda s: (s.images + 3 + s.n, s.images + 1 + 2 * s.n, s.images + s.across(CHANNELS), 0),
    ),
    "smooth_gradcam_plus_plus": (
        lambda samples: {"samples": samples},
        lambda s: (s.images + 2 + 4 * s.n, s.images + 5 * s.n, s.images + s.together, s.together),
    ),
}
PER_BATCH = ("rise", "lime", "kernel_shap")
"""Where something is brought to the device with each batch."""


def run(model: Any, method: str, size: Size, target: Any = 1) -> Any:
    settings = METHODS[method][0](size.samples)
    pictures = blind.photos(size.n)
    return getattr(vizkit, method)(model, pictures, target=target, batch_size=size.batch, fit="squash", **settings)


@pytest.mark.parametrize("size", [(1, 6, 4), (2, 6, 4), (2, 12, 24), (2, 3, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_asks_of_a_device(device: blind.Device, method: str, size: tuple[int, int, int]) -> None:
    model, given = blind.small_on_gpu(), Size(*size)
    assert counts(device, lambda: run(model, method, given)) == METHODS[method][1](given)


@pytest.mark.parametrize("size", [(1, 6, 4), (2, 6, 4), (2, 3, 1)])
@pytest.mark.parametrize("method", ["saliency", "gradcam", "smoothgrad", "vargrad"])
def test_what_the_top_1_costs(device: blind.Device, method: str, size: tuple[int, int, int]) -> None:
    """Logits are read, for each batch of images; under noise they are those of the image without it, one pass more."""
    model, given = blind.small_on_gpu(), Size(*size)
    own, more = METHODS[method][1](given), given.images
    extra = (more, more, more, 0) if method in ("smoothgrad", "vargrad") else (0, more, 0, 0)
    found = counts(device, lambda: run(model, method, given, target=None))
    assert found == tuple(a + b for a, b in zip(own, extra, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_read_between_the_samples_of_an_image(device: blind.Device, method: str) -> None:
    """So that a device works on while the host prepares the next batch."""
    model, size = blind.small_on_gpu(), Size(1, 12, 3)
    run(model, method, size)
    device.story.clear()
    run(model, method, size)
    what = GRADIENT if device.count(GRADIENT) else FORWARD
    places = [place for place, one in enumerate(device.story) if one == what]
    if what == FORWARD:
        # The first is of the image itself, and before the second's scores are read the target comes; Kernel SHAP's
        # last is of nothing.
        places = places[2 : -1 if method == "kernel_shap" else None]
    between = device.story[places[0] : places[-1]]
    assert READ not in between
    per_batch = {"rise": 3, "lime": 1, "kernel_shap": 1}.get(method, 0)
    assert between.count(UPLOAD) == per_batch * (len(places) - 1)
    assert (per_batch > 0) == (method in PER_BATCH)


def per(steps: int, together: int) -> int:
    return math.ceil(steps / together)


STEPS = [8, 20]
"""Fewer and more than RESCUE, and than a block of the fixture's."""


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short blocks of steps, so that few steps fill more than one."""
    monkeypatch.setattr(_checkpoint, "EVERY", 12)


@pytest.mark.parametrize("steps", STEPS)
def test_a_dream(device: blind.Device, steps: int) -> None:
    """It begins with one upload; each stage ends with its picture, and is read once in eight steps."""
    model = blind.small_on_gpu()
    found = counts(device, lambda: vizkit.dream(model, "5", [1, 2], stages=2, steps=steps, size=16))
    assert found == (1, 2 * per(steps, _trace.AHEAD) + 2 + 1, 2 * steps, 2 * steps)


def rendered(model: Any, steps: int, **changed: Any) -> Any:
    settings = {"objective": unit("5", [1, 2]), "parametrisation": Fourier(16), "transforms": (), "rescue": 0} | changed
    return vizkit.render(model, steps=steps, **settings)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("case", ["plain", "rescued", "penalised"])
@pytest.mark.usefixtures("blocks")
def test_a_rendering(device: blind.Device, case: str, steps: int) -> None:
    """Numbers of a block of steps are brought at a time. While a picture may have no gradient, each step is read; and
    differentiated twice where penalties have one of their own."""
    model, rescued = blind.small_on_gpu(), min(steps, RESCUE) if case != "plain" else 0
    more = rescued if case == "penalised" else 0
    changed: dict[str, Any] = {} if case == "plain" else {"rescue": RESCUE}
    if case == "penalised":
        changed["objective"] = unit("5", [1, 2]) - 0.1 * diversity("5")
    expected = (
        1 + per(steps, _checkpoint.EVERY) + 2,
        1 + per(steps, _trace.AHEAD) + rescued + 2,
        steps + more + 1,
        steps + more,
    )
    assert counts(device, lambda: rendered(model, steps, **changed)) == expected


def test_a_rendering_that_grows_and_shows_itself(device: blind.Device) -> None:
    """With a leaf and two running means at each of two growths, and a frame after 8 and after 16 of 24 steps, where the
    trace is read anyway, and at the end."""
    model = blind.small_on_gpu()
    uploads, reads, forwards, gradients = counts(device, lambda: rendered(model, 24, sizes=(12, 14, 16), every=8))
    assert (uploads, reads) == (1 + 1 + 2 + 2 * 3, 1 + 3 + 2 + 3 + 2 * 3)
    assert (forwards, gradients) == (25, 24)


@pytest.mark.parametrize("steps", STEPS)
def test_a_deep_dream(device: blind.Device, steps: int) -> None:
    """The photo, black and white, and the shifts of each of two octaves."""
    model, photo = blind.small_on_gpu(), np.zeros((64, 64, 3), np.uint8)
    found = counts(device, lambda: vizkit.deepdream(model, photo, "5", octaves=2, steps=steps, size=96))
    assert found == (3 + 2, per(2 * steps, _trace.AHEAD) + 1, 2 * steps, 2 * steps)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.usefixtures("blocks")
def test_an_inversion(device: blind.Device, steps: int) -> None:
    """Each layer is a rendering with a penalty; the photo is seen once in the loop, and once for all ten sets of
    pictures of the evidence."""
    model, photo = blind.small_on_gpu(), blind.photos(1)[0]
    rescued = min(steps, RESCUE)
    layer = (
        1 + per(steps, _checkpoint.EVERY) + 2 + 1 + 1,
        1 + per(steps, _trace.AHEAD) + rescued + 2,
        steps + rescued + 1 + 1 + 1,
        steps + rescued,
    )
    found = counts(device, lambda: vizkit.invert(model, photo, ["2", "5"], steps=steps, fit="squash"))
    assert found == tuple(2 * one for one in layer)


EVERY = (
    *STANDARD, Pad(2, "reflect"), Blur(2.0), Flip(), Noise(0.1), Crop(), ColourJitter(), Resize(16),
)  # fmt: skip


@pytest.mark.parametrize(("which", "alpha"), [("adam", False), ("nadam", True), ("ascent", False)])
def test_a_steady_step_of_a_rendering(device: blind.Device, which: str, alpha: bool) -> None:
    """Whatever the transforms: a gradient, and in eight steps a reading; that the step can be recorded is shown by the
    device itself."""
    model, objective = blind.small_on_gpu(), unit("5", [1, 2]) - 0.1 * diversity("2")
    shape = Pixels(16, alpha=alpha)
    moving = optimiser(which, model.ops, 0.05)
    ascent = Ascent(model, objective, EVERY, moving, 0)
    loop = ascent.begin(shape, 2)
    for _ in range(8):
        ascent.step(loop, rescued=True)
    device.story.clear()
    for _ in range(16):
        ascent.step(loop, rescued=False)
    assert device.story == ([GRADIENT, FORWARD] * _trace.AHEAD + [READ]) * 2
    assert {one.calls for one in device.recordings.values()} == {8, 24}


@pytest.mark.quick
def test_the_device_tells_what_a_recording_could_not_hold(device: blind.Device) -> None:
    """Each of its checks fails where it should."""
    ops = blind.small_on_gpu().ops
    record: Any = blind.small_on_gpu().recorded

    def uploads(given: Any) -> Any:
        return {"y": given["x"] + ops.asarray(np.ones(2))}

    def reads(given: Any) -> Any:
        ops.numpy(given["x"])
        return given

    def writes(given: Any) -> Any:
        given["x"] += 1.0
        return {"y": given["x"] * 2.0}

    def grows(given: Any) -> Any:
        sizes.append(1)
        return {"y": ops.zeros((len(sizes),))}

    def renames(given: Any) -> Any:
        sizes.append(1)
        return {f"y{len(sizes)}": given["x"] * 1.0}

    def twice(wrong: Any) -> None:
        step = record(wrong)
        for _ in range(2):
            step({"x": ops.zeros((2,))})

    sizes: list[int] = []
    for wrong, message in (
        (uploads, "brought something"), (reads, "read from it"), (writes, "must not write"), (grows, "same shapes"),
        (renames, "same shapes"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=message):
            twice(wrong)
    step = record(lambda given: {"y": given["x"] * 2.0})
    step({"x": ops.zeros((2,))})
    with pytest.raises(AssertionError, match="same shapes"):
        step({"x": ops.zeros((3,))})
