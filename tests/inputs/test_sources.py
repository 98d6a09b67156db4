"""Tar shards, tables and data sets give what the same pictures in a folder give."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vizkit
from vizkit import folders, images, sources
from vizkit.errors import ImageError
from vizkit.zoo import shapes

COUNT = 10
DRAWN = shapes.sample(COUNT, seed=5)
LABELS = [shapes.CLASSES[int(label)] for label in DRAWN.labels]


def png(picture: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "PNG")
    return held.getvalue()


FILES = [png(picture) for picture in DRAWN.images]


def pack(path: Path, members: list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT, time: float = 0) -> Path:
    with tarfile.open(path, "w", format=form) as packed:
        for name, content in members:
            one = tarfile.TarInfo(name)
            one.size, one.mtime = len(content), time  # type: ignore[assignment]
            packed.addfile(one, io.BytesIO(content))
    return path


def keyed(start: int, stop: int) -> list[tuple[str, bytes]]:
    """Members as WebDataset has them: a picture and its class under one key."""
    found = []
    for k in range(start, stop):
        found += [(f"{k:06}.png", FILES[k]), (f"{k:06}.cls", LABELS[k].encode())]
    return found


def same(found: folders.Pictures, names: list[str]) -> None:
    """The drawn pictures, under these names."""
    assert list(found.names) == names
    assert list(found.labels) == LABELS
    sent = pickle.loads(pickle.dumps(found.part(slice(3, 7))))
    for item, picture in zip([*found.items, *sent.items], [*DRAWN.images, *DRAWN.images[3:7]], strict=True):
        np.testing.assert_array_equal(np.asarray(images.read(item)), picture)
    assert found.part([1, 2]).fingerprint() == found.part(slice(1, 3)).fingerprint() != found.fingerprint()


@pytest.mark.quick
def test_shards(tmp_path: Path) -> None:
    first = pack(tmp_path / "train-000.tar", keyed(0, 6))
    second = pack(tmp_path / "train-001.tar", keyed(6, COUNT))
    names = [f"train-00{k // 6}/{k:06}.png" for k in range(COUNT)]
    same(sources.tar(first, second), names)
    same(folders.find(tmp_path), names)
    same(folders.collect([first, second]), names)
    before = folders.find(tmp_path).fingerprint()
    pack(second, keyed(6, COUNT), time=9)
    second.touch()
    assert folders.find(tmp_path).fingerprint() != before


@pytest.mark.quick
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_header(tmp_path: Path, form: int) -> None:
    """Long names, letters beyond ASCII, and times of fractions, which WebDataset writes."""
    long = "/".join(["folder" * 5] * 3) + "/" + "n" * 90 + ".png"
    members = [("cat/ä.png", FILES[0]), (long, FILES[1]), ("notes.txt", b"none"), ("dog/.hidden.png", b"x")]
    shard = pack(tmp_path / "a.tar", members, form, 1.5 if form == tarfile.PAX_FORMAT else 1)
    with tarfile.open(shard, "a", format=form) as packed:
        packed.add(tmp_path, "empty", recursive=False)
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "cat/ä.png"
        packed.addfile(link)
        packed.addfile(one := tarfile.TarInfo("last.png"), io.BytesIO())
        assert not one.size
    found = sources.tar(shard)
    assert found.names == ["cat/ä.png", long, "last.png"]
    assert found.labels == ["cat", "folder" * 5, None]
    for k in (0, 1):
        np.testing.assert_array_equal(np.asarray(images.read(found.items[k])), DRAWN.images[k])


@pytest.mark.quick
def test_what_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(ImageError, match=r"a\.tar' is no tar file, or is damaged at byte 0"):
        folders.find(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(ImageError, match="an empty one"):
        folders.find(tmp_path)
    with pytest.raises(ImageError, match="holds no picture"):
        sources.tar(pack(tmp_path / "b.tar", [("a.txt", b"x")]))
    with pytest.raises(ImageError, match="different kinds"):
        folders.find(tmp_path / "b.tar", tmp_path)
    whole = pack(tmp_path / "c.tar", keyed(0, 2)).read_bytes()
    (tmp_path / "c.tar").write_bytes(whole[:1000])
    with pytest.raises(ImageError, match="the shard is cut off"):
        images.read(sources.tar(tmp_path / "c.tar").items[0])


def table(path: Path, structs: bool) -> Path:
    """A table in groups of four rows."""
    arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    column = [{"bytes": one, "path": None} for one in FILES] if structs else FILES
    made = arrow.table({"id": list(range(COUNT)), "image": column, "label": LABELS})
    if path.suffix == ".parquet":
        parquet.write_table(made, path, row_group_size=4)
        return path
    new = arrow.ipc.new_file if path.suffix == ".feather" else arrow.ipc.new_stream
    with new(str(path), made.schema) as writer:
        writer.write_table(made, max_chunksize=4)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_tables(tmp_path: Path, name: str) -> None:
    file = table(tmp_path / name, structs=name != "a.arrow")
    same(folders.find(file), [f"{k:08}" for k in range(COUNT)])
    same(sources.table(tmp_path / name, image="image", label="label"), [f"{k:08}" for k in range(COUNT)])
    assert set(sources.table(file, label="id").labels) == {str(k) for k in range(COUNT)}
    with pytest.raises(ImageError, match="no column 'photo'; it has id, image, label"):
        sources.table(file, image="photo")
    file.write_bytes(b"no table")
    with pytest.raises(ImageError, match="no table that pyarrow can read"):
        folders.find(file)


@pytest.mark.quick
def test_tables_without_pyarrow_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"x")
    with pytest.raises(vizkit.errors.BackendMissingError, match=r"pip install 'vizkit\[tables\]'"):
        folders.find(tmp_path)


def test_a_hugging_face_data_set(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    hub = pytest.importorskip("datasets", exc_type=ImportError)
    known = list(shapes.CLASSES)
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=known)})
    rows = {"image": [{"bytes": one, "path": None} for one in FILES], "label": [known.index(one) for one in LABELS]}
    made = hub.Dataset.from_dict(rows, features=features)
    names = [f"image {k}" for k in range(COUNT)]
    same(folders.collect(made), names)
    made.save_to_disk(str(tmp_path / "saved"))
    same(folders.collect(hub.load_from_disk(str(tmp_path / "saved"))), names)
    same(folders.find(tmp_path / "saved"), [f"{k:08}" for k in range(COUNT)])
    pytest.importorskip("pyarrow.parquet").write_table(made.data.table, tmp_path / "a.parquet")
    same(folders.find(tmp_path / "a.parquet"), [f"{k:08}" for k in range(COUNT)])
    assert made.shuffle(seed=1)._fingerprint != made._fingerprint
    assert folders.collect(made.shuffle(seed=1)).fingerprint() != folders.collect(made).fingerprint()
    with pytest.raises(ImageError, match="several data sets, train: give one"):
        folders.collect(hub.DatasetDict({"train": made}))
    with pytest.raises(ImageError, match="in one stream"):
        folders.collect(made.to_iterable_dataset())
    assert len(vizkit.saliency(vizkit.load("shapes"), made.select([2, 4])).values) == 2


class Own:
    """A data set of one's own, with one picture that fails."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, k: int) -> tuple[Any, int]:
        if k == 4:
            raise RuntimeError("the fourth is lost")
        return DRAWN.images[k], int(DRAWN.labels[k])


