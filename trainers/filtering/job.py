"""A piece of work: what a step makes of pairs with a model and a pool, and where its parts wait."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from ..evaluation.embedders import Embedder
from .options import PoolOptions
from .pool import Pool, write_first
from .search import Exclusions
from .source import PairSource, Piece

_SECONDS = b"seconds"


@dataclass(frozen=True)
class Queries:
    """The pairs of a piece, embedded: text_ND and code_ND.

    Args:
        text_ND: Embeddings of the texts.
        code_ND: Those of the codes, rounded as the pool's are.
        languages: One a pair.
        exclusions: Codes of the pool that do not count.
        split: Split of the piece.
        first: Number of its first row in the split.
        seed: For what is drawn.
    """

    text_ND: Tensor
    code_ND: Tensor
    languages: list[str]
    exclusions: Exclusions
    split: str
    first: int
    seed: int


class Step(Protocol):
    """What is made of each pair."""

    name: str  # its figures in stats.json
    reason: str  # why rows are dropped
    keep_dropped: bool
    schema: pa.Schema  # the columns that it adds

    def binding(self) -> dict[str, Any]:
        """Options that parts depend on."""

    def settings(self) -> dict[str, Any]:
        """All options that the result depends on."""

    def score(self, queries: Queries, pool: Pool) -> pa.Table:
        """The new columns of the pairs of a piece."""

    def keep(self, part: pa.Table) -> np.ndarray:
        """Which rows stay."""

    def count(self, part: pa.Table) -> Counter[str]:
        """Figures of some rows, to be added up."""

    def figures(self, counts: Counter[str]) -> dict[str, Any]:
        """What is said of all of them."""

    def illustrate(self, figures: dict[str, Any], folder: Path) -> None:
        """Write what goes beside the shards."""


@dataclass(frozen=True)
class Job:
    """A step with its model and options, the folder where parts wait, the pairs and the pool."""

    step: Step
    embedder: Embedder
    options: PoolOptions
    folder: Path
    source: PairSource
    pool: Pool

    def part(self, piece: Piece) -> Path:
        """The file of a part."""
        return self.folder / f"{piece.number:07d}.parquet"

    def share(self) -> list[Piece]:
        """The pieces that fall to this machine."""
        place, machines = self.options.shard
        return self.source.pieces[place - 1 :: machines]

    def write(self, piece: Piece, columns: pa.Table, seconds: dict[str, float]) -> None:
        """Write the new columns of a piece, and the seconds they took."""
        table = columns.replace_schema_metadata({_SECONDS: json.dumps(seconds)})
        write_first(self.part(piece), lambda partial: pq.write_table(table, partial, compression="zstd"))

    def read(self, piece: Piece) -> tuple[pa.Table, dict[str, float]]:
        """New columns of a piece, and the seconds they took."""
        table = pq.read_table(self.part(piece))
        return table.replace_schema_metadata(None), json.loads(table.schema.metadata[_SECONDS])

    def parts(self) -> Iterator[tuple[Piece, pa.Table, dict[str, float]]]:
        """All parts in the order of the rows.

        Raises:
            OSError: One is missing.
        """
        for piece in self.source.pieces:
            if not self.part(piece).is_file():
                raise OSError(f"{str(self.part(piece))!r} is missing. The same command, started again, makes it.")
            yield piece, *self.read(piece)
