"""Files of rows as texts with their origin: JSONL and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...files import json_lines
from ..store import STATS

TABLES = (".jsonl", ".parquet")
# What data sets of code call the columns that hold texts.
TEXT_COLUMNS = (
    *("text", "code", "code1", "code2", "content", "func", "func1", "func2", "function", "original_string", "source"),
    *("docstring", "query", "document", "anchor", "positive", "negative", "question", "answer", "prompt", "solution"),
)
_IDS, _REPOS, _PATHS = ("id", "_id"), ("repo", "repository_name", "repo_name"), ("path", "func_path_in_repository")
_BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class TrainText:
    """A text of training data and where it is from."""

    text: str
    id: str
    column: str
    repo: str = ""
    path: str = ""


Decoder = Callable[[list[list[int]]], list[str]]


def tables_in(folder: Path) -> list[Path]:
    """The files of rows right in a folder."""
    return sorted(path for suffix in TABLES for path in folder.glob(f"*{suffix}")) if folder.is_dir() else []


def open_table(path: Path, columns: Sequence[str], decode: Decoder | None) -> Callable[[], Iterator[TrainText]]:
    """Check a file of rows; what is returned streams its texts.

    Args:
        path: The file.
        columns: Columns that hold texts; empty means those of `TEXT_COLUMNS`.
        decode: What makes texts of the column `input_ids`, if that is where they are.

    Raises:
        ValueError: The file has no texts, or its first line is torn.
        OSError: The file is corrupt.
    """
    names = _column_names(path)
    if decode is not None and "input_ids" in names:
        return lambda: _decoded(path, names, decode)
    chosen = text_columns(path, names, columns)
    if path.suffix == ".jsonl":  # rows after the first may have more
        chosen = list(columns or TEXT_COLUMNS)
    return lambda: (
        text for number, row in enumerate(_rows(path, names, chosen)) for text in _texts(row, path, number, chosen)
    )


def text_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The columns of a file that hold texts: those asked for, else those of `TEXT_COLUMNS`.

    Raises:
        ValueError: There is none.
    """
    chosen = [name for name in columns or TEXT_COLUMNS if name in names]
    if chosen or not names:
        return chosen
    if "input_ids" in names and not columns:
        raise ValueError(f"{str(path)!r} holds token ids without {STATS}. Name the folder that `coderep data` wrote.")
    asked = f"none of the columns {', '.join(columns)}" if columns else "no column known to hold texts"
    raise ValueError(f"{str(path)!r} has {asked}. Its columns: {', '.join(names)}. Name some with --columns.")


def _column_names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        with _parquet(path) as file:
            return list(file.schema_arrow.names)
    return list(next(json_lines(path), {}))


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise OSError(f"{str(path)!r} is no Parquet file, or is torn ({error}). Fetch or build it anew.") from error


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _parquet(path) as file:
        try:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise OSError(f"{str(path)!r} is corrupt ({error}). Fetch or build it anew.") from error


def _rows(path: Path, names: Sequence[str], chosen: Sequence[str]) -> Iterator[dict[str, Any]]:
    if path.suffix == ".jsonl":
        yield from json_lines(path)
        return
    labels = [name for name in (*_IDS, *_REPOS, *_PATHS) if name in names and name not in chosen]
    for batch in _batches(path, [*chosen, *labels]):
        yield from batch.to_pylist()


def _label(row: dict[str, Any], names: Sequence[str]) -> str:
    return next((str(row[name]) for name in names if row.get(name) is not None), "")


def _texts(row: dict[str, Any], path: Path, number: int, columns: Sequence[str]) -> Iterator[TrainText]:
    identity = _label(row, _IDS) or f"{path.name}:{number}"
    for column in columns:
        if isinstance(row.get(column), str):
            yield TrainText(row[column], identity, column, _label(row, _REPOS), _label(row, _PATHS))


def _decoded(path: Path, names: Sequence[str], decode: Decoder) -> Iterator[TrainText]:
    number = 0
    labels = [name for name in ("repo", "path") if name in names]
    for batch in _batches(path, ["input_ids", *labels]):
        rows = batch.select(labels).to_pylist() if labels else [{}] * batch.num_rows
        for text, row in zip(decode(batch.column("input_ids").to_pylist()), rows, strict=True):
            yield TrainText(text, f"{path.name}:{number}", "input_ids", row.get("repo") or "", row.get("path") or "")
            number += 1
