"""The rows of the new data set, piece by piece: pairs as they were, with other texts, and pairs that are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from data_collators.builders.name_pool import NamePool, renamed_copy
from data_collators.builders.renaming import own_names
from data_collators.languages import LANGUAGES
from data_collators.rows import ACROSS, RENAMED, TEXT_KIND

from ..filtering.source import TRAIN, PairSource, Piece
from .across import Twins
from .options import AugmentOptions
from .selection import Selection, beyond, generator, lot, text_of

_POOLED = 400  # functions a language whose names are drawn from


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of a piece.

    Args:
        options: What is asked for.
        selection: The pairs that stay.
        names: Names for renamed copies.
        twins: Functions that are described alike.
        codes: Codes that become texts, by their numbers in the split.
        places: Number of a row in the split -> its places among the twins, as the code.
    """

    options: AugmentOptions
    selection: Selection
    names: NamePool
    twins: Twins | None = None
    codes: dict[int, tuple[str, str]] = field(default_factory=dict)
    places: dict[int, list[int]] = field(default_factory=dict)

    def __call__(self, source: PairSource, piece: Piece) -> pa.Table:
        """The rows that a piece gives: those that stay, each followed by those made of it."""
        table = source.read(piece)
        keep = np.flatnonzero(self.selection.keep_N[piece.first : piece.first + len(piece)])
        take: list[int] = []
        new: dict[str, list[str]] = {"id": [], "text": [], TEXT_KIND: []}

        def add(place: int, identity: str, text: str, kind: str) -> None:
            take.append(place)
            for name, value in (("id", identity), ("text", text), (TEXT_KIND, kind)):
                new[name].append(value)

        for place, row in zip(keep.tolist(), table.take(pa.array(keep)).to_pylist(), strict=True):
            add(place, row["id"], *text_of(row, self.options))
            copy = self.renamed(row)
            if copy:
                add(place, f"{row['id']}+{RENAMED}", copy, RENAMED)
            for identity, code in self.across(piece.first + place):
                add(place, f"{row['id']}+{ACROSS}:{identity}", code, ACROSS)
        columns = table.take(pa.array(take, pa.int64()))
        for name in ("id", "text"):
            columns = columns.set_column(columns.schema.get_field_index(name), name, pa.array(new[name], pa.string()))
        return columns.append_column(TEXT_KIND, pa.array(new[TEXT_KIND], pa.string()))

    def renamed(self, row: dict[str, Any]) -> str:
        """A copy of a pair's code under other names, if it is drawn and can be made; else ""."""
        options, identity = self.options, row["id"]
        if lot(options.seed, RENAMED, identity) >= options.renamed_share or row["language"] not in LANGUAGES:
            return ""
        rng = generator(options.seed, "names", identity)
        return renamed_copy(row["code"], row["language"], row["name"] or "", row["kind"] or "", self.names, rng)[0]

    def across(self, row: int) -> list[tuple[str, str]]:
        """Ids and codes of the functions that are described like a function."""
        if self.twins is None:
            return []
        return [self.codes[int(self.twins.texts_P[place])] for place in self.places.get(row, ())]


def row_maker(
    source: PairSource, options: AugmentOptions, selection: Selection, twins: Twins | None = None
) -> RowMaker:
    """What makes the rows, with the names and codes that it needs at hand."""
    names = name_pool(source, selection, options.seed) if options.renamed_share else NamePool()
    if twins is None:
        return RowMaker(options, selection, names)
    places: dict[int, list[int]] = {}
    for place, row in enumerate(twins.codes_P.tolist()):
        places.setdefault(row, []).append(place)
    needed = sorted(set(twins.texts_P.tolist()))
    codes = {row: (found["id"], found["code"]) for row, found in zip(needed, _rows(source, needed), strict=True)}
    return RowMaker(options, selection, names, twins, codes, places)


def name_pool(source: PairSource, selection: Selection, seed: int) -> NamePool:
    """Names of some functions of each language."""
    lots_N = np.array([lot(seed, "pool", str(row)) for row in range(len(selection.keep_N))])
    kept = np.flatnonzero(selection.keep_N)
    left = beyond(selection.languages_N[kept].tolist(), lots_N[kept], _POOLED)
    pool = NamePool()
    for row in _rows(source, np.delete(kept, left).tolist()):
        if row["language"] in LANGUAGES:
            names = own_names(row["code"], row["language"], row["name"] or "", row["kind"] or "")
            if names is not None:
                pool.add(row["language"], names)
    return pool


def _rows(source: PairSource, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of the split `train` by their numbers, which ascend."""
    found, numbers_N = [], np.asarray(numbers, np.int64)
    read = partial(source.read, names=("id", "code", "language", "name", "kind"))
    for piece in source.cut([TRAIN]):
        start, stop = np.searchsorted(numbers_N, [piece.first, piece.first + len(piece)])
        if stop > start:
            found += read(piece).take(pa.array(numbers_N[start:stop] - piece.first)).to_pylist()
    return found
