"""Look for the texts of evaluation sets in training data, which streams past, in one process or several."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..decontamination import split_words
from ..dedup import check_library
from ..workers import share_out
from .index import KINDS, MIN_WORDS, LeakageIndex, Match, check_limits, digest, meeting_probability
from .report import POSITIVES, Hit, LeakageReport, PartCounts
from .sets import EvalSet, read_evaluation
from .tables import TrainText
from .training import ReadOptions, open_training

_BATCH_CHARACTERS, _LINE_SECONDS = 2_000_000, 10


@dataclass(frozen=True, slots=True)
class _Leak:
    """The best match of an evaluation text so far, and how many training texts matched."""

    match: Match
    row: TrainText
    count: int

    @property
    def key(self) -> tuple[Any, ...]:
        """Smaller is better; never equal for different rows, so that the order of the training data does not matter."""
        match, row = self.match, self.row
        return KINDS.index(match.kind), -match.similarity, row.id, row.column, row.repo, row.path, match.run

    def merge(self, other: _Leak) -> _Leak:
        """The better one of two, and both counts."""
        best = self if self.key <= other.key else other
        return _Leak(best.match, best.row, self.count + other.count)


def find_leakage(
    train: Sequence[str | Path],
    evaluation: Sequence[str | Path],
    *,
    threshold: float = 0.85,
    ngram: int = 13,
    num_proc: int = 1,
    columns: Sequence[str] = (),
    split: str = "train",
    tokenizer: str | None = None,
) -> LeakageReport:
    """Look for the texts of evaluation sets in training data.

    Args:
        train: Data sets made by `coderep data`, JSONL or Parquet files or folders of them, folders of source code.
        evaluation: Sets in BEIR's layout, JSONL or Parquet files, data sets of pairs (their split `test`), and folders
            of all these.
        threshold: Jaccard similarity of word 5-grams from which on two texts are near duplicates.
        ngram: Words in a row that two texts must share to overlap.
        num_proc: Processes that compare. The report does not depend on it, nor on the order of the training data.
        columns: Columns of files that hold texts; empty means those with the usual names.
        split: Split of training data sets made by `coderep data`.
        tokenizer: Folder of the tokenizer of data sets of token ids; without it, `tokenizer` beside the data.

    Raises:
        FileNotFoundError: Something does not exist or holds no data.
        ValueError: A limit means nothing, a file has no texts or a torn line, or a tokenizer is missing or wrong.
        OSError: A shard is corrupt.
        ImportError: rensa is not installed.
    """
    check_library()
    check_limits(threshold, ngram)
    if num_proc < 1:
        raise ValueError(f"the number of processes must be at least 1, got {num_proc}.")
    options = ReadOptions(tuple(columns), split, tokenizer)
    readers = [open_training(path, options) for path in train]
    sets = read_evaluation(evaluation, columns)
    units, texts = _units(sets)
    if not texts:
        raise ValueError(f"the evaluation sets hold no text of {MIN_WORDS} words or more, so nothing can be compared.")
    say(f"{len(texts):,} different evaluation texts")
    index = LeakageIndex(texts, threshold, ngram)
    seen: Counter[str] = Counter(texts=0, characters=0)
    leaks: dict[int, _Leak] = {}
    batches = _batches(_watched((text for reader in readers for text in reader()), seen))
    for found in _scanned(index, batches, num_proc):
        for unit, leak in found.items():
            leaks[unit] = leaks[unit].merge(leak) if unit in leaks else leak
    settings = {
        "train": [str(path) for path in train],
        "evaluation": [str(path) for path in evaluation],
        "split": split,
        "threshold": threshold,
        "found_at_threshold": meeting_probability(threshold),
        "ngram": ngram,
        "min_words": MIN_WORDS,
    }
    parts, hits = _report(sets, units, leaks, index)
    return LeakageReport(settings, dict(seen), parts, hits)


def _units(sets: Iterable[EvalSet]) -> tuple[dict[bytes, int], list[str]]:
    """Number of each different evaluation text of enough words, by its digest, and the texts."""
    units: dict[bytes, int] = {}
    texts: list[str] = []
    for text in (text for one in sets for text in one.texts):
        key = digest(text.text)
        if key not in units and len(split_words(text.text)) >= MIN_WORDS:
            units[key] = len(texts)
            texts.append(text.text)
    return units, texts


def _report(
    sets: Sequence[EvalSet], units: dict[bytes, int], leaks: dict[int, _Leak], index: LeakageIndex
) -> tuple[list[PartCounts], list[Hit]]:
    parts, hits = [], []
    for one in sets:
        kinds: dict[str, list[str | None]] = {}  # part -> kind of each text, None if it did not leak
        documents: dict[str, str] = {}
        short: Counter[str] = Counter()
        for text in one.texts:
            unit, found = units.get(digest(text.text)), kinds.setdefault(text.part, [])
            if unit is None:
                short[text.part] += 1
                continue
            leak = leaks.get(unit)
            found.append(leak.match.kind if leak else None)
            if leak:
                hits.append(_hit(one.name, text.part, text.id, leak, index))
            if leak and text.part == "documents":
                documents[text.id] = leak.match.kind
        parts += [_counts(one.name, part, found, short[part]) for part, found in kinds.items()]
        if one.relevant:
            parts.append(_positives(one, documents))
    return parts, hits


def _counts(name: str, part: str, kinds: Sequence[str | None], short: int) -> PartCounts:
    return PartCounts(name, part, len(kinds), short, **{kind: kinds.count(kind) for kind in KINDS})


def _positives(one: EvalSet, documents: dict[str, str]) -> PartCounts:
    """Queries by the strongest kind among their relevant documents."""
    strongest = []
    for relevant in one.relevant.values():
        kinds = {documents.get(identity) for identity in relevant}
        strongest.append(next((kind for kind in KINDS if kind in kinds), None))
    return _counts(one.name, POSITIVES, strongest, 0)


def _hit(name: str, part: str, identity: str, leak: _Leak, index: LeakageIndex) -> Hit:
    row, match = leak.row, leak.match
    return Hit(
        set=name,
        part=part,
        id=identity,
        kind=match.kind,
        similarity=round(match.similarity, 4),
        train_id=row.id,
        train_repo=row.repo,
        train_path=row.path,
        train_column=row.column,
        train_texts=leak.count,
        words=index.shared_words(match),
    )


# comparing


def say(line: str) -> None:
    """A line for people who watch; standard output is for results."""
    print(f"  leakage: {line}", file=sys.stderr, flush=True)  # noqa: T201


def _watched(texts: Iterable[TrainText], seen: Counter[str]) -> Iterator[TrainText]:
    """Count what passes, and say how far it is: a bar on a terminal, a line now and then elsewhere."""
    started = said = time.monotonic()
    with tqdm(texts, desc="leakage", unit=" texts", disable=not sys.stderr.isatty(), mininterval=0.5) as bar:
        for text in bar:
            seen["texts"] += 1
            seen["characters"] += len(text.text)
            if bar.disable and time.monotonic() - said >= _LINE_SECONDS:
                said, size = time.monotonic(), seen["characters"] / 1e6
                say(f"{seen['texts']:,} training texts, {size:.0f} MB, {size / (said - started):.1f} MB/s")
            yield text


def _batches(texts: Iterable[TrainText]) -> Iterator[list[TrainText]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text.text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _best(index: LeakageIndex, batch: Sequence[TrainText]) -> dict[int, _Leak]:
    best: dict[int, _Leak] = {}
    for match in index.scan([row.text for row in batch]):
        row = batch[match.text]
        leak = _Leak(match, TrainText("", row.id, row.column, row.repo, row.path), 1)
        best[match.unit] = best[match.unit].merge(leak) if match.unit in best else leak
    return best


def _scanned(index: LeakageIndex, batches: Iterable[list[TrainText]], num_proc: int) -> Iterator[dict[int, _Leak]]:
    if num_proc == 1:
        yield from (_best(index, batch) for batch in batches)
    else:
        tasks = ((batch,) for batch in batches)
        yield from (best for _, best in share_out(partial(_best, index), tasks, num_proc))
