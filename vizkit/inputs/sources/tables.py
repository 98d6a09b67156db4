"""Parquet and Arrow tables with a column of pictures' files."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...contract.errors import BackendMissingError, ImageError
from ..compact import Coded, state_of
from ..pictures import Pictures
from .packed import Listed, Packed, unpacked

SUFFIXES = (".parquet", ".arrow", ".feather")
GROUPS = 2
"""Groups of rows of which a process keeps the pictures' files: the one that is read, and the next."""
_reading = threading.Lock()


@dataclass(frozen=True)
class Row(Packed):
    """A picture's file in a column of a table; its place is the group of rows that is read at once, and the row in
    it."""

    column: str = ""

    def content(self) -> bytes:
        group, row = self.place
        # Threads that want the same group wait for the first of them to read it.
        with _reading:
            try:
                column = _column(self.path, state_of(self.path), self.column, group)
            except (OSError, ValueError) as error:
                raise ImageError(f"{self.where} cannot be read: {error}") from None
        value = column[row].as_py()
        found: bytes | None = value.get("bytes") if isinstance(value, dict) else value
        if found is None:
            raise ImageError(f"{self.where} has no bytes.")
        return found


def table(
    *paths: str | os.PathLike[str], image: str | None = None, label: str | None = None, draft: int | None = None
) -> Pictures:
    """The pictures of Parquet or Arrow tables, whose column ``image`` holds pictures' files as bytes, or as Hugging
    Face has them (a struct with ``bytes``). No picture is read; later a whole group of rows is, so that tables with
    groups of a few hundred rows take least memory.

    Args:
        paths: files ``.parquet``, or ``.arrow`` and ``.feather`` of Arrow's file or stream format, uncompressed ones
            mapped into memory.
        image: the column; None takes the one that is named "image" or "jpg", or the only one with bytes.
        label: the column of the labels, texts or numbers; None takes "label" where there is one. Numbers get their
            names from the table's Hugging Face description, where it has them.
        draft: as :func:`vizkit.folders.find` has it.

    Returns:
        :class:`vizkit.folders.Pictures`, named by file and row, or as the struct's ``path`` says.

    Raises:
        BackendMissingError without pyarrow; ImageError for a file that is no table, or has no such column.

    Example:
        >>> from vizkit import sources
        >>> found = sources.table("train-0.parquet", image="photo", label="species")  # doctest: +SKIP
    """
    arrow()
    found = unpacked(paths, lambda path: _described(str(path), image, label, draft))
    if not len(found):
        raise ImageError(f"{', '.join(map(str, paths)) or 'No table'} holds no picture.")
    return found


def arrow() -> Any:
    """pyarrow. Raises BackendMissingError where it is not there, or does not fit this Python's NumPy."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BackendMissingError(
            f"Tables of pictures need pyarrow, which cannot be imported here ({error}). Install it with: pip install "
            "'vizkit[tables]'"
        ) from None
    return pyarrow


def _described(path: str, image: str | None, label: str | None, draft: int | None) -> tuple[Row, Iterator[Listed]]:
    """What a row of a table is like, and all of them."""
    try:
        schema, sizes = _opened(path)
        chosen = image or _pictures_of(schema, path)
        missing = [name for name in (chosen, label) if name is not None and name not in schema.names]
        if missing:
            raise ImageError(f"{path!r} has no column {missing[0]!r}; it has {', '.join(schema.names)}.")
        named = label or ("label" if "label" in schema.names else None)
        values = [None] * sum(sizes) if named is None else _values(path, named)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path!r} is no table that pyarrow can read: {error}") from None
    places = ((group, row) for group, rows in enumerate(sizes) for row in range(rows))
    listed = zip(Coded.of(values, _classes(schema, named)), places, strict=True)
    rows = ((f"{row:08}", label, place) for row, (label, place) in enumerate(listed))
    return Row(os.path.abspath(path), draft, column=chosen), rows


def _pictures_of(schema: Any, path: str) -> str:
    types = arrow().types
    held: list[str] = [
        field.name
        for field in schema
        if types.is_binary(field.type)
        or types.is_large_binary(field.type)
        or (types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]
    for name in ("image", "jpg"):
        if name in held:
            return name
    if len(held) != 1:
        raise ImageError(
            f"{path!r} has {len(held)} columns with bytes among {', '.join(schema.names)}: say which are the pictures "
            "with vizkit.sources.table(..., image=...)."
        )
    return held[0]


def _classes(schema: Any, label: str | None) -> Sequence[str] | None:
    """The names of the classes, where a table that Hugging Face wrote tells them."""
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    names = described.get("info", {}).get("features", {}).get(label, {}).get("names")
    return None if names is None else list(names)


def _opened(path: str) -> tuple[Any, list[int]]:
    """A table's columns and the rows of each of its groups."""
    if path.endswith(".parquet"):
        with arrow().parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
            return file.schema_arrow, groups
    whole = _mapped(path)
    return whole.schema, [len(batch) for batch in whole.to_batches()]


def _values(path: str, column: str) -> list[Any]:
    if path.endswith(".parquet"):
        with arrow().parquet.ParquetFile(path) as file:
            return list(file.read(columns=[column]).column(column).to_pylist())
    return list(_mapped(path).column(column).to_pylist())


def _mapped(path: str) -> Any:
    """An Arrow file's table, of either format; its bytes stay in the file."""
    pyarrow = arrow()
    source = pyarrow.memory_map(path)
    try:
        return pyarrow.ipc.open_file(source).read_all()
    except pyarrow.ArrowInvalid:
        source.seek(0)
        return pyarrow.ipc.open_stream(source).read_all()


@lru_cache(maxsize=GROUPS)
def _column(path: str, changed: bytes, column: str, group: int) -> Any:
    """The pictures' files of a group of rows; ``changed`` is the file's state, so that another one is read anew."""
    if path.endswith(".parquet"):
        with arrow().parquet.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[column]).column(column)
    return _mapped(path).to_batches()[group].column(column)
