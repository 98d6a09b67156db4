"""PyTorch networks with further inputs and several results, and torchvision's detectors."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.errors import DisconnectedError, SettingError
from vizkit.targets import Class, Detection

if "torch" not in INSTALLED:
    pytest.skip("these are PyTorch's", allow_module_level=True)
import torch
from torch import nn
from torchvision.models import detection, segmentation
from torchvision.models._utils import IntermediateLayerGetter

SIZE = 16


def picture(seed: int = 3, side: int = SIZE) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def wrap(native: nn.Module, side: int = SIZE, **options: Any) -> Any:
    return vizkit.wrap(native, input_size=side, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def tensor(model: Any, *pictures: Any) -> Any:
    return torch.from_numpy(vizkit.images.prepare(list(pictures), model.spec, fit="squash").tensor).double()


class Part(nn.Module):
    def __init__(self, outputs: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()
        self.head = nn.Linear(4, outputs)

    def forward(self, x: Any) -> Any:
        return self.head(self.act(self.conv(x)).mean((2, 3)))


class Two(nn.Module):
    """A picture and, say, what is known of a patient, whose number counts times the picture's features."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.facts, self.names = Part(), nn.Linear(3, 5), nn.Embedding(4, 5)

    def forward(self, x: Any, facts: Any, *, name: Any = None, scale: float = 1.0) -> Any:
        found = self.part(x) * self.facts(facts)
        return scale * (found if name is None else found * self.names(name))


FACTS = np.array([[0.3, -1.0, 2.0]])
INPUTS: list[Any] = [
    [FACTS],
    (torch.from_numpy(FACTS),),
    [torch.from_numpy(FACTS).float()],
    {"facts": FACTS},
    {"facts": FACTS, "name": np.array([2]), "scale": 3.0},
]


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("inputs", INPUTS)
def test_further_inputs(inputs: Any, optimise: bool) -> None:
    import captum.attr

    network = Two().double().eval()
    model = wrap(network, inputs=inputs, optimise=optimise)
    images = [picture(1), picture(2)]
    x = tensor(model, *images)
    named = isinstance(inputs, dict)
    rest = {"name": torch.tensor([2, 2]), "scale": 3.0} if named and "name" in inputs else {}

    def run(x: Any) -> Any:
        return network(x, torch.from_numpy(FACTS).expand(len(x), 3), **{
            key: value[:1].expand(len(x)) if isinstance(value, torch.Tensor) else value for key, value in rest.items()
        })  # fmt: skip

    exact = 1e-7 if not named and isinstance(inputs[0], torch.Tensor) and inputs[0].dtype == torch.float32 else 1e-12
    expected = captum.attr.Saliency(run).attribute(x, target=3)
    found = vizkit.saliency(model, images, target=3, fit="squash")
    np.testing.assert_allclose(found.values, expected.amax(1), rtol=exact)
    integrated = captum.attr.IntegratedGradients(run).attribute(x, -2.0, target=3, n_steps=6)
    found = vizkit.integrated_gradients(model, images, target=3, steps=6, baseline="black", fit="squash")
    np.testing.assert_allclose(found.extra["attribution"], integrated, rtol=2e-6, atol=1e-9)  # its nodes are float32
    assert vizkit.gradcam(model, images, target=3, layer="part.act", fit="squash").values.shape == (2, SIZE, SIZE)
    assert vizkit.occlusion(model, images, target=3, fit="squash").values.std() > 0
    assert model.graph()["output"] if "output" in model.graph().by_name else model.graph().layers["output"]


@pytest.mark.quick
@pytest.mark.parametrize("inputs", [(), [FACTS, FACTS, FACTS], {"fact": FACTS}])
def test_inputs_that_do_not_fit(inputs: Any) -> None:
    with pytest.raises(SettingError, match=r"Two\.forward.*facts.*inputs="):
        wrap(Two().double(), inputs=inputs)


@pytest.mark.parametrize("optimise", [True, False])
def test_a_row_for_each_picture_is_refused(optimise: bool) -> None:
    model = wrap(Two().double(), inputs=[np.repeat(FACTS, 3, 0)], optimise=optimise)
    with pytest.raises(SettingError, match=r"returns \(3, \d\) for one picture; .* give one row"):
        vizkit.smoothgrad(model, picture(1), target=1, samples=3, fit="squash")


