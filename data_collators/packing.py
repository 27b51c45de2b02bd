"""Packing: documents back to back in rows of a fixed number of tokens, none of them cut.

Each document ends with its EOS; attention later stays inside documents. Packing is best-fit decreasing, redrawn every
epoch among documents of equal length, so that a row is a function of (data, seed, epoch, row number) alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch.utils.data import Dataset


def pack(lengths: np.ndarray, max_length: int, rng: np.random.Generator) -> list[list[int]]:
    """Rows of document indices; the lengths in a row sum to `max_length` tokens at most.

    Raises:
        ValueError: A document is longer than `max_length` tokens.
    """
    _check_lengths(lengths, max_length)
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


def group_alike(lengths: np.ndarray, budget: int, rng: np.random.Generator) -> list[list[int]]:
    """Groups of documents of similar length, each at most `budget` tokens when padded to its longest document.

    Raises:
        ValueError: A document is longer than the budget.
    """
    _check_lengths(lengths, budget)
    groups: list[list[int]] = []
    longest = 0
    for index in np.lexsort((rng.random(len(lengths)), -lengths)).tolist():
        if not groups or (len(groups[-1]) + 1) * longest > budget:
            groups.append([])
            longest = int(lengths[index])
        groups[-1].append(index)
    return groups


def choose_documents(language_D: np.ndarray, weight_L: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Documents of an epoch, by number: those of language l on average weight_L[l] times.

    The whole part of a weight repeats all its documents; of the rest a random share is taken.
    """
    chosen = [np.zeros(0, dtype=np.int64)]
    for language, weight in enumerate(weight_L.tolist()):
        own = np.flatnonzero(language_D == language)
        chosen += [own] * int(weight)
        if weight % 1:  # rounded by chance, or a few documents at a time would never give a small share
            chosen.append(rng.permutation(own)[: int(weight % 1 * len(own) + rng.random())])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True)
