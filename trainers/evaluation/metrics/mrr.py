"""MRR as an `evaluate` module; mrr.md is its card."""

from __future__ import annotations

import evaluate

from trainers.evaluation.metrics.ranked_lists import CUTOFF, INPUTS, Ids, ranked_list_info, ranks_of, summary
from trainers.evaluation.ranking import reciprocal_ranks


class MeanReciprocalRank(evaluate.Metric):
    """Mean over queries of 1 / rank of the first relevant candidate, 0 where none is found."""

    def _info(self) -> evaluate.MetricInfo:
        return ranked_list_info(type(self).__doc__, INPUTS + CUTOFF)

    def _compute(
        self, predictions: Ids, references: Ids, cutoff: int | None = None, exclude: Ids | None = None
    ) -> dict[str, float | int]:
        ranks_R, relevance = ranks_of(predictions, references, exclude=exclude)
        return summary("mrr", reciprocal_ranks(ranks_R, relevance, cutoff))
