"""Pairs to train on: data sets of `coderep data pairs`, or users' own texts and codes, with or without negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from data_collators.builders.store import STATS, load_split, load_stats

from .messages import say
from .user_data import Column, check_text, content_fingerprint, drop_empty, read_table

TEXT, CODE, NEGATIVES, BODY = "text", "code", "negatives", "code_body"
# The other names are those of sentence-transformers' and BEIR's data sets.
COLUMNS = (
    Column(TEXT, ("query", "anchor", "question")),
    Column(CODE, ("positive", "document", "answer")),
    Column(NEGATIVES, ("negative",), needed=False),
    Column(BODY, needed=False),
)


@dataclass(frozen=True)
class PairData:
    """Pairs.

    Args:
        rows: Of `text` and `code`, and where there are any `negatives` (a list) and `code_body`.
        stats: What they are: `kind`, `sources`, `splits`, `dropped`, `fingerprint`.
    """

    rows: datasets.Dataset
    stats: dict[str, Any]


def load_pairs(data: str | Path, split: str = "train", columns: str | Mapping[str, str] | None = None) -> PairData:
    """The pairs of a split.

    Args:
        data: Folder made by `coderep data ...`; or a JSONL, CSV, TSV or Parquet file, a folder of such, or the id of a
            data set on the Hub, with a text and a code in each row, and the code's negatives if there are any: one,
            or a list.
        split: "train" or "test".
        columns: Our name of a column -> the table's.

    Raises:
        FileNotFoundError: There is no such data set, or it lacks the split.
        ValueError: A column is missing or holds no text, or no pair is left.
    """
    if Path(data, STATS).is_file():
        if columns:
            raise ValueError(f"{str(data)!r} is made by `coderep data ...` and has its own names. Leave columns out.")
        return PairData(load_split(data, split), load_stats(data))
    rows = read_table(data, split, COLUMNS, columns)
    check_text(rows, (name for name in (TEXT, CODE, BODY) if name in rows.column_names), data)
    rows, dropped = drop_empty(as_lists(rows, data), (TEXT, CODE))
    if not len(rows):
        raise ValueError(f"{str(data)!r} has no pair whose text and code both hold something.")
    for reason, count in dropped.items():
        say(f"{Path(data).name}: left out {count:,} of {count + len(rows):,} pairs: {reason}")
    return PairData(rows, pair_stats(rows, data, split, dropped))


def as_lists(rows: datasets.Dataset, where: object) -> datasets.Dataset:
    """The rows with a list of negatives in each, whether there are none, one or several.

    Raises:
        ValueError: The negatives are no text.
    """
    if NEGATIVES not in rows.column_names:
        return rows
    kind = rows.features[NEGATIVES]
    if getattr(kind, "dtype", None) == "null":
        return rows.remove_columns(NEGATIVES)
    single = getattr(kind, "dtype", None) in ("string", "large_string")
    inner = getattr(getattr(kind, "feature", None), "dtype", None)
    if not single and inner not in ("string", "large_string", "null"):
        raise ValueError(f"{str(where)!r}: column {NEGATIVES!r} must hold text or lists of text, got {kind}.")

    def listed(batch: dict[str, list[Any]]) -> dict[str, list[list[str]]]:
        values = ([value] if single else value for value in batch[NEGATIVES])
        return {NEGATIVES: [[code for code in found or () if code and code.strip()] for found in values]}

    features = rows.features | {NEGATIVES: datasets.List(datasets.Value("string"))}
    return rows.map(listed, batched=True, features=datasets.Features(features))


def pair_stats(rows: datasets.Dataset, data: str | Path, split: str, dropped: Mapping[str, int]) -> dict[str, Any]:
    """What cards and records tell of users' own pairs, as stats.json does of ours."""
    name = Path(data).name if Path(data).exists() else str(data)
    return {
        "kind": "pairs",
        "sources": [name],
        "languages": {},
        "splits": {split: {"rows": len(rows), "files": 1}},
        "dropped": dict(dropped),
        "fingerprint": content_fingerprint(rows),
    }
