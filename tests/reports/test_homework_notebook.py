"""``vizkit homework --notebook``: a notebook that runs, and that shows what the page shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import INSTALLED
from test_homework import DREAM, networks

import vizkit
from vizkit import homework, images
from vizkit.errors import SettingError
from vizkit.reports.homework import notebook, sections
from vizkit.reports.homework.run import WORDS, Run


def written(folder: Path, backend: str, language: str = "en", as_published: bool = False) -> Path:
    """The notebook alone, of the small network, with the page's texts."""
    run = Run(networks(backend), images.sample(), "cat.jpg", WORDS[language], as_published, 5, DREAM)
    done = [sections.Chapter(key, title, f"text of {key}") for key, title, _ in sections.sections(run)]
    path = notebook.check(folder / "homework.ipynb")
    notebook.write(path, run, done, notebook.recipes(run.models, folder), language)
    return path


def executed(path: Path) -> Any:
    """The notebook after a run in a kernel of its own, which must meet no error."""
    nbformat = pytest.importorskip("nbformat", reason="executing a notebook needs nbformat, nbclient and ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="executing a notebook needs nbformat, nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="executing a notebook needs nbformat, nbclient and ipykernel")
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    return book


def outputs(book: Any, code: str) -> list[Any]:
    """Outputs of the cells that hold ``code``, in order."""
    return [one for cell in book.cells if cell.cell_type == "code" and code in cell.source for one in cell.outputs]


def test_it_runs_and_shows_every_section(tmp_path: Path) -> None:
    """In Chinese and as published; the other way round the same calls change places."""
    backend = INSTALLED[0]
    book = executed(written(tmp_path, backend, "zh", as_published=True))
    pictures = [one for cell in book.cells for one in cell.get("outputs", []) if "image/png" in one.get("data", {})]
    # photo 1, saliency 2 + 2, first filters 1, maps 2, noise 2; GoogLeNet's saliency, filters, maps, dream.
    assert len(pictures) == 14
    model = vizkit.load("shapes", backend=backend)
    assert model.architecture() in outputs(book, "architecture()")[0].text
    printed = outputs(book, "filter_layers():")[0].text
    assert printed.count("weight[0]") == len(model.filter_layers()) == 7
    assert str(model.weight("features.0")[0]) in printed
    assert str(model.weight("features.21")[0]) in outputs(book, "filter_layers()[-1]")[0].text
    titles = [cell.source.splitlines()[0] for cell in book.cells if cell.cell_type == "markdown"]
    assert titles[1] == f"## {WORDS['zh']['photo.title']}"
    assert len(titles) == 14


@pytest.mark.quick
def test_either_backend_and_order_gives_the_same_calls(tmp_path: Path, name: str) -> None:
    books = []
    for as_published in (True, False):
        path = written(tmp_path, name, "en", as_published)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        books.append(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"])
        first = next(source for source in books[-1] if "vizkit.saliency" in source)
        assert ('mode="published"' in first) == as_published
        assert f"backend='{name}'" in books[-1][0]
        for source in books[-1]:
            compile(source, "cell", "exec")
    noise = [source for source in books[0] if "noise" in source]
    assert sorted({*books[0]} - {*noise}) == sorted({*books[1]} - {source for source in books[1] if "noise" in source})


@pytest.mark.quick
def test_only_its_own_notebook_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "homework.ipynb"
    path.write_text('{"metadata": {}}')
    with pytest.raises(SettingError, match="was not written by `vizkit homework`"):
        homework.make(models=networks(INSTALLED[0]), notebook=path, out=tmp_path / "page")


@pytest.mark.quick
def test_mistakes_are_told(tmp_path: Path, kit: Any) -> None:
    with pytest.raises(SettingError, match=r"must end in \.ipynb"):
        notebook.check(tmp_path / "homework.py")
    with pytest.raises(SettingError, match="does not exist"):
        notebook.check(tmp_path / "absent" / "homework.ipynb")
    own = vizkit.wrap(kit.sequential([("conv", 3, 4, 3, 1)]), input_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(SettingError, match="no notebook can load it"):
        notebook.recipes({"vgg19": own}, tmp_path)


@pytest.mark.quick
def test_weights_files_are_named_as_seen_from_the_notebook(tmp_path: Path, squeezenet_weights: Path) -> None:
    model = vizkit.load("squeezenet1_0", backend=INSTALLED[0], weights=str(squeezenet_weights))
    call = notebook.recipes({"vgg19": model}, squeezenet_weights.parent)["vgg19"]
    assert call == f"vizkit.load('squeezenet1_0', backend='{INSTALLED[0]}', weights='{squeezenet_weights.name}')"
