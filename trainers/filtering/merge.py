"""Parts of a step to a data set of pairs like any other: shards, stats.json."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_collators.builders.store import STATS, ShardWriter
from data_collators.files import new_folder, write_json
from data_collators.rows import PairRow

from ..records import machine, versions
from .job import Job
from .source import DROPPED, TEST, TRAIN, Piece
from .timing import seconds_of


class Writer(ShardWriter):
    """Shards with the columns of a schema."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema) -> None:
        super().__init__(folder, split, PairRow)
        self._schema = schema


class Merger:
    """Takes part after part, in order, and writes the shards.

    Rows of splits that were not worked on pass with new columns that are empty: all splits of a data set have the same.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.step, self.source = job.step, job.source
        new = job.step.schema
        self._kept = [name for name in job.source.schema.names if name not in new.names]
        self._schema = pa.schema([*(job.source.schema.field(name) for name in self._kept), *new])
        self._writers = {split: Writer(folder, split, self._schema) for split in (TRAIN, TEST)}
        with_reason = pa.schema([*self._schema, pa.field("reason", pa.string())])
        self._rejected = Writer(folder, DROPPED, with_reason) if job.step.keep_dropped else None
        self.kept: Counter[tuple[str, str]] = Counter()  # (split, language) -> rows
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[str] = Counter()
        self.fingerprint = hashlib.blake2b(digest_size=8)

    def add(self, piece: Piece, part: pa.Table) -> None:
        """Take the next part."""
        rows, keep = self.source.read(piece).select(self._kept), self.step.keep(part)
        table = pa.table([*rows.columns, *part.columns], names=[*rows.column_names, *part.column_names])
        table = table.cast(self._schema)
        self._write(piece.split, table.filter(pa.array(keep)))
        languages = np.array(rows["language"].to_pylist(), dtype=object)
        for counter, chosen in ((self.kept, keep), (self.dropped, ~keep)):
            counter.update((piece.split, language) for language in languages[chosen].tolist())
        if self._rejected:
            left = table.filter(pa.array(~keep))
            self._rejected.write(left.append_column("reason", pa.array([self.step.reason] * len(left), pa.string())))
        self.counts.update(self.step.count(part))
        self.fingerprint.update(keep.tobytes())

    def _write(self, split: str, table: pa.Table) -> None:
        self._writers[split].write(table)

    def pass_on(self, split: str) -> None:
        """Write a split as it is."""
        if not any(self.source.folder.glob(f"{split}-*.parquet")):
            return
        for piece in self.source.cut([split]):
            rows = self.source.read(piece).select(self._kept)
            empty = [pa.nulls(len(rows), field.type) for field in self.step.schema]
            table = pa.table([*rows.columns, *empty], names=self._schema.names)
            self._write(split, table.cast(self._schema))

    def close(self) -> None:
        """Finish the shards."""
        for writer in (*self._writers.values(), *([self._rejected] if self._rejected else [])):
            writer.close()


def merge(job: Job, output: Path) -> dict[str, Any]:
    """Put the parts of a job together into `output`, which appears whole or not at all; returns its stats.json.

    Raises:
        ValueError: No row stays.
        FileExistsError: `output` exists and may not be replaced.
    """
    started, laps = time.perf_counter(), job.pool.seconds()
    with new_folder(output, STATS, job.options.overwrite) as folder:
        merger = Merger(job, folder)
        for piece, part, seconds in job.parts():
            merger.add(piece, part)
            laps.append(seconds)
        for split in (TRAIN, TEST):
            if split not in job.source.splits:
                merger.pass_on(split)
        merger.close()
        if not merger.kept:
            raise ValueError(
                f"no pair stays: all {sum(merger.dropped.values()):,} are {job.step.reason}. Loosen the limits; "
                "what the model said is kept."
            )
        laps.append({"elsewhere": time.perf_counter() - started})
        stats = new_stats(job, merger, seconds_of(laps))
        job.step.illustrate(stats[job.step.name], folder)
        write_json(folder / STATS, stats)
    return stats


def new_stats(job: Job, merger: Merger, seconds: dict[str, float]) -> dict[str, Any]:
    """The record of the pairs that came in, with what has changed, and the figures of the step under its name."""
    stats, step = deepcopy(job.source.stats), job.step
    by_language: dict[str, dict[str, int]] = {}
    for name, counter in (("kept", merger.kept), ("dropped", merger.dropped)):
        for (split, language), count in counter.items():
            by_language.setdefault(language, {"kept": 0, "dropped": 0})[name] += count
            if name == "dropped":
                stats["splits"][split]["rows"] -= count
                _drop(stats, language, step.reason, count)
    settings = {**job.options.binding(), **step.settings()}
    stats["settings"] = {**stats["settings"], step.name: settings}
    model = Path(job.embedder.name)
    identity = [stats["fingerprint"], job.embedder.fingerprint, settings, merger.fingerprint.hexdigest()]
    stats[step.name] = {
        "model": model.resolve().name if model.is_dir() else str(job.embedder.name),
        "model_fingerprint": job.embedder.fingerprint,
        "model_changes": list(job.embedder.changes),
        "pool": len(job.pool),
        "pool_by_language": job.pool.shares,
        "kept": sum(merger.kept.values()),
        "dropped": sum(merger.dropped.values()),
        "per_language": dict(sorted(by_language.items())),
        **step.figures(merger.counts),
        "seconds": seconds,
        "machine": machine(),
        "versions": versions(),
        "source_fingerprint": stats["fingerprint"],
    }
    state = hashlib.blake2b(json.dumps(identity, sort_keys=True, default=str).encode(), digest_size=8)
    stats["fingerprint"] = state.hexdigest()
    stats["seconds"] = round(stats.get("seconds", 0) + sum(seconds.values()), 1)
    return stats


def _drop(stats: dict[str, Any], language: str, reason: str, count: int) -> None:
    """Count rows of a language as dropped, where the builders' records do."""
    counters = stats["per_language"][language]
    counters["counts"]["rows"] -= count
    for dropped in (counters["dropped"], stats["dropped"]):
        dropped[reason] = dropped.get(reason, 0) + count
