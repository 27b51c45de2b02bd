"""Evaluation sets as lists of texts: BEIR's layout, files of examples, the held-out split of a data set of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...files import json_lines
from ..store import STATS
from .tables import TABLES, open_table, tables_in
from .training import PAIR_COLUMNS, read_stats

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"


@dataclass(frozen=True, slots=True)
class EvalText:
    """A text of an evaluation set."""

    text: str
    id: str
    part: str


@dataclass(frozen=True)
class EvalSet:
    """An evaluation set: its texts, and for retrieval the ids of each query's relevant documents."""

    name: str
    texts: list[EvalText]
    relevant: dict[str, list[str]] = field(default_factory=dict)


def read_evaluation(paths: Sequence[str | Path], columns: Sequence[str] = ()) -> list[EvalSet]:
    """All evaluation sets at some paths: files, folders of a set, folders of such folders.

    Raises:
        FileNotFoundError: There is nothing at a path.
        ValueError: A set has no texts, or a line is torn.
        OSError: A shard is corrupt.
    """
    found = {place.resolve(): (name, place) for path in paths for name, place in find_sets(Path(path))}
    names = [name for name, _ in found.values()]
    return [_read_set(name if names.count(name) == 1 else str(place), place, columns) for name, place in found.values()]


def find_sets(path: Path) -> list[tuple[str, Path]]:
    """(name, place) of the sets at a path.

    Raises:
        FileNotFoundError: There is none.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"evaluation set {str(path)!r} does not exist. Name a JSONL or Parquet file, or a folder with some."
        )
    if path.is_file() and path.suffix in TABLES:
        return [(path.stem, path)]
    if tables_in(path):
        return [(path.resolve().name, path)]
    folders = sorted({file.parent for suffix in TABLES for file in path.rglob(f"*{suffix}")})
    if not folders:
        raise FileNotFoundError(f"evaluation set {str(path)!r} holds no {' or '.join(TABLES)} file.")
    return [(folder.relative_to(path).as_posix(), folder) for folder in folders]


def _read_set(name: str, place: Path, columns: Sequence[str]) -> EvalSet:
    if (place / CORPUS).is_file() and (place / QUERIES).is_file():
        texts = [*_beir_texts(place / QUERIES, "queries"), *_beir_texts(place / CORPUS, "documents")]
        return EvalSet(name, texts, _relevant(place))
    if (place / STATS).is_file() and read_stats(place).get("kind") == "pairs":
        return _held_out_pairs(name, place)
    files = [place] if place.is_file() else tables_in(place)
    texts = [text for file in files for text in _examples(file, columns, alone=len(files) == 1)]
    return EvalSet(name, texts)


def _beir_texts(path: Path, part: str) -> Iterator[EvalText]:
    for number, row in enumerate(json_lines(path), start=1):
        if "_id" not in row or not isinstance(row.get("text"), str):
            raise ValueError(f"{str(path)!r}, row {number} needs the fields _id and text, got {', '.join(row)}.")
        title = row.get("title")
        yield EvalText(f"{title} {row['text']}" if title else row["text"], str(row["_id"]), part)


def _relevant(folder: Path) -> dict[str, list[str]]:
    """Documents that a query should find, by the query; a score of 0 or less judges a document irrelevant."""
    path = next((path for path in (folder / "qrels" / "test.tsv", folder / QRELS) if path.is_file()), None)
    relevant: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path else ():
        cells = line.split("\t")
        try:
            if len(cells) >= 3 and float(cells[-1]) > 0:
                relevant.setdefault(cells[0], []).append(cells[-2])
        except ValueError:  # the header
            continue
    return relevant


def _held_out_pairs(name: str, folder: Path) -> EvalSet:
    """The split `test` of a data set of pairs, which `coderep eval retrieval` ranks: texts search for their codes."""
    shards = sorted(folder.glob("test-*.parquet"))
    if not shards:
        raise FileNotFoundError(f"data set {str(folder)!r} has no split 'test' to evaluate on.")
    rows = [text for shard in shards for text in open_table(shard, PAIR_COLUMNS, None)()]
    parts = {"text": "queries", "code": "documents"}
    texts = [EvalText(row.text, row.id, parts[row.column]) for row in rows]
    return EvalSet(name, texts, {row.id: [row.id] for row in rows})


def _examples(path: Path, columns: Sequence[str], alone: bool) -> Iterator[EvalText]:
    part = "examples" if alone else f"{path.stem} examples"
    for text in open_table(path, columns, None)():
        yield EvalText(text.text, f"{text.id} {text.column}", part)