@pytest.mark.quick
def test_a_data_set_of_ones_own() -> None:
    found = folders.collect(Own())
    assert (len(found), found.labels[0], found.names[9]) == (COUNT, None, "image 9")
    with pytest.raises(ImageError, match=r"Picture 4 .*the fourth is lost"):
        images.read(found.items[4])
    model = vizkit.load("shapes")
    result = vizkit.health(model, Own(), ["features.2"])
    assert [one["name"] for one in result.provenance["images"]["skipped"]] == ["image 4"]
    rest = [picture for k, picture in enumerate(DRAWN.images) if k != 4]
    np.testing.assert_array_equal(result.values, vizkit.health(model, rest, ["features.2"]).values)
    with pytest.raises(ImageError, match="one stream"):
        folders.collect(picture for picture in DRAWN.images)
    with pytest.raises(ImageError, match="empty"):
        folders.collect(SimpleEmpty())


class SimpleEmpty(Own):
    def __len__(self) -> int:
        return 0


def native(name: str) -> Iterator[tuple[Any, Any]]:
    """A framework's data set of tensors, ready for the network, and a loader that takes some of them in any order."""
    model = vizkit.load("shapes", backend=name)
    ready = images.prepare(list(DRAWN.images), model.spec).tensor
    some = [7, 2, 5, 0, 3]
    if name == "torch":
        torch = pytest.importorskip("torch")
        held = torch.utils.data.TensorDataset(torch.as_tensor(ready), torch.arange(COUNT))
        order = torch.utils.data.SubsetRandomSampler(some)
        yield model, torch.utils.data.DataLoader(held, batch_size=2, sampler=order)
    else:
        gluon = pytest.importorskip("mxnet").gluon
        held = gluon.data.ArrayDataset(ready, np.arange(COUNT))
        yield model, gluon.data.DataLoader(held, batch_sampler=[some[:2], some[2:]])


@pytest.mark.quick
def test_a_frameworks_loader(name: str) -> None:
    """Its sampler's pictures, once each, in the order of the data set; tensors are used as they are."""
    for model, loader in native(name):
        found = folders.collect(loader)
        assert found.names == [f"image {k}" for k in (0, 2, 3, 5, 7)]
        result = vizkit.top_patches(model, loader, "features.9", k=3)
        direct = vizkit.top_patches(model, DRAWN.images[[0, 2, 3, 5, 7]], "features.9", k=3)
        np.testing.assert_array_equal(result.values, direct.values)
        np.testing.assert_array_equal(result.places, direct.places)


@pytest.mark.quick
def test_labels_of_a_folders_data_set(name: str, tmp_path: Path) -> None:
    """What torchvision and Gluon call the classes of their data sets of folders."""
    for k in range(COUNT):
        (tmp_path / LABELS[k]).mkdir(exist_ok=True)
        (tmp_path / LABELS[k] / f"{k}.png").write_bytes(FILES[k])
    if name == "torch":
        made = pytest.importorskip("torchvision").datasets.ImageFolder(str(tmp_path))
    else:
        made = pytest.importorskip("mxnet").gluon.data.vision.ImageFolderDataset(str(tmp_path))
    found, folder = folders.collect(made), folders.find(tmp_path)
    assert list(found.labels) == list(folder.labels)
    model = vizkit.load("shapes", backend=name)
    np.testing.assert_array_equal(
        vizkit.health(model, made, ["features.2"]).values, vizkit.health(model, folder, ["features.2"]).values
    )
