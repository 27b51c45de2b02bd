"""Consistency filter: pairs stay whose code a model ranks high for their text, against a pool of others.

From CodeSage v2 (its authors' page of December 2024: a model trained for one epoch, the best 3 of 100,000, 40 % of the
pairs dropped), after E5's CCPairs (arXiv 2212.03533) and Promptagator's round-trip filter (arXiv 2209.11755).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from .evaluation.embedders import Embedder
from .filtering import cli
from .filtering.histogram import plot_ranks, rank_label
from .filtering.job import Queries
from .filtering.options import PoolOptions
from .filtering.pool import Pool, within
from .filtering.search import own_ranks
from .filtering.work import carry_out, check
from .messages import say

RANK, SCORE, PLOT = "consistency_rank", "consistency_score", "consistency_ranks.png"


@dataclass(frozen=True)
class ConsistencyFilter:
    """Which pairs stay.

    The rank of a pair is 1 and the number of codes in the pool that score at least as high for its text as its own code
    does. Its own code, copies of it, and codes of pairs with the same text do not count.

    Args:
        keep_rank: Pairs of a worse rank are dropped.
        min_score: Pairs whose text and code have a lower cosine are dropped; None: there is no limit.
        keep_dropped: Whether those dropped are kept apart, as the split `dropped`, with the reason "inconsistent".

    Raises:
        ValueError: An option is out of range.
    """

    keep_rank: int = 3
    min_score: float | None = None
    keep_dropped: bool = False

    name: ClassVar[str] = "consistency"
    reason: ClassVar[str] = "inconsistent"
    schema: ClassVar[pa.Schema] = pa.schema([(RANK, pa.int32()), (SCORE, pa.float32())])

    def __post_init__(self) -> None:
        if self.keep_rank < 1:
            raise ValueError(f"keep_rank must be at least 1 (the best), got {self.keep_rank}.")
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise ValueError(f"min_score is a cosine, so it must lie in [-1, 1], got {self.min_score}.")

    def binding(self) -> dict[str, Any]:
        """Nothing: ranks and scores do not depend on what is kept."""
        return {}

    def settings(self) -> dict[str, Any]:
        """All options."""
        return dataclasses.asdict(self)

    def score(self, queries: Queries, pool: Pool) -> pa.Table:
        """Rank and score of each pair."""
        ranks_N, scores_N = np.empty(len(queries.languages), np.int32), np.empty(len(queries.languages), np.float32)
        for rows, part in pool.parts(queries.languages):
            chosen = torch.from_numpy(rows)
            found, scores = own_ranks(
                queries.text_ND[chosen],
                queries.code_ND[chosen],
                pool.embeddings_KD[part],
                within(queries.exclusions, rows, part),
            )
            ranks_N[rows], scores_N[rows] = found.cpu().numpy(), scores.cpu().numpy()
        return pa.table([ranks_N, scores_N], schema=self.schema)

    def keep(self, part: pa.Table) -> np.ndarray:
        """Which pairs stay."""
        good = part[RANK].to_numpy() <= self.keep_rank
        return good if self.min_score is None else good & (part[SCORE].to_numpy() >= self.min_score)

    def count(self, part: pa.Table) -> Counter[str]:
        """How many pairs have each rank."""
        return Counter(map(rank_label, part[RANK].to_pylist()))

    def figures(self, counts: Counter[str]) -> dict[str, Any]:
        """The histogram of ranks."""
        return {"ranks": {label: counts[label] for label in sorted(counts, key=lambda label: int(label.split("-")[0]))}}

    def illustrate(self, figures: dict[str, Any], folder: Path) -> None:
        """Draw the histogram."""
        try:
            plot_ranks(figures, folder / PLOT, self.keep_rank)
        except ImportError as error:
            say(f"no picture of the ranks, which stats.json has in numbers: {error}")


def filter_consistency(
    embedder: Embedder,
    data: str | Path,
    output: str | Path,
    rule: ConsistencyFilter | None = None,
    options: PoolOptions | None = None,
) -> dict[str, Any] | None:
    """Rank each pair's code for its text and write the pairs that stay, as a data set of pairs like any other.

    They have two more columns, `consistency_rank` and `consistency_score`. The record stats.json says under
    "consistency" how many stayed, the histogram of ranks, and the seconds spent in the encoder and elsewhere. The same
    call goes on where a killed one stopped.

    Args:
        embedder: The model; see `load_embedder`.
        data: Data set of pairs, or users' own rows of texts and codes (see `user_data.read_table`).
        output: Folder to write.
        rule: Which pairs stay.
        options: What they are compared with.

    Returns:
        What stats.json holds; None where only a share of the work was asked for.

    Raises:
        FileExistsError: The output may not be replaced, or parts of other work wait beside it.
        FileNotFoundError: The data do not exist.
        ValueError: The data hold no pairs, no pair stays, or embeddings are not finite.
    """
    rule, options = rule or ConsistencyFilter(), options or PoolOptions()
    return carry_out(rule, embedder, data, output, options)


def run(argv: list[str]) -> Path | None:
    """`coderep data consistency`; the folder that it wrote, None while parts of it are missing."""
    parser = cli.parser_of(
        "consistency", "Keep the pairs whose code a model ranks high for their text, among others.", "FILTERED"
    )
    group = parser.add_argument_group("which pairs stay")
    add = group.add_argument
    add("--keep-rank", type=int, default=ConsistencyFilter.keep_rank, help="worst rank (default: %(default)s)")
    add("--min-score", type=float, help="lowest cosine of text and code (default: there is none)")
    add("--keep-dropped", action="store_true", help="keep the others apart, as the split `dropped` with a reason")
    args = parser.parse_args(argv)
    rule = ConsistencyFilter(args.keep_rank, args.min_score, args.keep_dropped)
    options = cli.pool_options(args)
    check(args.data, args.output, options)  # before the model is read, which can take a while
    stats = filter_consistency(cli.load(args), args.data, args.output, rule, options)
    if stats is None:
        return None
    figures = stats[rule.name]
    total = {"kept": figures["kept"], "dropped": figures["dropped"]}
    lines = {
        name: f"{counts['kept']:>9,} of {sum(counts.values()):>9,} pairs stay ({_percent(counts)})"
        for name, counts in {**figures["per_language"], "all": total}.items()
    }
    cli.report(figures, lines)
    print(args.output)  # noqa: T201
    return Path(args.output)


def _percent(counts: dict[str, int]) -> str:
    return f"{100 * counts['kept'] / max(1, sum(counts.values())):.1f} %"
