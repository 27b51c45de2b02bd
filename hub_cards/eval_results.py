"""What evaluations wrote, read back: results.json and the values per query beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from glob import glob
from pathlib import Path
from typing import Any

ZERO_SHOT, IN_DOMAIN = "zero-shot", "in-domain"
# What `Result.of` gives -> metric -> query -> value.
Scores = dict[tuple[str, ...], dict[str, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Result:
    """One number of a results.json; `trainers.records.EvalResult` says what the fields are."""

    model: str
    task: str
    dataset: str
    revision: str
    protocol: str
    metric: str
    value: float
    n: int
    seconds: float
    query_language: str = ""
    corpus_language: str = ""
    domain: str = "unknown"
    spread: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    split: str = ""

    @property
    def of(self) -> tuple[str, str, str, str]:
        """What was evaluated on what: the key of its values per query."""
        return self.model, self.dataset, self.revision, self.protocol

    @property
    def is_cell(self) -> bool:
        """Whether it is a cell of a language matrix, not a total."""
        return bool(self.query_language or self.corpus_language)


@dataclass
class Results:
    """All that the files hold.

    Args:
        rows: The numbers.
        scores: Values per query, of those evaluations that wrote them.
        notes: What a reader must know about them.
    """

    rows: list[Result]
    scores: Scores
    notes: list[str]

    def per_query(self, row: Result) -> dict[str, float]:
        """Query -> value, NaN where there is none; empty if the evaluation wrote none."""
        return self.scores.get(row.of, {}).get(row.metric, {})


def find_results(paths: Sequence[str]) -> list[Path]:
    """Files of results: those named, and those in folders named, in the order given; a folder's by name.

    Raises:
        FileNotFoundError: A name stands for nothing, or a folder holds no results.
    """
    found: dict[Path, Path] = {}
    for name in paths:
        path = Path(name)
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*.json")) if _holds_results(file)]
            if not inside:
                raise FileNotFoundError(f"folder {name!r} holds no results.json. Name one that an evaluation wrote.")
        elif path.is_file():
            inside = [path]
        else:
            inside = [Path(match) for match in sorted(glob(name, recursive=True)) if Path(match).is_file()]
            if not inside:
                raise FileNotFoundError(f"results {name!r} do not exist. `coderep eval ... --output` writes them.")
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _holds_results(path: Path) -> bool:
    try:
        rows = _read_rows(path)
        return bool(rows) and all(isinstance(row, dict) and {"model", "metric"} <= row.keys() for row in rows)
    except ValueError:
        return '"results"' in path.read_text(encoding="utf-8", errors="replace")  # torn: said when it is read


def _read_rows(path: Path) -> list[Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON ({error}). Run the evaluation again.") from error
    rows = record.get("results") if isinstance(record, dict) else None
    return rows if isinstance(rows, list) else []


def read_results(paths: Sequence[Path]) -> Results:
    """Numbers and values per query of files of results. Of rows about the same thing, the last file's stays.

    Raises:
        ValueError: A file holds no results, or a row is not one.
    """
    rows: dict[tuple[str, ...], Result] = {}
    scores: Scores = {}
    repeated = changed = 0
    for path in paths:
        results = [_result(row, path) for row in _read_rows(path)]
        if not results:
            raise ValueError(f"{str(path)!r} holds no results of an evaluation. Name the file that --output named.")
        for result in results:
            key = (*result.of, result.task, result.metric, result.query_language, result.corpus_language)
            before = rows.get(key)
            repeated += before is not None
            changed += before is not None and before.value != result.value
            rows[key] = result
            scores.pop(result.of, None)  # values per query belong to the file whose number is shown
        scores |= _read_queries(path.with_name(f"{path.stem}.queries.parquet"))
    notes = []
    if repeated:
        other = f"{changed:,} of them had another value before" if changed else "all had the same value"
        notes.append(f"{repeated:,} rows came more than once; the last file's stayed ({other}).")
    return Results(list(rows.values()), scores, notes)


def _result(row: Any, path: Path) -> Result:
    known = {one.name for one in fields(Result)}
    if not isinstance(row, dict):
        raise ValueError(f"{str(path)!r} holds a result that is no object: {row!r}. Run the evaluation again.")
    try:
        result = Result(**{key: value for key, value in row.items() if key in known})
    except TypeError as error:
        needed = [one.name for one in fields(Result) if one.default is MISSING and one.default_factory is MISSING]
        lacks = ", ".join(name for name in needed if name not in row)
        raise ValueError(f"{str(path)!r} holds a result without {lacks}. Run the evaluation again.") from error
    if not isinstance(result.value, (int, float)) or not 0 <= result.value <= 1:
        raise ValueError(
            f"{str(path)!r} gives {result.model} a {result.metric} of {result.value!r} on {result.dataset}; values are "
            "shares, 0 to 1. Run the evaluation again."
        )
    return result


def _read_queries(path: Path) -> Scores:
    """Values per query of the file beside a results.json, none if there is none."""
    if not path.is_file():
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        names = ("model", "dataset", "revision", "protocol")
        keys = list(zip(*(table[name].to_pylist() for name in names), strict=True))
        queries = [str(query) for query in table["query"].to_pylist()]
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise ValueError(f"{str(path)!r} holds no values per query ({error}). Run the evaluation again.") from error
    found: Scores = {key: {} for key in dict.fromkeys(keys)}
    for column in table.schema:
        if pa.types.is_floating(column.type):
            for key, query, value in zip(keys, queries, table[column.name].to_pylist(), strict=True):
                found[key].setdefault(column.name, {})[query] = math.nan if value is None else value
    return found
