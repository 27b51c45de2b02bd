"""The builders as functions: sources in, a folder of shards or a tokenizer out."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..files import new_folder, write_json
from ..rows import PairRow, SourceFile, Stage1Row
from ..tokenization import train_tokenizer
from .pairs import PairExtractor, PairOptions
from .sources import SPLITS, FileReport, SourceOptions, iter_sources, split_of
from .stage1 import Stage1Extractor
from .store import STATS, ShardWriter

Extract = Callable[[SourceFile], tuple[list[Any], Counter[str]]]


def build_stage1(
    options: SourceOptions,
    tokenizer: PreTrainedTokenizerBase,
    output: str | Path,
    *,
    max_length: int = 1024,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Build stage-1 rows (`Stage1Row`) into `output`; returns what stats.json holds.

    Raises:
        ValueError: No file can be used, or an option is out of range.
        FileExistsError: `output` exists and may not be replaced.
    """
    extract = Stage1Extractor(tokenizer, max_length)
    return _build("stage1", options, extract, Stage1Row, output, overwrite, {"max_length": max_length})


def build_pairs(
    options: SourceOptions,
    output: str | Path,
    *,
    filters: PairOptions | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Build text-code pairs (`PairRow`) into `output`; returns what stats.json holds.

    Raises:
        ValueError: No file can be used, or no pair passes the filters.
        FileExistsError: `output` exists and may not be replaced.
    """
    filters = filters or PairOptions()
    return _build(
        "pairs",
        options,
        PairExtractor(filters),
        PairRow,
        output,
        overwrite,
        {**asdict(filters), "kinds": list(filters.kinds)},
    )


def build_tokenizer(
    options: SourceOptions,
    output: str | Path,
    *,
    vocab_size: int = 32768,
    model_max_length: int = 2048,
    overwrite: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the split `train` of the sources and save it in `output`.

    Raises:
        ValueError: No file can be used, or `vocab_size` is too small.
        FileExistsError: `output` exists and may not be replaced.
    """
    with new_folder(output, "tokenizer.json", overwrite) as folder:
        files = _progress(iter_sources(options), "tokenizer")
        texts = (file.text for file in files if split_of(file.repo, options.test_share) == "train")
        tokenizer = train_tokenizer(texts, vocab_size=vocab_size, model_max_length=model_max_length)
        tokenizer.save_pretrained(folder)
    return tokenizer


def _build(
    kind: str,
    options: SourceOptions,
    extract: Extract,
    row_class: type,
    output: str | Path,
    overwrite: bool,
    settings: dict[str, Any],
) -> dict[str, Any]:
    started, report, dropped = time.monotonic(), FileReport(), Counter()
    per_split: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    languages: Counter[str] = Counter()
    fingerprint = hashlib.sha256()
    with new_folder(output, STATS, overwrite) as folder:
        writers = {split: ShardWriter(folder, split, row_class) for split in SPLITS}
        for file in _progress(iter_sources(options, report), kind):
            split = split_of(file.repo, options.test_share)
            rows, reasons = extract(file)
            writers[split].write(rows)
            dropped.update(reasons)
            languages[file.language] += 1
            per_split[split].update(files=1, rows=len(rows), tokens=_tokens(rows))
            fingerprint.update(hashlib.sha256(f"{file.id}\0{file.text}".encode()).digest())
        for writer in writers.values():
            writer.close()
        if not sum(writer.rows for writer in writers.values()):
            raise ValueError(f"no {kind} row came out of {report.kept} files: {_reasons(dropped)}.")
        stats = {
            "kind": kind,
            "sources": [Path(source).name for source in options.source],
            "languages": dict(sorted(languages.items())),
            "test_share": options.test_share,
            "settings": settings,
            "splits": {split: dict(counts) for split, counts in per_split.items()},
            "files": {"kept": report.kept, "bytes": report.bytes, "dropped": dict(sorted(report.dropped.items()))},
            "dropped": dict(sorted(dropped.items())),
            "fingerprint": fingerprint.hexdigest()[:16],
            "seconds": round(time.monotonic() - started, 1),
        }
        write_json(folder / STATS, stats)
    for line in report.lines():
        print(f"  {line}", file=sys.stderr)  # noqa: T201 - people watch this
    return stats


def _tokens(rows: Iterable[Any]) -> int:
    return sum(len(row.input_ids) for row in rows if isinstance(row, Stage1Row))


def _reasons(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "they hold none"


def _progress(files: Iterator[SourceFile], label: str) -> Iterator[SourceFile]:
    """A bar on a terminal; elsewhere the caller's own lines are enough."""
    return tqdm(files, desc=label, unit="file", disable=not sys.stderr.isatty())
