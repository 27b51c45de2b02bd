"""The new data set: shards, stats.json."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_collators.builders.store import STATS
from data_collators.files import new_folder, write_json
from data_collators.rows import SUMMARY, TEXT_KIND

from ..filtering.merge import Writer
from ..filtering.source import TEST, TRAIN, PairSource
from ..filtering.timing import PairProgress
from ..records import machine, versions
from .options import KINDS
from .rows import RowMaker

STEP = "augment"


def write(
    source: PairSource, maker: RowMaker, output: Path, record: dict[str, Any], overwrite: bool = False
) -> dict[str, Any]:
    """Write the data set, which appears whole or not at all; returns its stats.json.

    Args:
        source: The pairs.
        maker: Makes the rows of the split `train`; those of `test` pass as they are.
        output: Folder to write.
        record: What stats.json says of the step besides counts.
        overwrite: Whether to replace an earlier result.

    Raises:
        FileExistsError: `output` exists and may not be replaced.
    """
    schema = pa.schema([*source.schema, pa.field(TEXT_KIND, pa.string())])
    counts: Counter[tuple[str, str]] = Counter()
    state = hashlib.blake2b(digest_size=8)
    with new_folder(output, STATS, overwrite) as folder:
        writers = {split: Writer(folder, split, schema) for split in (TRAIN, TEST)}
        pieces = source.cut([TRAIN])
        with PairProgress(STEP, sum(map(len, pieces))) as progress:
            for piece in pieces:
                table = maker(source, piece)
                writers[TRAIN].write(table.cast(schema))
                counts.update(zip(table["language"].to_pylist(), table[TEXT_KIND].to_pylist(), strict=True))
                for text in table["text"].to_pylist():
                    state.update(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
                progress.advance(len(piece))
        if any(source.folder.glob(f"{TEST}-*.parquet")):
            for piece in source.cut([TEST]):
                rows = source.read(piece)
                kinds = pa.array([SUMMARY] * len(rows), pa.string())
                writers[TEST].write(rows.append_column(TEXT_KIND, kinds).cast(schema))
        for writer in writers.values():
            writer.close()
        stats = new_stats(source, maker, counts, record, state.hexdigest())
        write_json(folder / STATS, stats)
    return stats


def new_stats(
    source: PairSource, maker: RowMaker, counts: Counter[tuple[str, str]], record: dict[str, Any], content: str
) -> dict[str, Any]:
    """The record of the pairs that came in, with what has changed, and the figures of the step under its name."""
    stats, selection = deepcopy(source.stats), maker.selection
    reasons: Counter[tuple[str, str]] = Counter(
        zip(selection.languages_N[~selection.keep_N], selection.reasons_N[~selection.keep_N], strict=True)
    )
    for (language, reason), count in reasons.items():
        for dropped in (stats["per_language"][language]["dropped"], stats["dropped"]):
            dropped[reason] = dropped.get(reason, 0) + count
    before = Counter(selection.languages_N.tolist())
    for language in before:
        change = sum(counts[language, kind] for kind in KINDS) - before[language]
        stats["per_language"][language]["counts"]["rows"] += change
    stats["splits"][TRAIN]["rows"] = sum(counts.values())
    settings = maker.options.settings()
    stats["settings"] = {**stats["settings"], STEP: settings}
    stats[STEP] = {
        **record,
        "rows": {kind: sum(counts[language, kind] for language in before) for kind in KINDS},
        "per_language": {name: {kind: counts[name, kind] for kind in KINDS} for name in sorted(before)},
        "dropped": dict(sorted(Counter(selection.reasons_N[~selection.keep_N].tolist()).items())),
        "machine": machine(),
        "versions": versions(),
        "source_fingerprint": stats["fingerprint"],
    }
    identity = json.dumps([stats["fingerprint"], settings, content], sort_keys=True)
    stats["fingerprint"] = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    stats["seconds"] = round(stats.get("seconds", 0) + sum(record.get("seconds", {}).values()), 1)
    return stats
