"""Tables of users' own: JSONL, CSV or Parquet, in files, folders or on the Hub, with columns of any name.

JSONL and CSV are read whole; Parquet is mapped into memory.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_collators.files import json_lines

SPLITS = {"train": ("train",), "test": ("test", "valid", "validation", "dev")}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_FORMATS = (".jsonl", ".csv", ".tsv", ".parquet")
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")
_BATCH = 1000


@dataclass(frozen=True)
class Column:
    """A column that is asked for.

    Args:
        name: As it is called from here on.
        others: Names under which it is found as well, where the user names none.
        needed: Whether the table must have it.
    """

    name: str
    others: tuple[str, ...] = ()
    needed: bool = True


def parse_columns(given: str | Mapping[str, str] | None) -> dict[str, str]:
    """Our name of a column -> the table's, from a mapping or from "text=query code=func".

    Raises:
        ValueError: The text is not of that form.
    """
    if not isinstance(given, str):
        return dict(given or {})
    parts = [part.partition("=") for part in given.replace(",", " ").split()]
    if not all(name and sign and other for name, sign, other in parts):
        raise ValueError(f'columns must look like "text=query code=func", got {given!r}.')
    return {name: other for name, _, other in parts}


def choose_columns(
    found: Sequence[str], wanted: Sequence[Column], given: Mapping[str, str], where: object
) -> dict[str, str]:
    """Our name of each wanted column -> the table's.

    Raises:
        ValueError: A column is missing, or one is named that is not wanted.
    """
    known = [column.name for column in wanted]
    for name, other in given.items():
        if name not in known:
            raise ValueError(f"columns: {name!r} is none of {', '.join(known)}.")
        if other not in found:
            raise ValueError(f"columns: {str(where)!r} has no column {other!r}. It has {', '.join(found)}.")
    chosen = {}
    for column in wanted:
        names = (given[column.name],) if column.name in given else (column.name, *column.others)
        match = next((name for name in names if name in found), None)
        if match is not None:
            chosen[column.name] = match
        elif column.needed:
            raise ValueError(
                f"{str(where)!r} has no column {column.name!r}. It has {', '.join(found)}. "
                f"Say which one it is: --columns {column.name}={found[0] if found else 'NAME'}"
            )
    return chosen


def read_table(
    data: str | Path, split: str, wanted: Sequence[Column], columns: str | Mapping[str, str] | None = None
) -> datasets.Dataset:
    """The wanted columns of a split, under our names.

    A file is the split `train`. In a folder the files of a split begin with its name, `test` also with valid,
    validation or dev; where none does, all files are the split `train`.

    Args:
        data: File, folder or id of a data set on the Hub (`owner/name`, or `owner/name:config`).
        split: "train" or "test".
        wanted: The columns.
        columns: Our name of a column -> the table's; see `parse_columns`.

    Raises:
        FileNotFoundError: There is no such data set, or it lacks the split.
        ValueError: A column is missing, or a file cannot be read.
    """
    given = parse_columns(columns)
    if not Path(data).exists():
        table = _from_hub(str(data), split)
        return _select(table, choose_columns(table.column_names, wanted, given, data))
    parts = []
    for path in split_paths(data, split):
        if path.suffix == ".parquet":
            table = _from_parquet(path)
            parts.append(_select(table, choose_columns(table.column_names, wanted, given, path)))
        else:
            parts.append(_from_lines(path, lambda found, path=path: choose_columns(found, wanted, given, path)))
    try:
        return datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]
    except ValueError as error:
        raise ValueError(f"the files of {str(data)!r} have columns of different types ({error}).") from error


def split_paths(data: str | Path, split: str) -> list[Path]:
    """The files of a split.

    Raises:
        FileNotFoundError: There are none.
        ValueError: The file is of another format.
    """
    data = Path(data)
    if data.is_file() and data.suffix not in _FORMATS:
        raise ValueError(f"{str(data)!r} is none of {', '.join(_FORMATS)}. Write it as one of these.")
    if data.is_file():
        found = [data] if split == "train" else []
    else:
        files = sorted(path for path in data.iterdir() if path.suffix in _FORMATS)
        begins = {name: [path for path in files if path.name.startswith(names)] for name, names in SPLITS.items()}
        found = begins[split] or (files if split == "train" and not any(begins.values()) else [])
    if not found:
        raise FileNotFoundError(
            f"{str(data)!r} has no split {split!r}: it needs files {split}*.jsonl, .csv, .tsv or .parquet."
        )
    return found


def _from_lines(path: Path, choose: Callable[[Sequence[str]], dict[str, str]]) -> datasets.Dataset:
    rows = list(json_lines(path) if path.suffix == ".jsonl" else _csv_rows(path))
    if not rows:
        raise ValueError(f"{str(path)!r} has no rows.")
    chosen = choose(list(dict.fromkeys(name for row in rows for name in row)))
    try:
        return datasets.Dataset.from_list([{name: row.get(own) for name, own in chosen.items()} for row in rows])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{str(path)!r} has a column of values of different types ({error}).") from error


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # functions are longer than its default
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:  # Excel begins files with a mark
        yield from csv.DictReader(file, delimiter=_DELIMITERS[path.suffix])


def _from_parquet(path: Path) -> datasets.Dataset:
    try:
        return datasets.Dataset.from_parquet(str(path))
    except (pa.ArrowInvalid, datasets.exceptions.DatasetGenerationError) as error:
        raise ValueError(f"{str(path)!r} is no Parquet file ({error.__cause__ or error}). Write it anew.") from error


def _from_hub(data: str, split: str) -> datasets.Dataset:
    missing = FileNotFoundError(
        f"data {data!r} is neither a file nor a folder nor a data set on the Hub with the split {split!r}. "
        "Name a file, a folder, or owner/name."
    )
    if not _HUB.fullmatch(data) or data.endswith(_FORMATS):
        raise missing
    name, _, config = data.partition(":")
    try:
        return datasets.load_dataset(name, config or None, split=split)
    except (datasets.exceptions.DatasetNotFoundError, ConnectionError, ValueError) as error:
        raise FileNotFoundError(f"{missing} ({' '.join(str(error).split())[:200]})") from error


def _select(table: datasets.Dataset, chosen: Mapping[str, str]) -> datasets.Dataset:
    names = {own: name for name, own in chosen.items()}
    return table.select_columns(list(names)).rename_columns({own: new for own, new in names.items() if own != new})


def check_text(table: datasets.Dataset, names: Iterable[str], where: object) -> None:
    """Refuse columns that hold something other than text.

    Raises:
        ValueError: One does.
    """
    for name in names:
        dtype = getattr(table.features[name], "dtype", "lists")
        if dtype not in ("string", "large_string"):
            raise ValueError(f"{str(where)!r}: column {name!r} must hold text, got {dtype}.")


def drop_empty(table: datasets.Dataset, names: Sequence[str]) -> tuple[datasets.Dataset, dict[str, int]]:
    """The rows where none of some columns of text is empty, and how many others there were by the first that is."""
    kept, dropped = np.ones(len(table), dtype=bool), {}
    for name in names:
        column = table.with_format("arrow")[name][:]
        filled = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0), False)
        bad = kept & ~np.asarray(filled)
        if bad.any():
            dropped[f"empty {name}"] = int(bad.sum())
        kept &= ~bad
    return (table.select(np.flatnonzero(kept)) if dropped else table), dropped


def content_fingerprint(table: datasets.Dataset) -> str:
    """Hash of what a table holds: of the same rows the same, whatever file they come from."""
    digest, names = sha256(), sorted(table.column_names)
    for batch in table.select_columns(names).iter(_BATCH):
        for values in zip(*(batch[name] for name in names), strict=True):
            digest.update(json.dumps(dict(zip(names, values, strict=True)), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()[:16]
