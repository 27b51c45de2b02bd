"""Stage-1 rows that are read while they are trained on, for data that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import IterableDataset, get_worker_info

from .packing import Documents, language_weights

_COLUMNS = ["input_ids", "identifier_ids", "language"]


class StreamedDocuments(IterableDataset):
    """Stage-1 rows as packed rows, read and packed some row groups at a time; the same for the same (seed, epoch).

    Data sets are sorted by language, so groups come in random order and several of them are mixed. Iteration goes on
    from epoch to epoch without end: the Trainer finds its place again by counting batches, which it does within one
    epoch only. Every worker of a DataLoader packs everything and gives its share of the rows, so one is enough.

    Args:
        files: Parquet files of `Stage1Row`s.
        max_length: Tokens per packed row, and of the longest document.
        seed: Seed of the order of row groups, of packing and of the collator's draws.
        languages: Names of all languages in the data.
        weights: Language -> how often its documents come in an epoch, on average; 1 where none is given.
        padded_tokens: As `PackedDocuments`.
        mixed_groups: Row groups that are read and packed, and whose rows are shuffled, at a time: the measure of
            memory, some 45 MB each at the peak, as the builders write them.
        batch_rows: Rows of a batch of all processes. Workers take turns batch by batch, so that batches are the same
            whatever the number of workers.

    Raises:
        ValueError: A weight is negative or of no language in the data.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        max_length: int,
        seed: int = 0,
        *,
        languages: Sequence[str],
        weights: Mapping[str, float] | None = None,
        padded_tokens: int | None = None,
        mixed_groups: int = 16,
        batch_rows: int = 1,
    ) -> None:
        self.max_length, self.seed, self._padded_tokens = max_length, seed, padded_tokens
        self.whole_batches = padded_tokens is not None
        self.languages = sorted(languages)
        self._weight_L = language_weights(weights or {}, self.languages)
        self._mixed_groups, self._batch_rows = mixed_groups, batch_rows
        self._groups = [(file, group) for file in files for group in range(pq.read_metadata(file).num_row_groups)]
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that iteration begins with."""
        self.epoch = epoch

    def token_counts(self, vocab_size: int) -> np.ndarray:
        """How often each token of the vocabulary stands in the documents that are read first, counts_V.

        Raises:
            ValueError: A token is outside the vocabulary.
        """
        return next(self._read(np.random.default_rng([self.seed, 0]))).token_counts(vocab_size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        place, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        number = 0
        for epoch in count(self.epoch):
            before = number
            for make in self._rows(epoch):
                if number // self._batch_rows % workers == place:
                    yield make()
                del make  # or the documents that it is of would stay until the next ones are read
                number += 1
            if number == before:
                raise ValueError("the language weights leave no document. Raise one.")

    def epoch_rows(self, epoch: int) -> Iterator[dict[str, Any]]:
        """The rows of one epoch, all of them."""
        return (make() for make in self._rows(epoch))

    def _rows(self, epoch: int) -> Iterator[Callable[[], dict[str, Any]]]:
        """What makes each row of an epoch, so that other workers' rows cost little."""
        rng = np.random.default_rng([self.seed, epoch])
        numbers = count()
        for documents in self._read(rng):
            rows = documents.rows(self._weight_L, self.max_length, self._padded_tokens, rng)
            for place in rng.permutation(len(rows)).tolist():
                yield partial(documents.feature, rows[place], (self.seed, epoch, next(numbers)))
            del documents

    def _read(self, rng: np.random.Generator) -> Iterator[Documents]:
        """All documents once, some row groups at a time."""
        order = [self._groups[place] for place in rng.permutation(len(self._groups)).tolist()]
        for start in range(0, len(order), self._mixed_groups):
            yield self._load(order[start : start + self._mixed_groups])

    def _load(self, groups: list[tuple[str | Path, int]]) -> Documents:
        tables = [pq.ParquetFile(file).read_row_group(group, columns=_COLUMNS) for file, group in groups]
        return Documents.from_table(pa.concat_tables(tables), self.languages)
