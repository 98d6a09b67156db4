"""What networks attention methods take, which tokens they read, and what they say of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kits.attention import HEADS, LAST, METHODS, WIDTH, photo, vit, wrapped

import vizkit
from vizkit.cli import maps
from vizkit.errors import LayerError, MapWarning, SettingError, UnknownNameError
from vizkit.grid import Grid
from vizkit.reports.explain import explain, methods
from vizkit.techniques.network import table


@pytest.mark.quick
@pytest.mark.parametrize("aside", [2, 3])
def test_tokens_set_aside(aside: int) -> None:
    """A class token with a distillation token; and as many as only the user knows of."""
    torch = pytest.importorskip("torch")

    class Aside(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3, WIDTH, 8, 8)
            self.tokens = torch.nn.Parameter(torch.randn(1, aside, WIDTH))
            self.block = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
            return self.block(x, x, x)[0][:, 0]

    torch.manual_seed(0)
    native, layout = Aside().double(), {"block:attention": Grid("NTC", 1, 5, 3, 3)}
    if aside == 3:
        with pytest.raises(LayerError, match=r"18 to 18 tokens, which are not a picture's of \(40, 24\)"):
            vizkit.attention(wrapped(native, (40, 24)), photo(size=(40, 24)))
    model = wrapped(native, (40, 24), layout=layout if aside == 3 else None)
    found = vizkit.attention(model, photo(size=(40, 24)), head=1, fit="squash")
    raw = found.extra["attention"][0, 1, 0]
    np.testing.assert_array_equal(found.extra["cam"][0], raw[aside:].reshape(5, 3))


@pytest.mark.quick
def test_windows_are_refused() -> None:
    torch, torchvision = (pytest.importorskip(name) for name in ("torch", "torchvision"))
    torch.manual_seed(0)
    swin = torchvision.models.SwinTransformer([4, 4], 24, [1, 1, 1], [2, 4, 8], [7, 7], num_classes=5).eval()
    model = wrapped(swin, 112)
    picture = photo(size=(112, 112))
    for method in METHODS[1:]:
        with pytest.raises(LayerError, match=r"within windows: \(16, 2, 49, 49\).*gradcam"):
            getattr(vizkit, method)(model, picture)
    with pytest.raises(LayerError, match=r"features.3.0.attn:attention.*within windows.*one window"):
        vizkit.attention(model, picture, layer="features.3.0.attn:attention")
    assert not set(METHODS) & set(methods([model]))


@pytest.mark.quick
def test_tokens_that_are_pooled_are_refused() -> None:
    torch = pytest.importorskip("torch")

    class Pooled(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.pool = torch.nn.Conv2d(3, WIDTH, 8, 8), torch.nn.AvgPool2d(2)
            self.first, self.second = (torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True) for _ in range(2))

        def forward(self, x: Any) -> Any:
            x = self.patch(x)
            y = x.flatten(2).transpose(1, 2)
            x = self.pool(self.first(y, y, y)[0].transpose(1, 2).reshape(x.shape))
            y = x.flatten(2).transpose(1, 2)
            return self.second(y, y, y)[0].mean(1)

    model = wrapped(Pooled())
    with pytest.raises(LayerError, match="64 in 'first:attention' and 16 in 'second:attention'"):
        vizkit.attention_rollout(model, photo())
    assert vizkit.attention(model, photo(), layer="first:attention").extra["cam"].shape == (1, 8, 8)


@pytest.mark.quick
def test_fewer_tokens_to_look_at_are_refused() -> None:
    """Where keys and values are pooled, as in a pyramid."""
    torch = pytest.importorskip("torch")

    class Reduced(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3, WIDTH, 16, 16)
            self.attend = torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            few = x.unflatten(1, (4, 4)).mean(1)
            return self.attend(x, few, few)[0].mean(1)

    model = wrapped(Reduced())
    assert model.attention["attend:attention"].shape == (1, 2, 16, 4)
    for method in METHODS:
        with pytest.raises(LayerError, match="from 16 to 4 tokens"):
            getattr(vizkit, method)(model, photo())


@pytest.mark.quick
def test_it_is_read_as_it_is_and_has_no_channels() -> None:
    model = wrapped(vit())
    shown = vizkit.feature_maps(model, photo(), LAST, fit="squash")
    np.testing.assert_array_equal(shown.values, vizkit.attention(model, photo(), fit="squash").extra["attention"])
    for wrong in (
        lambda: vizkit.gradcam(model, photo(), layer=LAST),
        lambda: vizkit.render(model, vizkit.objectives.unit(LAST, 0), steps=1),
        lambda: vizkit.invert(model, photo(), [LAST], steps=1),
        lambda: vizkit.embed(model, [photo()] * 3, layer=LAST),
        lambda: vizkit.top_patches(model, [photo()], LAST),
        lambda: vizkit.top_units(model, photo(), LAST),
        lambda: model.weight(LAST),
    ):
        with pytest.raises(LayerError, match=r"is attention .* inside of a block, \(1, 2, 17, 17\)"):
            wrong()


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_attention_is_refused(method: str, kit: Any) -> None:
    model = wrapped(kit.sequential([("conv", 3, 4, 3, 1), ("flatten",), ("dense", 4 * 64, 3)]), 8)
    with pytest.raises(LayerError, match=r"has no attention.*Take vizkit.gradcam"):
        getattr(vizkit, method)(model, photo(size=(8, 8)))


@pytest.mark.quick
def test_what_makes_no_sense() -> None:
    model = wrapped(vit())
    with pytest.raises(LayerError, match=r"Layer 'encoder.ln' .* gives no attention.*self_attention:attention'"):
        vizkit.attention(model, photo(), layer="encoder.ln")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'encoder.layers.encoder_layer_"):
        vizkit.attention(model, photo(), layer=LAST.replace("self_", ""))
    with pytest.raises(SettingError, match="has 2 heads; take 0 to 1"):
        vizkit.attention(model, photo(), head=2)
    for settings in ({"fusion": "median"}, {"discard_ratio": 1.0}, {"discard_ratio": -0.1}):
        with pytest.raises(SettingError, match="expected one of 'mean', 'max', 'min', and 0 <= discard_ratio < 1"):
            vizkit.attention_rollout(model, photo(), **settings)


@pytest.mark.quick
def test_blank_weights_are_told() -> None:
    model = wrapped(vit())
    names = [name for name in model.parameter_shapes() if "in_proj" in name]
    blank = model.with_parameters({name: np.zeros(model.parameter_shapes()[name]) for name in names})
    with pytest.warns(MapWarning, match=r"attention of .* is 0.0588 everywhere: every token"):
        vizkit.attention(blank, photo())
    with pytest.warns(MapWarning, match="is zero everywhere: no attention speaks for the class"):
        vizkit.attention_relevance(blank, photo(), target=1)


@pytest.mark.quick
def test_the_table_of_layers_names_it(kit: Any) -> None:
    model = wrapped(vit())
    lines = table.text(model, table.rows(model)).splitlines()
    assert lines[-1].split() == [LAST, "1", "x", "2", "x", "17", "x", "17"]
    assert table.as_json(model, [])["attention"][2] == {"name": LAST, "shape": [1, 2, 17, 17]}
    plain = wrapped(kit.sequential([("conv", 3, 4, 3, 1), ("flatten",), ("dense", 4 * 64, 3)]), 8)
    assert "Attention" not in table.text(plain, table.rows(plain))


def test_they_are_methods_like_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = wrapped(vit(), name="vit")
    assert set(METHODS) <= set(methods([model]))
    assert set(METHODS) <= set(maps._methods(["all"], [model]))
    assert "attention" not in capsys.readouterr().err
    shown = explain(model, photo(), ["gradcam", *METHODS], [1, 3])
    assert shown.values.shape == (2, 1, 4, 1, 64, 64)
    np.testing.assert_array_equal(
        shown.values[1, 0, 3], vizkit.attention_relevance(model, photo(), target=3).values, strict=True
    )
    titles = [axes.get_title() for axes in shown.figure().axes]
    assert "attention\n…elf_attention:attention" in titles
    shown.save(tmp_path / "x.png")
    made = shown.results[0][0][2].provenance
    assert made["technique"] == "attention_rollout"
    assert made["settings"]["layers"] == list(model.attention)


def test_timms(record_property: Any) -> None:
    """Fused, and not: there a dropout gives the probabilities."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    made = timm.models.vision_transformer.VisionTransformer(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=5, reg_tokens=4
    )
    found = []
    for fused in (True, False):
        for block in made.blocks:
            block.attn.fused_attn = fused
        model = wrapped(made.double().eval())
        assert list(model.attention) == [f"blocks.{i}.attn{':attention' if fused else '.attn_drop'}" for i in range(2)]
        found.append([getattr(vizkit, method)(model, photo(), target=1).values for method in METHODS])
    np.testing.assert_allclose(*found, rtol=1e-9)
