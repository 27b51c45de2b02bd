"""Packing: documents back to back in rows of a fixed number of tokens, none of them cut.

Each document ends with its EOS; attention later stays inside documents. Packing is best-fit decreasing, redrawn every
epoch among documents of equal length, so that a row is a function of (data, seed, epoch, row number) alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset


def pack(lengths: np.ndarray, max_length: int, rng: np.random.Generator) -> list[list[int]]:
    """Rows of document indices; the lengths in a row sum to `max_length` tokens at most.

    Raises:
        ValueError: A document is longer than `max_length` tokens.
    """
    if len(lengths) and lengths.max() > max_length:
        raise ValueError(
            f"a document of {lengths.max()} tokens does not fit into rows of {max_length}. "
            "Build the data with a smaller --max-length or pack into longer rows."
        )
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}  # free tokens -> rows with so much room
    rooms = 0  # bit r is set while by_room[r] holds a row
    for index in np.lexsort((rng.random(len(lengths)), -lengths)):
        length = int(lengths[index])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms &= ~(1 << room)
        else:
            room, row = max_length, len(rows)
            rows.append([])
        rows[row].append(int(index))
        by_room.setdefault(room - length, []).append(row)
        rooms |= 1 << (room - length)
    return rows


class PackedDocuments(Dataset):
    """Stage-1 rows as packed rows of `max_length` tokens, repacked by `set_epoch`.

    Args:
        rows: A data set with the columns `input_ids` and `identifier_ids` (`Stage1Row`).
        max_length: Tokens per packed row.
        seed: Seed of the packing; the collator gets it along with epoch and row number.

    Raises:
        ValueError: There is no document, or one is longer than `max_length`.
    """

    def __init__(self, rows: Any, max_length: int, seed: int = 0) -> None:
        self.max_length, self.seed = max_length, seed
        self._tokens, self._offsets = _flat(rows, "input_ids")
        self._identifiers, _ = _flat(rows, "identifier_ids")
        if len(self._offsets) < 2:
            raise ValueError("the stage-1 data has no document. Check its stats.json for what was dropped and why.")
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Repack for an epoch; the number of rows stays the same."""
        self.epoch = epoch
        rng = np.random.default_rng([self.seed, epoch])
        self._rows = pack(np.diff(self._offsets), self.max_length, rng)

    def token_counts(self, vocab_size: int) -> np.ndarray:
        """How often each token of the vocabulary stands in the documents, counts_V."""
        return np.bincount(self._tokens, minlength=vocab_size)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        spans = [slice(self._offsets[i], self._offsets[i + 1]) for i in self._rows[row]]
        return {
            "input_ids": np.concatenate([self._tokens[span] for span in spans]),
            "identifier_ids": np.concatenate([self._identifiers[span] for span in spans]),
            "document_lengths": np.array([span.stop - span.start for span in spans]),
            "draw": (self.seed, self.epoch, row),
        }


def _flat(rows: Any, column: str) -> tuple[np.ndarray, np.ndarray]:
    """All values of a list column end to end, int32, and the offsets of its lists."""
    chunks = rows.with_format("arrow").data.column(column).chunks if len(rows) else []
    lengths = [chunk.value_lengths().to_numpy(zero_copy_only=False) for chunk in chunks]
    values = [chunk.flatten().to_numpy(zero_copy_only=False).astype(np.int32) for chunk in chunks]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), *lengths]).cumsum().astype(np.int64)
    return np.concatenate([np.zeros(0, dtype=np.int32), *values]), offsets