class Named(NamedTuple):
    features: Any
    scores: Any


@dataclass
class Record:
    scores: Any
    features: Any


class Several(nn.Module):
    def __init__(self, form: Any) -> None:
        super().__init__()
        self.part, self.form = Part(), form

    def forward(self, x: Any) -> Any:
        scores = self.part(x)
        return self.form(scores, 2 * scores[:, :2])


FORMS: dict[str, tuple[Any, Any]] = {
    "tuple": (lambda a, b: (b, a), 1),
    "list": (lambda a, b: [a, b], 0),
    "from the end": (lambda a, b: [b, a], -1),
    "dict": (lambda a, b: {"x": b, "scores": a}, "scores"),
    "named tuple": (lambda a, b: Named(b, a), "scores"),
    "named tuple by place": (lambda a, b: Named(b, a), 1),
    "dataclass": (lambda a, b: Record(a, b), "scores"),
    "function": (lambda a, b: {"deep": [b, (a,)]}, lambda result: result["deep"][1][0]),
    "logits, without a word": (lambda a, b: {"features": b, "logits": a}, None),
    "out, without a word": (lambda a, b: {"aux": b, "out": a}, None),
    "the only one, without a word": (lambda a, b: (a,), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_of_several_results(form: str) -> None:
    made, wanted = FORMS[form]
    torch.manual_seed(0)
    alone = vizkit.saliency(wrap(Part().double()), picture(), target=4, fit="squash")
    found = vizkit.saliency(wrap(Several(made).double(), output=wanted), picture(), target=4, fit="squash")
    np.testing.assert_array_equal(found.values, alone.values)


@pytest.mark.parametrize(
    ("form", "output", "says"),
    [
        (lambda a, b: (a, b), None, r"a tuple of 0 tensor \(1, 5\), 1 tensor \(1, 2\).*output="),
        (lambda a, b: {"x": a, "y": b}, None, "'x' tensor"),
        (lambda a, b: {"x": a, "y": b}, "z", "names no part"),
        (lambda a, b: (a, b), 2, "names no part"),
        (lambda a, b: (a, b), "x", "names no part"),
        (lambda a, b: (a, [b]), 1, "expected a tensor"),
        (lambda a, b: (a, b), lambda result: None, "expected a tensor"),
        (lambda a, b: None, None, "NoneType"),
    ],
)
def test_a_result_that_is_not_there(form: Any, output: Any, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        _ = wrap(Several(form).double(), output=output).layers


@pytest.mark.parametrize("output", [None, "logits"])
def test_the_classes_of_queries_are_no_classes_of_places(output: str | None) -> None:
    """Nine of them are not taken for a map of three by three."""

    def form(a: torch.Tensor, _b: torch.Tensor) -> Any:
        return {"logits": a.unsqueeze(1).expand(-1, 9, -1), "pred_boxes": a[:, :4]}

    with pytest.raises(SettingError, match=r"of 9 queries.*output=lambda result"):
        _ = wrap(Several(form).double(), output=output).layers
    assert wrap(Several(form).double(), output=lambda result: result["logits"][:, 7]).output_shape == (1, 5)


def test_steps_of_which_nobody_says_what_they_are() -> None:
    """Characters along a line, (N, T, C): a class is none of the steps."""
    lines = Several(lambda a, _b: a.unsqueeze(1).expand(-1, 7, -1)).double()
    for target in (None, 3, Class(3), "all"):
        with pytest.raises(SettingError, match=r"shape \(1, 7, 5\).*output=lambda result"):
            vizkit.saliency(wrap(lines), picture(1), target=target)
    step = wrap(lines, output=lambda result: result[:, 6])
    plain = wrap(Several(lambda a, _b: a).double())
    for one in (None, 3):
        found, expected = (vizkit.saliency(model, picture(1), target=one).values for model in (step, plain))
        np.testing.assert_array_equal(found, expected)
    whole = vizkit.targets.Function(lambda ops, output: output[:, 6, 3])
    np.testing.assert_array_equal(vizkit.saliency(wrap(lines), picture(1), target=whole).values, found)


def test_complex_numbers_are_no_scores() -> None:
    model = wrap(Several(lambda a, _b: torch.fft.fft(a)).double())
    with pytest.raises(SettingError, match=r"complex numbers.*result\.abs"):
        _ = model.layers


def test_the_usual_layer_of_a_segmentation_has_no_classes() -> None:
    """Also where the result is as wide as another layer is deep."""
    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)]
    found = vizkit.gradcam(wrap(nn.Sequential(*parts).double(), 8), picture(1), target=1, fit="squash")
    assert found.provenance["settings"]["layer"] == "1"


def test_a_number_without_an_axis() -> None:
    model = wrap(Several(lambda a, _b: a[:, :1].squeeze()).double())
    with pytest.raises(SettingError, match=r"a single number for one picture.*squeeze\(-1\)"):
        _ = model.layers


def test_a_picture_that_the_result_does_not_depend_on() -> None:
    model = wrap(Several(lambda a, _b: a.detach() + 0).double())
    with pytest.raises(DisconnectedError, match=r"does not depend on the picture.*no_grad"):
        vizkit.saliency(model, picture(1))


@pytest.mark.quick
def test_a_number_for_each_picture() -> None:
    """A regression, (N,)."""
    import captum.attr

    network = nn.Sequential(Part(1), nn.Flatten(0)).double().eval()
    model = wrap(network)
    assert model.output_shape == (1, 1)
    x = tensor(model, picture(1), picture(2))
    found = vizkit.gradient_x_input(model, [picture(1), picture(2)], fit="squash")
    expected = captum.attr.InputXGradient(network).attribute(x)
    np.testing.assert_allclose(found.extra["attribution"], expected.detach(), rtol=1e-10)


@pytest.mark.quick
def test_a_sigmoid_before_the_last_axis_is_dropped() -> None:
    network = nn.Sequential(Part(1), nn.Sigmoid(), nn.Flatten(0)).double().eval()
    model = wrap(network)
    sure = float(network(tensor(model, picture()))[0])
    np.testing.assert_allclose(model.predict(picture(), fit="squash")[0].probability, sure, rtol=1e-12)


def segmenting() -> nn.Module:
    """torchvision's, on a backbone of few channels."""
    torch.manual_seed(2)
    layers = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    layers.append(nn.Conv2d(16, 32, 3, 2, 1))
    found = IntermediateLayerGetter(nn.ModuleDict({"layer1": layers, "layer4": nn.ReLU()}), {"layer4": "out"})
    return segmentation.FCN(found, segmentation.fcn.FCNHead(32, 4)).double().eval()


def test_segmentation_against_peers() -> None:
    """torchvision's, of which "out" counts by itself."""
    import captum.attr
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget

    network, side = segmenting(), 32
    model = wrap(network, side)
    assert model.output_shape == (1, 4, side, side)
    x = tensor(model, picture(1, side))

    class Out(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: Any) -> Any:
            return self.inner(x)["out"]

    peer = captum.attr.Saliency(Out()).attribute(x, target=(2, 7, 20))
    found = vizkit.saliency(model, picture(1, side), target=Class(2, at=(7, 20)), fit="squash")
    np.testing.assert_allclose(found.values, peer.amax(1), rtol=1e-8, atol=1e-14)
    mask = np.zeros((side, side), np.float32)
    mask[4:20, 8:30] = 1
    cam = GradCAM(Out(), [network.backbone.layer4])(x, [SemanticSegmentationTarget(1, mask)])
    found = vizkit.gradcam(model, picture(1, side), target=Class(1, mask=mask), layer="backbone.layer4", fit="squash")
    ours = found.extra["cam"][0]
    assert np.ptp(ours) > 0
    large = vizkit.ops.bilinear_matrix(4, side)
    scaled = large @ ((ours - ours.min()) / (1e-7 + (ours - ours.min()).max())) @ large.T
    # Which is rescaled at the layer's resolution, enlarged in float32, and rescaled again.
    scaled = (scaled - scaled.min()) / (1e-7 + (scaled - scaled.min()).max())
    np.testing.assert_allclose(cam[0], scaled, atol=2e-6)


def backbone() -> nn.Module:
    """Of few channels, so that what is computed is the detectors' own."""
    parts = (
        nn.Conv2d(3, 32, 3, 4, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 3, 2, 1),
        nn.ReLU(),
    )
    network: Any = nn.Sequential(*parts)
    network.out_channels = 32
    return network


def anchors(*ratios: float) -> Any:
    return detection.anchor_utils.AnchorGenerator(((16,),), (ratios,))


def box_head() -> nn.Module:
    return detection.faster_rcnn.TwoMLPHead(32 * 7**2, 1024)


def mask_head() -> nn.Module:
    return detection.mask_rcnn.MaskRCNNHeads(32, (256,), 1)


def ssd() -> nn.Module:
    network: Any = backbone()
    network.out_channels = [32]
    boxes = detection.anchor_utils.DefaultBoxGenerator([[2]])
    return detection.ssd.SSD(network, boxes, (64, 64), 4, score_thresh=0.0, detections_per_img=8)


SIZES: dict[str, Any] = {"num_classes": 4, "min_size": 64, "max_size": 64}
OF_PROPOSALS: dict[str, Any] = {**SIZES, "box_score_thresh": 0.0, "box_detections_per_img": 8}
OF_ANCHORS: dict[str, Any] = {**SIZES, "score_thresh": 0.0, "detections_per_img": 8}
DETECTORS: dict[str, Any] = {
    "fasterrcnn": lambda: detection.FasterRCNN(
        backbone(), **OF_PROPOSALS, rpn_anchor_generator=anchors(0.5, 1.0, 2.0), box_head=box_head()
    ),
    "maskrcnn": lambda: detection.MaskRCNN(
        backbone(),
        **OF_PROPOSALS,
        rpn_anchor_generator=anchors(0.5, 1.0, 2.0),
        box_head=box_head(),
        mask_head=mask_head(),
    ),
    "retinanet": lambda: detection.RetinaNet(backbone(), **OF_ANCHORS, anchor_generator=anchors(0.5, 1.0, 2.0)),
    "fcos": lambda: detection.FCOS(backbone(), **OF_ANCHORS, anchor_generator=anchors(1.0)),
    "ssd": ssd,
}


def detector_of(kind: str) -> Any:
    """With weights that tell places and classes apart, as a trained one's do."""
    torch.manual_seed(5)
    network: Any = DETECTORS[kind]()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    if kind == "fcos":  # whose boxes have no area where this is not above 0
        nn.init.normal_(network.head.regression_head.bbox_reg.weight, std=0.01)
        nn.init.ones_(network.head.regression_head.bbox_reg.bias)
    return network.double().eval()


@pytest.mark.parametrize("kind", DETECTORS)
def test_detected_boxes(kind: str) -> None:
    """Scores and gradients are those of the detector's own results."""
    detector = detector_of(kind)
    model = vizkit.wrap(detector, input_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    image = picture(1, 64)
    x = torch.from_numpy(image.transpose(2, 0, 1) / 255.0)[None].float().double().requires_grad_()
    own = detector(list(x))[0]
    order = torch.argsort(own["scores"], descending=True, stable=True)
    found = model.detections(image, fit="squash")
    np.testing.assert_allclose([box.score for box in found], own["scores"][order].detach(), rtol=1e-9)
    np.testing.assert_allclose([box.corners for box in found], own["boxes"][order].detach(), rtol=1e-7, atol=1e-7)
    assert [box.index for box in found] == own["labels"][order].tolist()
    for i, target in ((0, None), (0, "box:0"), (1, Detection(1))):
        (gradient,) = torch.autograd.grad(own["scores"][order[i]], x, retain_graph=True)
        assert gradient.abs().max() > 1e-6
        saliency = vizkit.saliency(model, image, target=target, fit="squash")
        np.testing.assert_allclose(saliency.values, gradient.abs().amax(1), rtol=1e-6, atol=1e-12)
        assert f"class {found[i].index} in the box" in saliency.labels[0]
    chosen = found[2].index
    (gradient,) = torch.autograd.grad(own["scores"][own["labels"] == chosen].sum(), x)
    every = vizkit.saliency(model, image, target=chosen, fit="squash")
    np.testing.assert_allclose(every.values, gradient.abs().amax(1), rtol=1e-6, atol=1e-12)
    first = next(k for k, box in enumerate(found) if box.index == chosen)
    by_box = vizkit.saliency(model, image, target=Detection(box=found[first].corners, target=chosen), fit="squash")
    by_place = vizkit.saliency(model, image, target=Detection(0, chosen), fit="squash")
    np.testing.assert_allclose(by_box.values, by_place.values, rtol=1e-9)
    with pytest.raises(SettingError, match="one more"):
        vizkit.saliency(model, image, target=Detection(99), fit="squash")


class Pyramid(nn.Module):
    """A backbone of two sizes."""

    out_channels = 32

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.fine, self.coarse = backbone(), nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 3, 2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.trunk(x)
        return OrderedDict(fine=self.fine(x), coarse=self.coarse(x))


def test_cams_of_a_detector_are_where_boxes_of_all_sizes_are_still_one(monkeypatch: pytest.MonkeyPatch) -> None:
    of_two = detection.anchor_utils.AnchorGenerator(((16,), (32,)), ((1.0,),) * 2)
    monkeypatch.setitem(DETECTORS, "two", lambda: detection.RetinaNet(Pyramid(), **OF_ANCHORS, anchor_generator=of_two))
    model = vizkit.wrap(detector_of("two"), input_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    image, shown = picture(1, 64), {}
    for i in range(len(model.detections(image, fit="squash"))):
        maps = {
            layer: vizkit.gradcam(model, image, target=f"box:{i}", layer=layer, relu=False, fit="squash")
            for layer in (None, "backbone.fine", "backbone.coarse")
        }
        assert maps[None].layer == "backbone.trunk"
        assert np.ptp(maps[None].values) > 0
        shown[i] = [np.ptp(maps[layer].values) > 0 for layer in ("backbone.fine", "backbone.coarse")]
    assert sorted(map(sum, shown.values())) == [1] * len(shown), "each is found at one size"
    assert {one[0] for one in shown.values()} == {True, False}, "at both sizes"


def test_a_box_is_followed_into_a_changed_picture() -> None:
    """Occlusion: what its best heir scores; nothing where there is none."""
    network = detector_of("retinanet")
    network.detections_per_img = 200  # so that none of the heirs is left out
    model = vizkit.wrap(network, input_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    image = picture(1, 64)
    meant = model.detections(image, fit="squash")[0]
    found = vizkit.occlusion(model, image, window=32, stride=32, fit="squash").values[0]
    scores: list[float] = []
    for row, column in ((0, 0), (0, 32), (32, 0), (32, 32)):
        hidden = image.copy()
        hidden[row : row + 32, column : column + 32] = 0
        heirs = [box for box in model.detections(hidden, fit="squash") if box.index == meant.index]
        shares = [overlap(box.corners, meant.corners) for box in heirs]
        best = int(np.argmax(shares)) if shares else 0
        score = heirs[best].score if shares and shares[best] > 0.5 else 0.0
        scores.append(score)
        np.testing.assert_allclose(found[row, column], meant.score - score, rtol=1e-9, atol=1e-15)
    assert max(scores) > 0.0
    assert min(scores) < meant.score


def overlap(a: Any, b: Any) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return float(wide * high / (sum(areas) - wide * high))


def test_a_network_without_boxes_and_one_with() -> None:
    with pytest.raises(SettingError, match="detects no boxes"):
        wrap(Part().double()).detections(picture())
    model = vizkit.wrap(detector_of("ssd"), input_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(vizkit.errors.ShapeError, match=r"model\.detections"):
        model.predict(picture(1, 64))


@pytest.mark.quick
def test_nothing_is_left_behind() -> None:
    network = Two().double()
    before = copy.deepcopy(network.state_dict())
    model = wrap(network, inputs=[FACTS])
    vizkit.gradcam(model, picture(), layer="part.act", fit="squash")
    assert not any(module._forward_hooks for module in network.modules())
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
