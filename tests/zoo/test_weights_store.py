"""The frameworks' stores: each one's weights in either backend, cached, verified, converted, explained when absent."""

from __future__ import annotations

import ast
import hashlib
import http.server
import importlib
import importlib.util
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import BOTH, INSTALLED, both

import vizkit
from vizkit import zoo
from vizkit.errors import WeightsError
from vizkit.zoo import catalog, download, store


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_args: Any) -> None:
        return


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a server on this machine offers as both stores, with empty caches."""
    root = tmp_path / "store"
    (root / "gluon" / "models").mkdir(parents=True)
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{httpd.server_port}/"
    for key, value in {
        "VIZKIT_TORCH_REPO": address,
        "MXNET_GLUON_REPO": address,
        "TORCH_HOME": str(tmp_path / "torch"),
        "MXNET_HOME": str(tmp_path / "mxnet"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    yield root
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """SqueezeNet 1.1 of other weights in each framework, and the file that it writes of them itself."""
    torch = pytest.importorskip("torch", reason="the store's file is written by torch itself")
    if not BOTH:
        pytest.skip("the stores' files are written by both frameworks")
    pth, params = (tmp_path_factory.mktemp("written") / name for name in ("one.pth", "one.params"))
    own = vizkit.load("squeezenet1_1", backend="torch", weights="random:11")
    torch.save(own.native.state_dict(), pth, _use_new_zipfile_serialization=False)
    other = vizkit.load("squeezenet1_1", backend="gluon", weights="random:12")
    other.native.save_parameters(str(params))
    return {"torch": own, "gluon": other, "pth": pth.read_bytes(), "params": params.read_bytes()}


@pytest.fixture
def published(server: Path, written: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Those files in both stores, named after their hashes."""
    torch_file = f"squeezenet1_1-{hashlib.sha256(written['pth']).hexdigest()[:8]}.pth"
    (server / torch_file).write_bytes(written["pth"])
    sha1 = hashlib.sha1(written["params"]).hexdigest()
    zipped = server / "gluon" / "models" / f"squeezenet1.1-{sha1[:8]}.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(f"squeezenet1.1-{sha1[:8]}.params", written["params"])
    monkeypatch.setitem(catalog.CATALOG, "squeezenet1_1", catalog.Entry(torch_file, "squeezenet1.1", sha1))
    return {**written, "zip": zipped, "torch_file": torch_file}


@pytest.mark.parametrize("backend", ["torch", "gluon"])
def test_imagenet_weights_come_from_the_store_once(published: Any, server: Path, backend: str) -> None:
    model = vizkit.load("squeezenet1_1", backend=backend, weights="imagenet")
    assert model.sha256() == published[backend].sha256()
    assert model.weights.source == "imagenet"
    assert model.weights.file is not None
    for path in server.rglob("*.*"):
        path.unlink()
    again = vizkit.load("squeezenet1_1", backend=backend, weights="imagenet")
    assert again.sha256() == model.sha256()


@both()
def test_gluon_falls_back_and_says_so(published: Any) -> None:
    published["zip"].unlink()
    model = vizkit.load("squeezenet1_1", backend="gluon", weights="imagenet")
    assert model.sha256() == published["torch"].sha256()
    assert "MXNet's store did not answer" in (model.weights.note or "")
    result = vizkit.filters(model)
    assert "torchvision" in result.provenance["weights"]["note"]


@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("origin", ["torch", "gluon"])
def test_the_others_store_is_converted_on_the_fly(
    published: Any, tmp_path: Path, server: Path, origin: str, backend: str
) -> None:
    wanted = {"torch": "torchvision", "gluon": "gluon"}[origin]
    model = vizkit.load("squeezenet1_1", backend=backend, weights=wanted)
    assert model.sha256() == published[origin].sha256()
    assert ("torchvision" if origin == "torch" else "Gluon zoo") in (model.weights.note or "")
    zoo.convert("squeezenet1_1", wanted, tmp_path / "w.safetensors")
    same = vizkit.load("squeezenet1_1", backend=backend, weights=str(tmp_path / "w.safetensors"))
    assert same.sha256() == model.sha256()
    for path in server.rglob("*.*"):
        path.unlink()
    assert vizkit.load("squeezenet1_1", backend=backend, weights=wanted).sha256() == model.sha256()


@pytest.mark.parametrize("blocked", [("mxnet", "vizkit_gluon."), ("torch", "torchvision", "vizkit_torch.")])
def test_the_others_store_needs_only_the_own_framework(
    published: Any, blocked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the other framework nor the modules of its backend can be imported meanwhile."""
    backend, wanted, origin = ("torch", "gluon", "gluon") if "mxnet" in blocked else ("gluon", "torchvision", "torch")
    within = tuple(f"{one.removesuffix('.')}." for one in blocked)
    for name in [name for name in sys.modules if name in blocked or name.startswith(within)]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        importlib.import_module(blocked[0])
    assert vizkit.load("squeezenet1_1", backend=backend, weights=wanted).sha256() == published[origin].sha256()


def test_no_backend_names_the_others_framework() -> None:
    for name, others in (("vizkit_torch", {"mxnet", "vizkit_gluon"}), ("vizkit_gluon", {"torch", "torchvision"})):
        folder = Path(str(importlib.util.find_spec(name).origin)).parent  # type: ignore[union-attr]
        files = list(folder.rglob("*.py"))
        assert len(files) > 10
        for file in files:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                named += [one.name for one in node.names] if isinstance(node, ast.Import) else []
                assert not {one.partition(".")[0] for one in named} & others, file


@pytest.mark.quick
def test_stores_of_networks_that_are_not_there() -> None:
    with pytest.raises(WeightsError, match="Gluon's model zoo has no googlenet"):
        vizkit.load("googlenet", weights="gluon")
    for wanted in ("torchvision", "gluon"):
        assert vizkit.load("shapes", weights=wanted).weights.source == "bundled"


@pytest.mark.parametrize("backend", ["torch", "gluon"])
def test_a_wrong_hash_is_never_loaded(published: Any, server: Path, tmp_path: Path, backend: str) -> None:
    damaged = server / published["torch_file"]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    published["zip"].unlink()
    with pytest.raises(WeightsError, match="--weights FILE"):
        vizkit.load("squeezenet1_1", backend=backend, weights="imagenet")
    assert not list((tmp_path / "torch").rglob("*.pth"))


@pytest.mark.quick
def test_no_network_gives_address_folder_and_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for key in ("VIZKIT_TORCH_REPO", "MXNET_GLUON_REPO"):
        monkeypatch.setenv(key, "http://127.0.0.1:9/")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "mxnet"))
    with pytest.raises(WeightsError) as caught:
        vizkit.load("googlenet", backend=name)
    text = str(caught.value)
    assert "http://127.0.0.1:9/googlenet-1378be20.pth" in text
    assert str(tmp_path / "torch") in text
    assert "--weights FILE" in text


@pytest.mark.quick
def test_store_address_is_torchvisions() -> None:
    torchvision = pytest.importorskip("torchvision", reason="compares with torchvision's own table")
    for name, entry in catalog.CATALOG.items():
        if entry.bundled:
            continue
        url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
        assert url == "https://download.pytorch.org/models/" + entry.torch_file
    assert store.torchvision_weights
