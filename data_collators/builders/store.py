"""Data sets on disk: Parquet shards a split, stats.json beside them. `datasets.load_dataset(folder)` reads them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..rows import columns

STATS = "stats.json"


class ShardWriter:
    """Writes rows of one split to numbered Parquet shards; `close` gives them their final names."""

    def __init__(self, folder: Path, split: str, row_class: type, rows_per_shard: int = 50_000) -> None:
        self.folder, self.split, self.rows_per_shard = folder, split, rows_per_shard
        self._columns = columns(row_class)
        self._pending: list[Any] = []
        self._shards: list[Path] = []
        self.rows = 0

    def write(self, rows: list[Any]) -> None:
        """Add rows."""
        self._pending.extend(rows)
        self.rows += len(rows)
        while len(self._pending) >= self.rows_per_shard:
            self._flush(self._pending[: self.rows_per_shard])
            del self._pending[: self.rows_per_shard]

    def _flush(self, rows: list[Any]) -> None:
        records = [asdict(row) for row in rows]
        table = pa.table({name: _array([record[name] for record in records]) for name in self._columns})
        path = self.folder / f"{self.split}-{len(self._shards):05d}.parquet"
        pq.write_table(table, path, compression="zstd")
        self._shards.append(path)

    def close(self) -> None:
        """Write what is left and name the shards `split-00000-of-00001.parquet`."""
        if self._pending:
            self._flush(self._pending)
            self._pending = []
        for number, path in enumerate(self._shards):
            path.rename(self.folder / f"{self.split}-{number:05d}-of-{len(self._shards):05d}.parquet")


def _array(values: list[Any]) -> pa.Array:
    is_list = bool(values) and isinstance(values[0], list)
    return pa.array(values, type=pa.list_(pa.int32()) if is_list else None)


def load_split(folder: str | Path, split: str) -> Any:
    """A split as a memory-mapped `datasets.Dataset`.

    Raises:
        FileNotFoundError: The folder is not a data set, or lacks the split.
    """
    import datasets

    folder = Path(folder)
    if not (folder / STATS).is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} is not a coderep data set (no {STATS}). Build one with `coderep data ...`."
        )
    shards = sorted(folder.glob(f"{split}-*.parquet"))
    if not shards:
        raise FileNotFoundError(
            f"data set {str(folder)!r} has no split {split!r}. Rebuild it with another --test-share."
        )
    try:
        return datasets.Dataset.from_parquet([str(shard) for shard in shards])
    except (pa.ArrowInvalid, datasets.exceptions.DatasetGenerationError) as error:
        raise OSError(f"a shard of {str(folder)!r} is corrupt ({error.__cause__ or error}). Build it anew.") from error


def load_stats(folder: str | Path) -> dict[str, Any]:
    """The stats.json of a data set."""
    return json.loads((Path(folder) / STATS).read_text(encoding="utf-8"))
