"""Ranks and ranking metrics as pure functions.

Shape suffixes: Q = queries, C = candidates. Ties count against us: a relevant candidate ranks behind every irrelevant
one that scores as high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relevant_ranks(scores_QC: np.ndarray, relevant: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Ranks, from 1, of each query's relevant candidates, ascending. A query without any gets an empty array.

    Args:
        scores_QC: Higher is better.
        relevant: For each query the column numbers of its relevant candidates.

    Raises:
        ValueError: The lengths differ or a score is NaN.
    """
    if len(scores_QC) != len(relevant):
        raise ValueError(f"{len(scores_QC)} rows of scores for {len(relevant)} queries.")
    if np.isnan(scores_QC).any():
        raise ValueError("scores hold NaN, so there is no ranking. Check the embeddings.")
    ranks = []
    for scores_C, gold in zip(scores_QC, relevant, strict=True):
        gold_scores = -np.sort(-scores_C[list(gold)])
        others = np.sort(np.delete(scores_C, list(gold)))
        ahead = len(others) - np.searchsorted(others, gold_scores, side="left")
        ranks.append(ahead + np.arange(1, len(gold_scores) + 1))
    return ranks


def mean_reciprocal_rank(ranks: Sequence[np.ndarray], cutoff: int | None = None) -> float:
    """Mean over queries of 1 / rank of the first relevant candidate; 0 for a query with none up to `cutoff`.

    Raises:
        ValueError: There is no query.
    """
    _require(ranks)
    firsts = [row[0] for row in ranks if len(row) and (cutoff is None or row[0] <= cutoff)]
    return float(sum(1.0 / first for first in firsts) / len(ranks))


def mean_average_precision(ranks: Sequence[np.ndarray], cutoff: int | None = None) -> float:
    """Mean over queries of the average, over its relevant candidates, of the precision at each one's rank.

    Relevant candidates behind `cutoff` add nothing; a query without relevant candidates counts as 0.

    Raises:
        ValueError: There is no query.
    """
    _require(ranks)
    total = 0.0
    for row in ranks:
        precisions = np.arange(1, len(row) + 1) / np.maximum(row, 1)
        total += float(precisions[row <= (cutoff or np.inf)].sum() / max(len(row), 1))
    return total / len(ranks)


def recall_at(ranks: Sequence[np.ndarray], k: int) -> float:
    """Mean over queries of the share of its relevant candidates among the first `k`.

    Raises:
        ValueError: There is no query.
    """
    _require(ranks)
    return float(np.mean([float((row <= k).mean()) if len(row) else 0.0 for row in ranks]))


def _require(ranks: Sequence[np.ndarray]) -> None:
    if not len(ranks):
        raise ValueError("there is no query, so there is no mean. Check the evaluation data.")
