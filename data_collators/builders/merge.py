"""Parts to a data set: what files have in common is settled here, in the order of the sources.

Of equal files, near duplicates and equal code the first stays; a summary may stand a few times. So the data set does
not depend on which process made which part, nor when.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .dedup import NearDuplicates
from .extract import digest
from .parts import read_files, read_rows
from .sources import SPLITS, split_of
from .store import ShardWriter

CONTAMINATED = "contaminated.jsonl"


@dataclass(frozen=True)
class MergeOptions:
    """What becomes of files and rows that repeat.

    Args:
        test_share: Share of repositories in the split `test`.
        near_dedup: Similarity from which on files are near duplicates; None: they stay.
        max_repeats: How often one text may stand; 0: there is no limit, or no text.
    """

    test_share: float
    near_dedup: float | None = None
    max_repeats: int = 0


@dataclass
class Totals:
    """Figures of a data set while it is put together."""

    splits: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    languages: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeated_files: Counter[str] = field(default_factory=Counter)
    contaminated: Counter[str] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0

    def language(self, name: str) -> dict[str, Counter[str]]:
        """Counters of a language."""
        return self.languages.setdefault(name, {"counts": Counter(), "dropped": Counter(), "repeated_files": Counter()})


class Merger:
    """Takes part after part, in order, and writes the shards."""

    def __init__(self, folder: Path, row_class: type, options: MergeOptions, keep_rejected: bool = False) -> None:
        self.options, self.totals, self.fingerprint = options, Totals(), 0
        self._files: set[int] = set()
        self._codes: set[int] = set()
        self._texts: dict[int, int] = {}
        self._near = NearDuplicates(options.near_dedup) if options.near_dedup else None
        self._splits: dict[str, str] = {}
        self._writers = {split: ShardWriter(folder, split, row_class) for split in SPLITS}
        self._rejected = ShardWriter(folder, "dropped", row_class, reason=True) if keep_rejected else None
        self._hits = folder / CONTAMINATED

    def add(self, stem: Path) -> None:
        """Take the next part."""
        kept = {}
        for record in read_files(stem):
            if self._take_file(record):
                kept[record["number"]] = record
        for table in read_rows(stem):
            self._take_rows(table, kept)
        if self._rejected:
            for table in read_rows(stem, "rejected"):
                good = pc.is_in(table["_file"], pa.array(list(kept), pa.int32()))
                self._rejected.write(table.filter(good).drop_columns(["_file"]))

    def close(self) -> None:
        """Finish the shards."""
        for writer in (*self._writers.values(), *([self._rejected] if self._rejected else [])):
            writer.close()

    @property
    def rows(self) -> int:
        """Rows kept so far."""
        return sum(writer.rows for writer in self._writers.values())

    def _take_file(self, record: dict[str, Any]) -> bool:
        totals, language = self.totals, self.totals.language(record["language"])
        reason = ""
        if record["digest"] in self._files:
            reason = "equal to an earlier file"
        elif self._near is not None and self._near.add(record["signature"]):
            reason = "near duplicate of an earlier file"
        self._files.add(record["digest"])
        if reason:
            totals.repeated_files[reason] += 1
            language["repeated_files"][reason] += 1
            return False
        self.fingerprint = digest(f"{self.fingerprint} {record['id']} {record['digest']}")
        totals.files += 1
        totals.bytes += record["bytes"]
        totals.splits[self._split(record["repo"])]["files"] += 1
        language["counts"].update(files=1, bytes=record["bytes"], **json.loads(record["counts"]))
        language["dropped"].update(json.loads(record["dropped"]))
        hits = json.loads(record["hits"])
        if hits:
            totals.contaminated.update(hit["set"] for hit in hits)
            with self._hits.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(hit, ensure_ascii=False) + "\n" for hit in hits)
        entry = totals.repositories.setdefault(record["repo"], {"license": record["license"], "files": 0})
        entry["files"] += 1
        return True

    def _split(self, repo: str) -> str:
        if repo not in self._splits:
            self._splits[repo] = split_of(repo, self.options.test_share)
        return self._splits[repo]

    def _take_rows(self, table: pa.Table, kept: dict[int, dict[str, Any]]) -> None:
        numbers, keys = table["_file"].to_pylist(), table["_key"].to_pylist()
        languages = table["language"].to_pylist()
        texts = table["text"].to_pylist() if self.options.max_repeats else [""] * len(keys)
        good = np.zeros(len(keys), dtype=bool)
        for index, (number, key, text) in enumerate(zip(numbers, keys, texts, strict=True)):
            if number in kept:
                reason = self._repeat(key, text)
                good[index] = not reason
                if reason:
                    self.totals.language(languages[index])["dropped"][reason] += 1
        splits = np.array([self._split(repo) for repo in table["repo"].to_pylist()])
        plain = table.drop_columns(["_file", "_key"])
        for split, writer in self._writers.items():
            part = plain.filter(pa.array(good & (splits == split)))
            writer.write(part)
            self.totals.splits[split].update(rows=part.num_rows, tokens=_tokens(part))
        for language, count in Counter(np.array(languages, dtype=object)[good].tolist()).items():
            self.totals.language(language)["counts"]["rows"] += count

    def _repeat(self, key: int, text: str) -> str:
        if key and key in self._codes:
            return "duplicate_code"
        if self.options.max_repeats:
            text_key = digest(text)
            if self._texts.get(text_key, 0) >= self.options.max_repeats:
                return "repeated_summary"
            self._texts[text_key] = self._texts.get(text_key, 0) + 1
        if key:
            self._codes.add(key)
        return ""


def _tokens(table: pa.Table) -> int:
    if "input_ids" not in table.column_names or not table.num_rows:
        return 0
    return pc.sum(pc.list_value_length(table["input_ids"])).as_py()
