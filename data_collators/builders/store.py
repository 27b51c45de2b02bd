"""Data sets on disk: Parquet shards a split, stats.json beside them. `datasets.load_dataset(folder)` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .parts import row_schema

STATS = "stats.json"
_GROUP_BYTES, _SHARD_BYTES = 16_000_000, 400_000_000


class ShardWriter:
    """Writes rows of one split to numbered Parquet shards; `close` gives them their final names.

    Rows leave memory in groups of some 16 MB; a shard holds some 400 MB of them, less when compressed.
    """

    def __init__(self, folder: Path, split: str, row_class: type, *, reason: bool = False) -> None:
        self.folder, self.split, self.rows = folder, split, 0
        extra = [pa.field("reason", pa.string())] if reason else []
        self._schema = pa.schema([*row_schema(row_class), *extra])
        self._pending: list[pa.Table] = []
        self._pending_bytes = self._shard_bytes = 0
        self._shards: list[Path] = []
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if not table.num_rows:
            return
        self.rows += table.num_rows
        self._pending.append(table.combine_chunks())  # what a filter leaves would hold on to all of its rows
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            self._shards.append(self.folder / f"{self.split}-{len(self._shards):05d}.parquet")
            self._writer = pq.ParquetWriter(self._shards[-1], self._schema, compression="zstd")
        self._writer.write_table(pa.concat_tables(self._pending).select(self._schema.names))
        self._shard_bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        if self._shard_bytes >= _SHARD_BYTES:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0

    def close(self) -> None:
        """Write what is left and name the shards `split-00000-of-00001.parquet`."""
        self._flush()
        self._close_shard()
        for number, path in enumerate(self._shards):
            path.rename(self.folder / f"{self.split}-{number:05d}-of-{len(self._shards):05d}.parquet")


def load_split(folder: str | Path, split: str) -> Any:
    """A split as a memory-mapped `datasets.Dataset`.

    Raises:
        FileNotFoundError: The folder is not a data set, or lacks the split.
    """
    import datasets

    shards = split_files(folder, split)
    try:
        return datasets.Dataset.from_parquet([str(shard) for shard in shards])
    except (pa.ArrowInvalid, datasets.exceptions.DatasetGenerationError) as error:
        raise OSError(f"a shard of {str(folder)!r} is corrupt ({error.__cause__ or error}). Build it anew.") from error


def split_files(folder: str | Path, split: str) -> list[Path]:
    """The Parquet files of a split.

    Raises:
        FileNotFoundError: The folder is not a data set, or lacks the split.
    """
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
    return shards


def load_stats(folder: str | Path) -> dict[str, Any]:
    """The stats.json of a data set."""
    return json.loads((Path(folder) / STATS).read_text(encoding="utf-8"))
