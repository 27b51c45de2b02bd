"""A data set of pairs, read in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_collators.builders.store import load_stats, split_files

TRAIN, TEST, DROPPED = "train", "test", "dropped"


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one row group of a shard. `first` is the number of the first one in its split."""

    number: int
    split: str
    path: Path
    group: int
    start: int
    stop: int
    first: int

    def __len__(self) -> int:
        return self.stop - self.start


class PairSource:
    """A data set of pairs, read one row group at a time.

    Args:
        folder: What `coderep data pairs` or `rows.rows_to_pairs` wrote.
        splits: The splits to work on.
        piece_rows: Rows of a piece at most.

    Raises:
        FileNotFoundError: The folder is no data set, or lacks a split.
        ValueError: It holds no pairs.
        OSError: A shard is corrupt.
    """

    def __init__(self, folder: Path, splits: Sequence[str], piece_rows: int) -> None:
        self.folder, self.splits, self.stats = folder, tuple(splits), check_pairs(folder)
        self.schema = _open(split_files(folder, TRAIN)[0]).schema_arrow.remove_metadata()
        self._piece_rows = piece_rows
        self._held: tuple[Any, pa.Table] | None = None
        self.pieces = self.cut(self.splits)

    def cut(self, splits: Sequence[str]) -> list[Piece]:
        """The pieces of some splits, from the footers of the shards alone."""
        found: list[Piece] = []
        for split in splits:
            first = 0
            for path in split_files(self.folder, split):
                with _open(path) as file:
                    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                for group, rows in enumerate(sizes):
                    for start in range(0, rows, self._piece_rows):
                        stop = min(start + self._piece_rows, rows)
                        found.append(Piece(len(found), split, path, group, start, stop, first))
                        first += stop - start
        return found

    def read(self, piece: Piece, names: tuple[str, ...] | None = None) -> pa.Table:
        """Some columns of a piece; None: all. The row group it lies in is kept for the next piece, no other is."""
        key = (piece.path, piece.group, names)
        if self._held is None or self._held[0] != key:
            self._held = None
            try:
                with _open(piece.path) as file:
                    group = file.read_row_group(piece.group, columns=list(names) if names else None)
            except (pa.ArrowInvalid, OSError) as error:
                raise OSError(f"shard {str(piece.path)!r} is corrupt ({error}). Build the data set anew.") from error
            self._held = key, group.replace_schema_metadata(None)
        return self._held[1].slice(piece.start, len(piece))


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise OSError(f"shard {str(path)!r} is corrupt ({error}). Build the data set anew.") from error


def check_pairs(folder: Path) -> dict[str, Any]:
    """The stats.json of a data set of pairs.

    Raises:
        ValueError: It holds something else.
    """
    stats = load_stats(folder)
    if stats.get("kind") != "pairs":
        raise ValueError(
            f"{str(folder)!r} holds no pairs but {stats.get('kind')}. Build them with `coderep data pairs`."
        )
    return stats
