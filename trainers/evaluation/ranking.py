"""Ranks of relevant candidates and ranking metrics a query, as pure functions (numpy alone).

Shape suffixes: Q = queries, C = candidates, R = relevant pairs of query and candidate, query after query (CSR order).
Everything works on a block of queries, so a ranking of any size needs one block of scores at a time.

Definitions are those of Manning, Raghavan, Schuetze, "Introduction to Information Retrieval" (2008), chapter 8, and of
trec_eval: averages divide by all relevant candidates of a query, found or not, whatever the cut-off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

NOWHERE = np.iinfo(np.int64).max  # the rank of a candidate that is not in the pool
_FEW = 16  # so many passes over the scores cost as much as sorting them


@dataclass(frozen=True, eq=False)
class Relevance:
    """The relevant candidates of each query.

    Args:
        offsets: (Q + 1,) int64; the pairs of query q are those from `offsets[q]` up to `offsets[q + 1]`.
        columns: (R,) int64; place of the candidate among the candidates, no place twice a query.
        gains: (R,) float64; how relevant it is, above 0. Only NDCG tells one gain from another.

    Raises:
        ValueError: The arrays do not belong together.
    """

    offsets: np.ndarray
    columns: np.ndarray
    gains: np.ndarray

    def __post_init__(self) -> None:
        ends = self.offsets[[0, -1]].tolist() if len(self.offsets) else []
        if ends != [0, len(self.columns)] or len(self.gains) != len(self.columns):
            raise ValueError(
                f"offsets must run from 0 to the number of pairs, got {ends} for {len(self.columns)} columns and "
                f"{len(self.gains)} gains. Build it with Relevance.from_dicts."
            )

    @classmethod
    def from_dicts(cls, rows: Sequence[Mapping[int, float]]) -> Relevance:
        """From each query's {place of a candidate: gain}. A gain of 0 or below means not relevant and is left out."""
        kept = [[(column, gain) for column, gain in row.items() if gain > 0] for row in rows]
        pairs = [pair for row in kept for pair in row]
        return cls(
            offsets=np.cumsum([0, *map(len, kept)], dtype=np.int64),
            columns=np.array([column for column, _ in pairs], dtype=np.int64),
            gains=np.array([gain for _, gain in pairs], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """(Q,) int64: relevant candidates of each query."""
        return np.diff(self.offsets)

    @property
    def queries(self) -> np.ndarray:
        """(R,) int64: the query of each pair."""
        return np.repeat(np.arange(len(self)), self.counts)

    def rows(self, start: int, stop: int) -> Relevance:
        """The queries from `start` up to `stop`."""
        offsets = self.offsets[start : min(stop, len(self)) + 1]
        pairs = slice(offsets[0], offsets[-1])
        return Relevance(offsets - offsets[0], self.columns[pairs], self.gains[pairs])

    def restrict(self, keep_C: np.ndarray) -> Relevance:
        """Only the pairs whose candidate `keep_C` holds true for; places stay as they are."""
        return self.only(keep_C[self.columns])

    def only(self, keep_R: np.ndarray) -> Relevance:
        """Only the pairs that `keep_R` holds true for; queries stay, with fewer of them or none."""
        offsets = np.concatenate([[0], np.cumsum(keep_R, dtype=np.int64)])[self.offsets]
        return Relevance(offsets, self.columns[keep_R], self.gains[keep_R])


def relevant_ranks(
    scores_QC: np.ndarray, relevance: Relevance, *, ties: Literal["worst", "order"] = "worst"
) -> np.ndarray:
    """Rank, from 1, of each relevant pair, in CSR order: ranks_R.

    A score of -inf takes a candidate out of the pool (the query itself, another language): it stands before no other,
    and a relevant one has the rank `NOWHERE`.

    Args:
        scores_QC: Higher is better.
        relevance: The relevant candidates of the same queries.
        ties: "worst": a relevant candidate ranks behind every irrelevant one that scores as high, and relevant ones
            that score alike stand side by side. "order": candidates that score alike keep their order.

    Raises:
        ValueError: The lengths differ, a place is not among the candidates, or a score is NaN.
    """
    if len(scores_QC) != len(relevance):
        raise ValueError(f"{len(scores_QC)} rows of scores for {len(relevance)} queries.")
    if ties not in ("worst", "order"):
        raise ValueError(f'ties must be "worst" or "order", got {ties!r}.')
    columns, queries = relevance.columns, relevance.queries
    if len(columns) and not 0 <= columns.min() <= columns.max() < scores_QC.shape[1]:
        raise ValueError(
            f"relevant places {columns.min()} to {columns.max()} do not lie in the {scores_QC.shape[1]} candidates. "
            "Count places from 0 in the order of the scores' columns."
        )
    if np.isnan(np.min(scores_QC, initial=0)):  # NaN goes through a minimum, and no array is made
        raise ValueError("scores hold NaN, so there is no ranking. Check the embeddings.")
    gold_R = scores_QC[queries, columns]
    at_least_R = _ahead(scores_QC, gold_R, relevance.offsets, strict=False)
    if ties == "order":
        ranks_R = _ahead(scores_QC, gold_R, relevance.offsets, strict=True) + 1
        for pair in np.flatnonzero(at_least_R > ranks_R):  # others score alike: those in earlier columns are ahead
            ranks_R[pair] += np.count_nonzero(scores_QC[queries[pair], : columns[pair]] == gold_R[pair])
    else:
        ranks_R = at_least_R - _tied_behind(gold_R, queries)
    return np.where(gold_R == -np.inf, NOWHERE, ranks_R)


def _ahead(scores_QC: np.ndarray, gold_R: np.ndarray, offsets: np.ndarray, *, strict: bool) -> np.ndarray:
    """How many scores of its query are above (`strict`) each relevant score, or at least as high (itself included)."""
    compare, side = (np.greater, "right") if strict else (np.greater_equal, "left")
    ahead_R = np.empty(len(gold_R), dtype=np.int64)
    for scores_C, start, stop in zip(scores_QC, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if stop - start <= _FEW:
            for pair in range(start, stop):
                ahead_R[pair] = np.count_nonzero(compare(scores_C, gold_R[pair]))
        else:
            ahead_R[start:stop] = len(scores_C) - np.searchsorted(np.sort(scores_C), gold_R[start:stop], side=side)
    return ahead_R


def _tied_behind(gold_R: np.ndarray, queries_R: np.ndarray) -> np.ndarray:
    """How many relevant candidates of the same query score as high as each one and come later in CSR order."""
    order = np.lexsort((-gold_R, queries_R))
    gold, queries = gold_R[order], queries_R[order]
    last = np.ones(len(order), dtype=bool)  # the last of those that score alike
    last[:-1] = (gold[1:] != gold[:-1]) | (queries[1:] != queries[:-1])
    behind_R = np.empty(len(order), dtype=np.int64)
    behind_R[order] = np.flatnonzero(last)[np.cumsum(last) - last] - np.arange(len(order))
    return behind_R


def reciprocal_ranks(ranks_R: np.ndarray, relevance: Relevance, cutoff: int | None = None) -> np.ndarray:
    """1 / rank of each query's first relevant candidate, 0 if it ranks behind `cutoff`, NaN without any: values_Q."""
    return _by_query(np.maximum, _found(ranks_R, cutoff) / ranks_R, relevance)


def average_precisions(ranks_R: np.ndarray, relevance: Relevance, cutoff: int | None = None) -> np.ndarray:
    """Average over each query's relevant candidates of the precision at their ranks, NaN without any: values_Q.

    One behind `cutoff` adds 0 and still counts in the average (trec_eval's `map_cut`).
    """
    queries = relevance.queries
    ranks_R = ranks_R[np.lexsort((ranks_R, queries))]
    found_before_R = np.arange(1, len(ranks_R) + 1) - relevance.offsets[queries]
    precisions_R = _found(ranks_R, cutoff) * found_before_R / ranks_R
    return _by_query(np.add, precisions_R, relevance) / np.maximum(relevance.counts, 1)


def ndcgs(ranks_R: np.ndarray, relevance: Relevance, k: int | None = None) -> np.ndarray:
    """Normalised discounted cumulative gain of each query's first `k` ranks, NaN without relevant ones: values_Q.

    A candidate adds gain / log2(rank + 1); the sum is divided by that of the best ranking of all relevant candidates,
    cut at `k` too (Jarvelin, Kekalainen 2002 with linear gains; trec_eval's `ndcg_cut`).
    """
    queries = relevance.queries
    ideal_gains_R = relevance.gains[np.lexsort((-relevance.gains, queries))]
    ideal_ranks_R = np.arange(1, len(ranks_R) + 1) - relevance.offsets[queries]
    dcg_Q = _by_query(np.add, _found(ranks_R, k) * _discounted(relevance.gains, ranks_R), relevance)
    return dcg_Q / _by_query(np.add, _found(ideal_ranks_R, k) * _discounted(ideal_gains_R, ideal_ranks_R), relevance)


def recalls(ranks_R: np.ndarray, relevance: Relevance, k: int) -> np.ndarray:
    """Share of each query's relevant candidates among its first `k`, NaN without any: values_Q."""
    return _by_query(np.add, _found(ranks_R, k).astype(float), relevance) / np.maximum(relevance.counts, 1)


def mean(values_Q: np.ndarray) -> tuple[float, int]:
    """Mean over the queries that have relevant candidates, and their number.

    Raises:
        ValueError: There is none.
    """
    judged = values_Q[~np.isnan(values_Q)]
    if not len(judged):
        raise ValueError("there is no query with a relevant candidate, so there is no mean. Check the evaluation data.")
    return float(judged.mean()), len(judged)


def _found(ranks_R: np.ndarray, cutoff: int | None) -> np.ndarray:
    """Which pairs rank at `cutoff` or before; without one, which are in the pool."""
    if cutoff is not None and cutoff < 1:
        raise ValueError(f"a cut-off counts ranks from 1, got {cutoff}. Leave it out to look at the whole ranking.")
    return ranks_R < NOWHERE if cutoff is None else ranks_R <= cutoff


def _discounted(gains_R: np.ndarray, ranks_R: np.ndarray) -> np.ndarray:
    return gains_R / np.log2(ranks_R.astype(float) + 1)


def _by_query(reduce: np.ufunc, values_R: np.ndarray, relevance: Relevance) -> np.ndarray:
    """Each query's values put together, NaN for a query without any."""
    values_Q = np.full(len(relevance), np.nan)
    filled = relevance.counts > 0
    if filled.any():
        values_Q[filled] = reduce.reduceat(values_R, relevance.offsets[:-1][filled])
    return values_Q