class Documents:
    """Documents end to end. Shape suffixes: N = tokens of all, D = documents.

    Attributes:
        tokens_N: Token ids, int32.
        identifiers_N: Identifier ids, int32.
        offsets: Where each document begins, and where the last one ends.
        language_D: Place of each document's language among some names.
    """

    tokens_N: np.ndarray
    identifiers_N: np.ndarray
    offsets: np.ndarray
    language_D: np.ndarray

    @classmethod
    def from_table(cls, table: pa.Table, languages: Sequence[str]) -> Documents:
        """Documents from rows with the columns `input_ids`, `identifier_ids` and maybe `language` (`Stage1Row`)."""
        chunks = table["input_ids"].chunks
        lengths = [np.zeros(1, dtype=np.int64), *(chunk.value_lengths().to_numpy() for chunk in chunks)]
        if "language" in table.column_names:
            language_D = pc.index_in(table["language"], pa.array(languages, pa.string())).to_numpy()
        else:
            language_D = np.zeros(len(table), dtype=np.int64)
        return cls(
            tokens_N=_flat(table["input_ids"]),
            identifiers_N=_flat(table["identifier_ids"]),
            offsets=np.concatenate(lengths).cumsum(),
            language_D=language_D.astype(np.int64),
        )

    def rows(
        self, weight_L: np.ndarray, max_length: int, padded_tokens: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Rows of document numbers, packed or, with `padded_tokens`, grouped by length.

        Raises:
            ValueError: A document is longer than `max_length`.
        """
        chosen = choose_documents(self.language_D, weight_L, rng)
        lengths = np.diff(self.offsets)[chosen]
        _check_lengths(lengths, max_length)
        if padded_tokens is None:
            rows = pack(lengths, max_length, rng)
        else:
            rows = group_alike(lengths, padded_tokens, rng)
        return [chosen[row] for row in rows]

    def feature(self, documents: np.ndarray, draw: tuple[int, int, int]) -> dict[str, Any]:
        """Documents back to back, as the collator takes them."""
        spans = [slice(self.offsets[number], self.offsets[number + 1]) for number in documents]
        return {
            "input_ids": np.concatenate([self.tokens_N[span] for span in spans]),
            "identifier_ids": np.concatenate([self.identifiers_N[span] for span in spans]),
            "document_lengths": np.array([span.stop - span.start for span in spans]),
            "languages": self.language_D[documents],
            "draw": draw,
        }

    def token_counts(self, vocab_size: int) -> np.ndarray:
        """How often each token of the vocabulary stands in the documents, counts_V.

        Raises:
            ValueError: A token is outside the vocabulary.
        """
        counts = np.bincount(self.tokens_N, minlength=vocab_size)
        if len(counts) > vocab_size:
            raise ValueError(
                f"the data hold token id {len(counts) - 1}, outside a vocabulary of {vocab_size}. "
                "Name the tokenizer that the data were made with."
            )
        return counts


class PackedDocuments(Dataset):
    """Stage-1 rows as packed rows of `max_length` tokens, repacked by `set_epoch`.

    Args:
        rows: A data set with the columns `input_ids` and `identifier_ids`, and if it likes `language` (`Stage1Row`).
        max_length: Tokens per packed row, and of the longest document.
        seed: Seed of the packing; the collator gets it along with epoch and row number.
        weights: Language -> how often its documents come in an epoch, on average; 1 where none is given.
        padded_tokens: Instead of packing, put documents of similar length together, at most so many tokens when padded
            to the longest: items for the padded layout of the collator, each a whole batch.
        multiple: Makes the number of rows a multiple of this by repeating some: with the rows of a step, no step of
            an epoch is smaller than the others, however rows are divided among processes.

    Raises:
        ValueError: There is no document, one is longer than `max_length`, or a weight is negative or of no language
            in the data.
    """

    def __init__(
        self,
        rows: Any,
        max_length: int,
        seed: int = 0,
        *,
        weights: Mapping[str, float] | None = None,
        padded_tokens: int | None = None,
        multiple: int = 1,
    ) -> None:
        if not len(rows):
            raise ValueError("the stage-1 data has no document. Check its stats.json for what was dropped and why.")
        self.max_length, self.seed, self._padded_tokens = max_length, seed, padded_tokens
        self.whole_batches = padded_tokens is not None
        columns = [name for name in ("input_ids", "identifier_ids", "language") if name in rows.column_names]
        table = rows.select_columns(columns).with_format("arrow")[:]
        self.languages = sorted(pc.unique(table["language"]).to_pylist()) if "language" in columns else [""]
        self.documents = Documents.from_table(table, self.languages)
        self._weight_L = language_weights(weights or {}, self.languages)
        self._items, self._multiple = 0, multiple
        self.set_epoch(0)
        self._items = len(self._rows)

    def set_epoch(self, epoch: int) -> None:
        """Repack for an epoch; the number of rows stays the same."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = self.documents.rows(self._weight_L, self.max_length, self._padded_tokens, rng)
        if not rows:
            raise ValueError("the language weights leave no document. Raise one.")
        items = self._items or -(-len(rows) // self._multiple) * self._multiple
        if len(rows) > items:  # other documents fill another number of rows
            rows = [rows[row] for row in rng.permutation(len(rows))[:items]]
        rows += [rows[row] for row in rng.integers(0, len(rows), items - len(rows))]
        self.epoch, self._rows = epoch, rows

    def token_counts(self, vocab_size: int) -> np.ndarray:
        """As `Documents.token_counts`."""
        return self.documents.token_counts(vocab_size)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.documents.feature(self._rows[row], (self.seed, self.epoch, row))


def language_weights(given: Mapping[str, float], languages: Sequence[str]) -> np.ndarray:
    """The weight of each language, weight_L, 1 where none is given.

    Raises:
        ValueError: A weight is negative or of no language in the data, or all are 0.
    """
    for name, weight in given.items():
        if name not in languages:
            raise ValueError(f"the data has no language {name!r} to weigh. Its languages: {', '.join(languages)}.")
        if not weight >= 0:
            raise ValueError(f"the weight of {name} must not be negative, got {weight}. 0 leaves the language out.")
    weight_L = np.array([given.get(name, 1.0) for name in languages], dtype=float)
    if not weight_L.any():
        raise ValueError("all languages have the weight 0, so nothing is left to train on. Raise one.")
    return weight_L


def _check_lengths(lengths: np.ndarray, longest: int) -> None:
    if len(lengths) and lengths.max() > longest:
        raise ValueError(
            f"a document of {lengths.max()} tokens does not fit into rows of {longest}. "
            "Build the data with a smaller --max-length or pack into longer rows."
        )


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    """All values of a list column end to end, int32."""
    values = [chunk.flatten().to_numpy().astype(np.int32, copy=False) for chunk in column.chunks]
    return np.concatenate(values)
