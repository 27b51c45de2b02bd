"""Ranking metrics over blocks of scores: 100,000 queries by 100,000 candidates never need the whole matrix."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from ..ranking import Relevance, average_precisions, mean, ndcgs, recalls, reciprocal_ranks, relevant_ranks

Metric = Callable[[np.ndarray, Relevance], np.ndarray]
_METRICS = {"mrr": ("cutoff", reciprocal_ranks), "map": ("cutoff", average_precisions), "ndcg": ("k", ndcgs)}
_NAME = re.compile(r"(mrr|map|ndcg)(?:@([1-9]\d*))?|(recall)@([1-9]\d*)")


def metric_named(name: str) -> Metric:
    """The function (ranks_R, relevance) -> values_Q of a name: mrr, map, ndcg, each also with @k, and recall@k.

    Raises:
        ValueError: There is no such metric.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(f"metric {name!r} is unknown. There are mrr, map, ndcg and each of them, or recall, with @k.")
    if match[3]:
        return partial(recalls, k=int(match[4]))
    argument, function = _METRICS[match[1]]
    return partial(function, **{argument: int(match[2])}) if match[2] else function


class RankingMetrics:
    """Ranking metrics of queries that come block by block.

    Args:
        names: Metrics, as `metric_named` reads them.
        ties: As in `relevant_ranks`.

    Raises:
        ValueError: There is no such metric.
    """

    def __init__(
        self,
        names: Sequence[str] = ("mrr", "map", "ndcg@10", "recall@10"),
        *,
        ties: Literal["worst", "order"] = "worst",
    ) -> None:
        self._metrics = {name: metric_named(name) for name in names}
        self._blocks: dict[str, list[np.ndarray]] = {name: [] for name in names}
        self._ties = ties

    def add(self, scores_QC: np.ndarray, relevance: Relevance) -> None:
        """Take in a block of queries. A score of -inf takes a candidate out of the pool.

        Raises:
            ValueError: As `relevant_ranks`.
        """
        ranks_R = relevant_ranks(scores_QC, relevance, ties=self._ties)
        for name, metric in self._metrics.items():
            self._blocks[name].append(metric(ranks_R, relevance))

    def values(self) -> dict[str, np.ndarray]:
        """Values_Q of each metric in the order of the queries, NaN for one without relevant candidates."""
        return {name: np.concatenate([np.empty(0), *blocks]) for name, blocks in self._blocks.items()}

    def compute(self) -> dict[str, float | int]:
        """Mean of each metric over the queries with relevant candidates, how many have some and how many have none.

        Raises:
            ValueError: No query has any.
        """
        result: dict[str, float | int] = {}
        for name, values_Q in self.values().items():
            value, queries = mean(values_Q)
            result |= {name: value, "queries": queries, "without_references": len(values_Q) - queries}
        return result
