"""Users' own rows of texts and codes as a data set of pairs, and what says whether two sources are the same."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from data_collators.builders.parts import row_schema
from data_collators.builders.store import STATS, ShardWriter
from data_collators.builders.tables import language_name
from data_collators.files import write_json
from data_collators.rows import PairRow

from ..messages import say
from ..pair_data import COLUMNS
from ..user_data import Column, check_text, content_fingerprint, drop_empty, read_table, split_paths
from .source import TEST, TRAIN, check_pairs

UNKNOWN = "unknown"  # language of rows that name none
_ROWS_AT_ONCE = 2000
_NEEDED = ("text", "code")
_OTHERS = {"language": ("lang", "programming_language")}
_SCHEMA = row_schema(PairRow)
_TEXTS = [field.name for field in _SCHEMA if field.type == pa.string()]
_COLUMNS = (
    *(column for column in COLUMNS if column.name in _NEEDED),
    *(Column(name, _OTHERS.get(name, ()), needed=False) for name in _TEXTS if name not in _NEEDED),
)


def identity(data: str | Path) -> dict[str, Any]:
    """What says whether two sources are the same: of a data set its fingerprint and shards, else the files' content.

    Raises:
        FileNotFoundError: There are no files.
        ValueError: The data set holds no pairs.
    """
    folder = Path(data)
    if (folder / STATS).is_file():
        stats, shards = check_pairs(folder), sorted(folder.glob("*.parquet"))
        return {"fingerprint": stats["fingerprint"], "shards": [[path.name, path.stat().st_size] for path in shards]}
    if not folder.exists():
        return {"hub": str(data)}
    return {"files": [[path.name, _content(path)] for path in split_paths(folder, TRAIN)]}


def _content(path: Path) -> str:
    with path.open("rb") as file:
        state = hashlib.blake2b(digest_size=8)
        while block := file.read(1 << 20):
            state.update(block)
        return state.hexdigest()


def rows_to_pairs(data: str | Path, folder: Path, named: Mapping[str, str]) -> None:
    """Write users' own rows as a data set of pairs, unless that is done.

    Args:
        data: See `user_data.read_table`. Besides texts and codes the columns of text in `PairRow` are kept.
        folder: Data set to write.
        named: Our name of a column -> the table's.

    Raises:
        FileNotFoundError: There are no such data.
        ValueError: A column is missing or holds no text, or no row has both sides.
    """
    if (folder / STATS).is_file():
        return
    tables, dropped = {TRAIN: read_table(data, TRAIN, _COLUMNS, named)}, Counter()
    try:
        tables[TEST] = read_table(data, TEST, _COLUMNS, named)
    except FileNotFoundError:
        pass  # it need not have one
    counts: Counter[str] = Counter()
    # Under a name of its own: another machine may be at it too, and the first to be done wins.
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as making:
        partial = Path(making, folder.name)
        partial.mkdir()
        for split, table in tables.items():
            check_text(table, _NEEDED, data)
            filled, left = drop_empty(table, _NEEDED)
            dropped.update(left)
            counts.update(_write(filled, partial, split, Path(data).name))
            tables[split] = filled
        if not len(tables[TRAIN]):
            raise ValueError(f"{str(data)!r} has no pair whose text and code both hold something.")
        for reason, count in dropped.items():
            say(f"{Path(data).name}: left out {count:,} pairs: {reason}")
        write_json(partial / STATS, _stats(data, tables, counts, dropped))
        if not folder.exists():
            os.replace(partial, folder)


def _write(table: datasets.Dataset, folder: Path, split: str, source: str) -> Counter[str]:
    """Write a split; returns the rows of each language."""
    writer, counts, number = ShardWriter(folder, split, PairRow), Counter(), 0
    for batch in table.iter(_ROWS_AT_ONCE):
        size = len(batch["text"])
        rows = {field.name: [[]] * size for field in _SCHEMA}
        for name in _TEXTS:
            rows[name] = ["" if value is None else str(value) for value in batch.get(name, [None] * size)]
        pairs = zip(rows["language"], rows["path"], strict=True)
        rows["language"] = [language_name(name, path) or name or UNKNOWN for name, path in pairs]
        rows["id"] = [name or f"{source}:{split}:{number + row}" for row, name in enumerate(rows["id"])]
        writer.write(pa.table(rows, schema=_SCHEMA))
        counts.update(rows["language"])
        number += size
    writer.close()
    return counts


def _stats(
    data: str | Path, tables: Mapping[str, datasets.Dataset], counts: Counter[str], dropped: Counter[str]
) -> dict[str, Any]:
    """A record with the keys of those that the builders write."""
    contents = "".join(content_fingerprint(table) for table in tables.values())
    return {
        "kind": "pairs",
        "sources": [Path(data).name],
        "languages": dict.fromkeys(sorted(counts), 0),
        "test_share": 0.0,
        "settings": {"near_dedup": None},
        "splits": {split: {"rows": len(tables.get(split, ())), "files": 0, "tokens": 0} for split in (TRAIN, TEST)},
        "files": {"kept": 0, "bytes": 0, "dropped": {}},
        "dropped": dict(dropped),
        "per_language": {
            name: {"counts": {"files": 0, "bytes": 0, "rows": count}, "dropped": {}, "repeated_files": {}}
            for name, count in sorted(counts.items())
        },
        "decontamination": {"sets": [], "ngram": 13, "removed": {}},
        "repositories": {},
        "fingerprint": hashlib.blake2b(contents.encode(), digest_size=8).hexdigest(),
        "seconds": 0.0,
    }
