"""Decontamination: what evaluation sets hold must not be in training data.

A text is contaminated if it shares a run of `ngram` words with a text of an evaluation set, or if it equals a shorter
one. Words are runs of letters and digits in lower case, so layout and signs do not matter. A run with fewer than half
as many different words that are no numbers shows nothing: tables of numbers, `case 1 case 2 case 3`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow.parquet as pq

_WORD = re.compile(rb"[0-9a-z_\x80-\xff]+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHORTEST = 4
_SUFFIXES = (".jsonl", ".parquet")


def split_words(text: str) -> list[bytes]:
    """The words that runs are made of: letters and digits in lower case."""
    return _WORD.findall(text.lower().encode("utf-8", "replace"))


def word_hashes(text: str) -> np.ndarray:
    """A number for each word."""
    words = split_words(text)
    return np.fromiter(map(crc32, words), dtype=np.uint64, count=len(words))


def run_hashes(words_W: np.ndarray, length: int) -> np.ndarray:
    """A number for each run of `length` words; empty if there are fewer."""
    if len(words_W) < length:
        return np.empty(0, dtype=np.uint64)
    runs = len(words_W) - length + 1
    total_R = np.zeros(runs, dtype=np.uint64)
    for start in range(length):
        total_R = total_R * MULTIPLIER + words_W[start : start + runs]
    return total_R ^ (total_R >> np.uint64(31))


@dataclass(frozen=True)
class Contamination:
    """Runs of words and short whole texts of evaluation sets.

    Args:
        sets: Names of the sets.
        runs: Sorted numbers of runs of `ngram` words.
        run_sets: Index of the set of each run.
        short: Sorted numbers of whole texts with fewer words.
        short_sets: Index of the set of each short text.
        ngram: Words a run.
    """

    sets: tuple[str, ...]
    runs: np.ndarray
    run_sets: np.ndarray
    short: np.ndarray
    short_sets: np.ndarray
    ngram: int

    def find(self, text: str) -> dict[str, Any] | None:
        """The first run of words of a text that an evaluation set holds, and the set; None if there is none."""
        words_W = word_hashes(text)
        hashes_R = run_hashes(words_W, self.ngram)
        places_R = np.searchsorted(self.runs, hashes_R)
        places_R[places_R == len(self.runs)] = 0
        hits = np.flatnonzero(self.runs[places_R] == hashes_R) if len(self.runs) else np.empty(0, dtype=int)
        words = split_words(text) if len(hits) else []
        for hit in hits.tolist():
            run = words[hit : hit + self.ngram]
            if len({word for word in run if not word.isdigit()}) * 2 >= self.ngram:
                name = self.sets[self.run_sets[places_R[hit]]]
                return {"set": name, "words": b" ".join(run).decode("utf-8", "replace")}
        return None

    def find_any(self, texts: Sequence[str], *, runs: bool) -> dict[str, Any] | None:
        """The first hit in several texts, which may also equal a short text; `runs`: whether to look for runs too."""
        for text in texts:
            hit = self._find_short(text) or (self.find(text) if runs else None)
            if hit is not None:
                return hit
        return None

    def _find_short(self, text: str) -> dict[str, Any] | None:
        if len(text) > 40 * self.ngram or not len(self.short):
            return None
        words_W = word_hashes(text)
        if not _SHORTEST <= len(words_W) < self.ngram:
            return None
        key = run_hashes(words_W, len(words_W))[0]
        place = int(np.searchsorted(self.short, key))
        if place == len(self.short) or self.short[place] != key:
            return None
        return {"set": self.sets[self.short_sets[place]], "words": text}


def read_contamination(paths: Sequence[str], ngram: int = 13) -> Contamination:
    """Index evaluation sets: JSONL and Parquet files, or folders of them; every string in them counts.

    Raises:
        FileNotFoundError: A path does not exist, or holds no such file.
        ValueError: `ngram` is too small.
    """
    if ngram < _SHORTEST:
        raise ValueError(f"runs for decontamination need at least {_SHORTEST} words, got {ngram}.")
    found = [pair for path in paths for pair in _set_files(Path(path))]
    names = tuple(sorted({name for name, _ in found}))
    runs, run_sets, short, short_sets = [], [], [], []
    for name, path in found:
        index = names.index(name)
        for text in _texts(path):
            words_W = word_hashes(text)
            if len(words_W) >= ngram:
                hashes = np.unique(run_hashes(words_W, ngram))
                runs.append(hashes)
                run_sets.append(np.full(len(hashes), index, dtype=np.uint16))
            elif len(words_W) >= _SHORTEST:
                short.append(run_hashes(words_W, len(words_W)))
                short_sets.append(np.full(1, index, dtype=np.uint16))
    return Contamination(names, *_sorted(runs, run_sets), *_sorted(short, short_sets), ngram)


def _sorted(keys: list[np.ndarray], sets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    joined = np.concatenate([np.empty(0, dtype=np.uint64), *keys])
    unique, first = np.unique(joined, return_index=True)
    return unique, np.concatenate([np.empty(0, dtype=np.uint16), *sets])[first]


def _set_files(path: Path) -> Iterator[tuple[str, Path]]:
    """(name of the set, file): a folder below `path` is a set."""
    if not path.exists():
        raise FileNotFoundError(
            f"evaluation set {str(path)!r} does not exist. Name a JSONL or Parquet file or a folder."
        )
    if path.is_file():
        yield path.stem, path
        return
    files = sorted(file for suffix in _SUFFIXES for file in path.rglob(f"*{suffix}"))
    if not files:
        raise FileNotFoundError(f"evaluation set {str(path)!r} holds no {' or '.join(_SUFFIXES)} file.")
    for file in files:
        parts = file.relative_to(path).parts
        yield parts[0] if len(parts) > 1 else path.resolve().name, file


def _texts(path: Path) -> Iterator[str]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    yield from _strings(row)
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield from _strings(json.loads(line))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        if value and all(isinstance(inner, str) for inner in value):
            yield " ".join(value)
        else:
            for inner in value:
                yield from _strings(inner)
