"""The drawing shows the traced graph: no edge more, none less; and its files are what they should be."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import INSTALLED, both, call
from kits import TRAPS, TRAPS_SIZE, blank
from PIL import Image

import vizkit
from vizkit import results
from vizkit.contract.graph import Node
from vizkit.draw.network.layout import layout
from vizkit.draw.network.steps import items, joined_size, steps
from vizkit.errors import SettingError
from vizkit.network import scene
from vizkit.network.diagram import Diagram, diagram

torch_only = pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch's own DenseNet")
SVG = "{http://www.w3.org/2000/svg}"


@lru_cache(maxsize=8)
def load(model: str, name: str = "torch") -> Any:
    return blank.load(model, name)


def drawn_edges(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Edges and operations of an SVG: arrows, and the operations within a box one after the other."""
    root = ElementTree.fromstring(text)
    arrows = [(one.get("data-source"), one.get("data-target")) for one in root.iter(f"{SVG}path")]
    boxes = [str(one.get("data-nodes")).split() for one in root.iter(f"{SVG}polygon") if one.get("data-nodes")]
    within = [pair for names in boxes for pair in pairwise(names)]
    found = [(str(source), str(target)) for source, target in arrows if source and target]
    return found + within, [name for names in boxes for name in names]


@pytest.mark.parametrize("model", ["googlenet", "squeezenet1_1", "resnet18"])
def test_the_drawing_has_exactly_the_edges_of_the_graph(model: str, name: str) -> None:
    loaded = load(model, name)
    graph = loaded.graph()
    edges, nodes = drawn_edges(scene.svg(diagram(loaded, collapse=False).scene))
    assert sorted(nodes) == sorted(node.name for node in graph.nodes)
    assert sorted(edges) == sorted(graph.edges)


def test_a_collapsed_drawing_leaves_out_copies_alone(name: str) -> None:
    """Googlenet has no two equal blocks, so nothing is left out; resnet50 shows one of each."""
    whole, short = (diagram(load("googlenet", name), collapse=collapse) for collapse in (False, True))
    assert whole.scene.shapes == short.scene.shapes
    drawn = diagram(load("resnet50", name))
    groups = {item.name: item.copies for item in drawn.items if item.is_block}
    assert {key: len(copies) + 1 for key, copies in groups.items()} == {
        "layer1.0": 1,
        "layer1.1": 2,
        "layer2.0": 1,
        "layer2.1": 3,
        "layer3.0": 1,
        "layer3.1": 5,
        "layer4.0": 1,
        "layer4.1": 2,
    }
    edges, nodes = drawn_edges(scene.svg(drawn.scene))
    hidden = tuple(f"{copy}{mark}" for copies in groups.values() for copy in copies for mark in "./")
    graph = load("resnet50", name).graph()
    assert sorted(nodes) == sorted(node.name for node in graph.nodes if not node.name.startswith(hidden))
    shown = {edge for edge in graph.edges if not edge[0].startswith(hidden) and not edge[1].startswith(hidden)}
    assert shown <= set(edges) <= set(graph.edges)


