"""Hard negatives for fine-tuning: codes that a model ranks high for a text, though not so high that they may answer it.

The margin is that of positive-aware mining (NV-Retriever, arXiv 2407.15831): a code is taken only if its score stays
below the positive's by a share ("TopK-PercPos", 95 %) or by an amount ("TopK-MarginPos").
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
from .filtering.job import Queries
from .filtering.options import PoolOptions
from .filtering.pool import Pool, within
from .filtering.search import nearest, own_scores
from .filtering.work import carry_out, check

NEGATIVES, SCORES, POSITIVE = "negatives", "negative_scores", "positive_score"


@dataclass(frozen=True)
class NegativeMining:
    """Which codes become negatives of a text.

    Codes are ranked by their score for the text, without its own code, copies of it, and codes of pairs with the same
    text; equal codes count once.

    Args:
        per_pair: Negatives of a pair at most.
        rank_from: Best rank that is taken, from 1. The best few often answer the text.
        rank_to: Worst rank.
        margin: Highest score as a share of the positive's; None: there is no such limit. Of a score below 0, a code
            must stay below by the same share.
        absolute_margin: A score must be lower than the positive's by so much.
        top: Take the best ranks of the window; otherwise negatives are drawn from it.

    Raises:
        ValueError: An option is out of range.
    """

    per_pair: int = 4
    rank_from: int = 10
    rank_to: int = 100
    margin: float | None = 0.95
    absolute_margin: float | None = None
    top: bool = False

    name: ClassVar[str] = "negatives"
    reason: ClassVar[str] = "without_negatives"
    keep_dropped: ClassVar[bool] = False
    schema: ClassVar[pa.Schema] = pa.schema(
        [(NEGATIVES, pa.list_(pa.string())), (SCORES, pa.list_(pa.float32())), (POSITIVE, pa.float32())]
    )

    def __post_init__(self) -> None:
        if self.per_pair < 1:
            raise ValueError(f"per_pair must be at least 1, got {self.per_pair}.")
        if not 1 <= self.rank_from <= self.rank_to:
            raise ValueError(
                f"ranks count from 1 and rank_from is not above rank_to, got {self.rank_from} to {self.rank_to}."
            )
        if self.margin is not None and not 0 < self.margin <= 1:
            raise ValueError(f"margin is a share of the positive's score, so it must lie in (0, 1], got {self.margin}.")
        if self.absolute_margin is not None and not 0 <= self.absolute_margin <= 2:
            raise ValueError(f"absolute_margin is a difference of cosines, in [0, 2], got {self.absolute_margin}.")

    def binding(self) -> dict[str, Any]:
        """All options: parts hold the negatives."""
        return self.settings()

    def settings(self) -> dict[str, Any]:
        """All options."""
        return dataclasses.asdict(self)

    def score(self, queries: Queries, pool: Pool) -> pa.Table:
        """Negatives, their scores and that of the positive, for each pair."""
        count = len(queries.languages)
        chosen, scores = [np.empty(0, np.int64)] * count, [np.empty(0, np.float32)] * count
        positive_N = own_scores(queries.text_ND, queries.code_ND).cpu().numpy()
        for rows, part in pool.parts(queries.languages):
            texts_ND = queries.text_ND[torch.from_numpy(rows)]
            exclusions = within(queries.exclusions, rows, part)
            best_NT, columns_NT = nearest(texts_ND, pool.embeddings_KD[part], exclusions, self.rank_to)
            found = zip(rows.tolist(), best_NT.cpu().numpy(), columns_NT.cpu().numpy(), strict=True)
            for row, best_T, columns_T in found:
                rng = np.random.default_rng([queries.seed, *queries.split.encode(), queries.first + row])
                taken = self.choose(best_T, float(positive_N[row]), rng)
                chosen[row], scores[row] = columns_T[taken] + part.start, best_T[taken]
        offsets = pa.array(np.cumsum([0, *map(len, chosen)]), pa.int32())
        codes = pool.codes.take(pa.array(np.concatenate(chosen), pa.int64()))
        lists = [pa.ListArray.from_arrays(offsets, values) for values in (codes, pa.array(np.concatenate(scores)))]
        return pa.table([*lists, positive_N], schema=self.schema)

    def choose(self, best_T: np.ndarray, positive: float, rng: np.random.Generator) -> np.ndarray:
        """Places of the negatives among the scores of the nearest codes (best first, -inf where there are no more)."""
        places = np.arange(self.rank_from - 1, min(self.rank_to, len(best_T)))
        places = places[best_T[places] <= self.ceiling(positive)]
        places = places[np.isfinite(best_T[places])]
        if len(places) <= self.per_pair or self.top:
            return places[: self.per_pair]
        return np.sort(rng.choice(places, self.per_pair, replace=False))

    def ceiling(self, positive: float) -> float:
        """The highest score that a negative may have."""
        limits = [np.inf]
        if self.margin is not None:
            limits.append(positive - (1 - self.margin) * abs(positive))
        if self.absolute_margin is not None:
            limits.append(positive - self.absolute_margin)
        return min(limits)

    def keep(self, part: pa.Table) -> np.ndarray:
        """All: a pair with fewer negatives is still a pair."""
        return np.ones(len(part), dtype=bool)

    def count(self, part: pa.Table) -> Counter[str]:
        """How many pairs have how many negatives, and sums of scores."""
        scores = part[SCORES].to_pylist()
        counts = Counter(f"with {len(row)}" for row in scores)
        counts["negatives"] = sum(map(len, scores))
        counts["negative_scores"] = sum(map(sum, scores))
        counts["positive_scores"] = sum(part[POSITIVE].to_pylist())
        return counts

    def figures(self, counts: Counter[str]) -> dict[str, Any]:
        """Pairs by their number of negatives, and mean scores."""
        pairs = {number: counts[f"with {number}"] for number in range(self.per_pair + 1)}
        return {
            "pairs_by_negatives": {str(number): count for number, count in pairs.items()},
            "mean_positive_score": counts["positive_scores"] / max(1, sum(pairs.values())),
            "mean_negative_score": counts["negative_scores"] / max(1, counts["negatives"]),
        }

    def illustrate(self, figures: dict[str, Any], folder: Path) -> None:
        """Nothing."""


def mine_negatives(
    embedder: Embedder,
    data: str | Path,
    output: str | Path,
    rule: NegativeMining | None = None,
    options: PoolOptions | None = None,
) -> dict[str, Any] | None:
    """Find hard negatives for each text and write the pairs with them, as a data set of pairs that training takes.

    The columns are `negatives`, `negative_scores` and `positive_score`. The same call goes on where a killed one
    stopped.

    Args:
        embedder: The model; see `load_embedder`.
        data: Data set of pairs, or users' own rows of texts and codes (see `user_data.read_table`).
        output: Folder to write.
        rule: Which codes become negatives.
        options: The pool that they come from.

    Returns:
        What stats.json holds; None where only a share of the work was asked for.

    Raises:
        FileExistsError: The output may not be replaced, or parts of other work wait beside it.
        FileNotFoundError: The data do not exist.
        ValueError: The data hold no pairs, or embeddings are not finite.
    """
    rule, options = rule or NegativeMining(), options or PoolOptions()
    return carry_out(rule, embedder, data, output, options)


def run(argv: list[str]) -> Path | None:
    """`coderep data negatives`; the folder that it wrote, None while parts of it are missing."""
    parser = cli.parser_of("negatives", "Mine hard negatives for the texts of pairs.", "WITH_NEGATIVES")
    group = parser.add_argument_group("which codes become negatives")
    add = group.add_argument
    add("--per-pair", type=int, default=NegativeMining.per_pair, help="of a pair at most (default: %(default)s)")
    add("--rank-from", type=int, default=NegativeMining.rank_from, help="best rank taken (default: %(default)s)")
    add("--rank-to", type=int, default=NegativeMining.rank_to, help="worst rank taken (default: %(default)s)")
    add(
        "--margin",
        type=float,
        default=NegativeMining.margin,
        help="highest score as a share of the positive's; 1 allows all below it (default: %(default)s)",
    )
    add("--absolute-margin", type=float, help="a score must be lower than the positive's by so much (default: no rule)")
    add("--no-margin", action="store_true", help="take codes whatever their score")
    add("--top", action="store_true", help="take the best ranks of the window (default: draw from it)")
    args = parser.parse_args(argv)
    margin = None if args.no_margin else args.margin
    rule = NegativeMining(args.per_pair, args.rank_from, args.rank_to, margin, args.absolute_margin, args.top)
    options = cli.pool_options(args)
    check(args.data, args.output, options)  # before the model is read, which can take a while
    stats = mine_negatives(cli.load(args), args.data, args.output, rule, options)
    if stats is None:
        return None
    figures = stats[rule.name]
    lines = {f"{number} negatives": f"{count:>9,} pairs" for number, count in figures["pairs_by_negatives"].items()}
    positive, negative = figures["mean_positive_score"], figures["mean_negative_score"]
    cli.report(figures, {**lines, "mean score": f"{positive:.3f} of positives, {negative:.3f} of negatives"})
    print(args.output)  # noqa: T201
    return Path(args.output)
