"""What README says is run here, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from vizkit import cli
from vizkit.zoo.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_api_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(import vizkit\n.*?)```", README, re.DOTALL)
    assert code is not None
    assert len(code[1].strip().splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"overlay.png", "methods.png", "units.png"}
    assert "(1, 96, 96)" in capsys.readouterr().out


@pytest.mark.quick
def test_it_is_short() -> None:
    assert len(README.splitlines()) < 200


@pytest.mark.quick
def test_commands_named_exist() -> None:
    listed = re.search(r"`vizkit ((?:\w+\s+)+\w+)`,\seach with `--help`", README)
    assert listed is not None
    assert set(listed[1].split()) == set(get_command(cli.app).commands)


@pytest.mark.quick
def test_the_test_command_is_what_ci_runs() -> None:
    assert README.count("<!-- tests -->") == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.quick
def test_models_named_are_the_catalog() -> None:
    table = README.split("## Models\n\n")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.split("| any other")[0].splitlines()[2:]]
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(CATALOG)
    assert table in (ROOT / "vizkit" / "docs" / "pages" / "guide" / "weights.md").read_text(encoding="utf-8")


@pytest.mark.quick
def test_tables_are_what_the_commands_wrote() -> None:
    """Nothing in a table was typed by hand: it is what the committed results say."""
    from benchmarks import readme as tables

    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.rendered(text) == text


@pytest.mark.quick
def test_pictures_exist() -> None:
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