def tokens(layers: int) -> Any:
    """A transformer's shape: patches and a class token, layers of two residual parts each, one dense layer."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.up, self.down = nn.Linear(3, 3), nn.Linear(3, 12), nn.Linear(12, 3)

        def forward(self, x: Any) -> Any:
            x = x + self.mix(x)
            return x + self.down(torch.relu(self.up(x)))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 3))
            self.layers, self.head = nn.Sequential(*(Layer() for _ in range(layers))), nn.Linear(3, 5)

        def forward(self, x: Any) -> Any:
            x = torch.cat([self.token.expand(len(x), 1, 3), x.flatten(2).transpose(1, 2)], 1)
            return self.head(self.layers(x)[:, 0])

    return vizkit.wrap(Network(), input_size=4, mean=(0,) * 3, std=(1,) * 3)


@torch_only
@pytest.mark.quick
def test_parts_that_repeat_together_are_drawn_once_and_the_page_has_each(tmp_path: Path) -> None:
    drawn = diagram(tokens(5))
    (block,) = (item for item in drawn.items if item.is_block)
    assert (block.name, block.copies) == ("layers.0", ("layers.1", "layers.2", "layers.3", "layers.4"))
    assert block.last + 1 == block.steps[0] + 5 * len(block.steps)
    text = scene.svg(drawn.scene)
    assert "5 × this block" in text
    assert ">dense, 12<" in text  # of the last axis, where tokens come before it
    assert "layers.1.up" not in text
    page = saved(drawn, tmp_path / "vit.html").read_text(encoding="utf-8")
    assert page.count('<details class="block"') == 5
    assert "layers.3.up" in page
    assert sum(item.is_block for item in diagram(tokens(5), collapse=False).items) == 10


@pytest.mark.quick
def test_a_concatenation_says_how_long_it_is_along_its_own_axis() -> None:
    def size(shape: tuple[int, ...], *parts: tuple[int, ...]) -> int | None:
        node = Node("x", "concat", tuple(map(str, range(len(parts)))), shape)
        return joined_size(node, {str(k): one for k, one in enumerate(parts)})

    assert size((1, 14, 14, 384), *[(1, 14, 14, 96)] * 4) == 384
    assert size((1, 256, 28, 28), (1, 192, 28, 28), (1, 64, 28, 28)) == 256
    assert size((1, 197, 768), (1, 196, 768)) == 197  # the other part is a parameter, which is no node
    assert size((1, 4), (1, 2, 2)) is None


@torch_only
def test_huge_blocks_are_closed_boxes_that_the_page_opens(tmp_path: Path) -> None:
    drawn, whole = (diagram(load("densenet121"), collapse=one) for one in (True, False))
    assert drawn.scene.width < 1800 < whole.scene.width
    assert drawn.scene.height < 400 < whole.scene.height
    text = scene.svg(drawn.scene)
    assert "73 boxes inside" in text
    assert "The HTML page opens them" in text
    assert "boxes inside" not in scene.svg(whole.scene)
    nodes = drawn_edges(text)[1]
    assert sorted(nodes) == sorted(node.name for node in load("densenet121").graph().nodes)
    page = saved(drawn, tmp_path / "dense.html").read_text(encoding="utf-8")
    assert page.count('<details class="block"') == 4
    assert "denselayer24" in page


@torch_only
def test_boxes_and_edges_keep_apart() -> None:
    """Within a block no two boxes share a place, ranks rise along every edge, and no edge runs over a box."""
    found = steps(load("densenet121").graph())
    blocks = [item for item in items(found) if item.is_block]
    assert [item.name for item in blocks] == [f"features.denseblock{i}" for i in (1, 2, 3, 4)]
    for item in blocks:
        plan = layout(found, item)
        places = [plan.at[i] for i in item.steps] + [point for path in plan.paths.values() for point in path]
        assert len(places) == len(set(places))
        for (source, target), path in plan.paths.items():
            ranks = [plan.at[source][0], *(rank for rank, _ in path), plan.at[target][0]]
            assert ranks == list(range(ranks[0], ranks[0] + len(ranks)))


class Page(HTMLParser):
    """Tags in balance, nothing loaded from elsewhere, ids once."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not {"src", "href"} & set(given)
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.ids += [str(given["id"])] if "id" in given else []
        if tag not in ("meta", "br", "rect", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def saved(drawn: Diagram, path: Path) -> Path:
    written = drawn.save(path)
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []
    return written


def test_the_page_holds_every_block(tmp_path: Path, name: str) -> None:
    drawn = diagram(load("resnet50", name))
    text = saved(drawn, tmp_path / "net.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert text.count('<details class="block"') == 16
    assert text.count('<details class="group"') == 4
    edges = set(re.findall(r'data-source="([^"]+)" data-target="([^"]+)"', text))
    into_add = {edge for edge in load("resnet50", name).graph().edges if edge[1].endswith("/add")}
    assert len(into_add) == 32
    assert into_add <= edges
    found = re.search(r'<script type="application/json" id="provenance">(.*)</script>', text)
    assert found
    assert json.loads(found[1])["model"] == "resnet50"


def test_provenance_is_inside_every_file(tmp_path: Path, name: str) -> None:
    drawn = diagram(load("shapes", name))
    assert results.read_provenance(saved(drawn, tmp_path / "net.png"))["technique"] == "diagram"
    assert Image.open(tmp_path / "net.png").size[0] > 1200
    root = ElementTree.parse(saved(drawn, tmp_path / "net.svg")).getroot()
    about = root.find(f"{SVG}metadata")
    assert about is not None
    assert json.loads(str(about.text)) == drawn.provenance
    assert b'"technique": "diagram"' in saved(drawn, tmp_path / "net.pdf").read_bytes().replace(b"\\", b"")
    with pytest.raises(SettingError, match=r"suffix must be one of \.svg"):
        drawn.save(tmp_path / "net.gif")
    with pytest.raises(SettingError, match="cannot be written"):
        drawn.save(tmp_path / "nowhere" / "net.svg")


@pytest.mark.quick
@both()
def test_sequential_networks_look_the_same_in_both_backends() -> None:
    one, other = (diagram(load("shapes", name)) for name in ("torch", "gluon"))
    assert one.scene == other.scene


def test_styles(kit: Any) -> None:
    spec: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    row = vizkit.wrap(kit.sequential(TRAPS), input_size=TRAPS_SIZE, **spec)
    assert diagram(row).scene == diagram(row, style="volumes").scene
    edges, _ = drawn_edges(scene.svg(diagram(row, style="flow").scene))
    assert sorted(edges) == sorted(row.graph().edges)
    forked = vizkit.wrap(kit.side(), input_size=6, **spec)
    edges, _ = drawn_edges(scene.svg(diagram(forked).scene))
    assert sorted(edges) == sorted(forked.graph().edges)
    with pytest.raises(SettingError, match="has branches"):
        diagram(forked, style="volumes")
    with pytest.raises(SettingError, match="style='cubes'"):
        diagram(row, style="cubes")


def test_the_command(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "diagram", "squeezenet1_1", "-b", name)
    assert code == 0, err
    assert out == "wrote diagram-squeezenet1_1.svg\n"
    code, _, err = call(capsys, "diagram", "squeezenet1_1", "-b", name, "-o", "net.jpg")
    assert code == 2
    assert "net.jpg" in err
